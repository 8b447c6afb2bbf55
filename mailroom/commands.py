"""The commands but ``run``: each is told its options, and returns the exit code.

What a command needs it imports itself: a short one is done before the rest would be loaded.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mailroom import __version__
from mailroom.engine.unit import Installation, find, usual_sockets
from mailroom.errors import MailroomError

_HEALTHY = 200
_ACCEPTED = 202


def check(options: SimpleNamespace) -> int:
    from mailroom.terminal.check import show_check  # noqa: PLC0415 - brings rich

    code = show_check(_installation(options), os.environ, rules=options.rules)
    if code == 0 and options.live:
        code = _check_live(options)
    if code == 0:
        sys.stdout.write("All is well.\n")
    return code


def _check_live(options: SimpleNamespace) -> int:
    from mailroom.terminal.live import show_live  # noqa: PLC0415 - brings rich

    asked = _installation(options)
    return show_live(asked, os.environ, lambda: _document(asked.status_socket), options.within)


def config(options: SimpleNamespace) -> int:
    from mailroom.engine.configfile import load  # noqa: PLC0415
    from mailroom.engine.credentials import load_credentials  # noqa: PLC0415
    from mailroom.rules.configtext import effective  # noqa: PLC0415 - brings yaml

    config = load(_installation(options).existing_config())
    sys.stdout.write(effective(config, load_credentials(os.environ).sources))
    return 0


def status(options: SimpleNamespace) -> int:
    from mailroom.terminal.status import show_status, watch  # noqa: PLC0415 - brings rich

    path = _installation(options).status_socket
    if options.json:
        sys.stdout.write(json.dumps(_document(path), indent=2, ensure_ascii=False) + "\n")
        return 0
    document = _document(path)
    healthy = show_status(document)
    if options.watch:
        watch(lambda: _document(path), document)
    return 0 if healthy else 1


def poll(options: SimpleNamespace) -> int:
    _ask(_installation(options).status_socket, "POST", "/poll")
    return 0


def demo(options: SimpleNamespace) -> int:
    from mailroom.demo import demo  # noqa: PLC0415 - the sandbox needs Radicale

    return demo(stay=options.stay)


def triage(options: SimpleNamespace) -> int:
    from mailroom.terminal.triage import show_triage  # noqa: PLC0415 - brings rich

    asked = _installation(options)
    try:
        document = _document(asked.status_socket)
        failing = {each["sender"]: each["reason"] for each in document["failing_senders"]}
    except MailroomError:
        failing = {}  # no service is running here: nobody is held back
    return show_triage(asked, os.environ, failing)


def setup(options: SimpleNamespace) -> int:
    from mailroom.terminal.setup import show_setup  # noqa: PLC0415 - brings rich

    return show_setup(
        _installation(options),
        os.environ,
        apply=options.apply,
        rules=options.rules,
        lets_in=options.let_known_in,
    )


def reset(options: SimpleNamespace) -> int:
    from mailroom.terminal.reset import Wishes, show_reset  # noqa: PLC0415 - brings rich

    asked = _installation(options)
    is_named = options.socket is not None or asked.account is not None
    sockets = [asked.status_socket] if is_named else usual_sockets(os.environ)
    wishes = Wishes(
        applies=options.apply,
        is_sure=options.yes,
        rules_are_off=options.rules_are_off,
        target=options.to,
        removes=options.remove,
        export=options.export,
    )
    return show_reset(asked, os.environ, sockets, wishes)


def version(_options: SimpleNamespace) -> int:
    sys.stdout.write(f"mailroom {__version__}\n")
    return 0


COMMANDS: Mapping[str, Callable[[SimpleNamespace], int]] = {
    "check": check,
    "config": config,
    "demo": demo,
    "poll": poll,
    "reset": reset,
    "setup": setup,
    "status": status,
    "triage": triage,
    "version": version,
}


def _installation(options: SimpleNamespace) -> Installation:
    """Which one the command is about."""
    named = vars(options)
    return find(
        os.environ,
        account=named.get("account"),
        config=named.get("config"),
        socket=named.get("socket"),
    )


def _document(path: Path) -> Any:
    """What ``/status`` of the service at ``path`` says."""
    answer = _ask(path, "GET", "/status")
    try:
        return json.loads(answer)
    except ValueError as error:
        raise MailroomError(
            f"what answers at {path} is no mailroom service: name the right socket by --socket"
        ) from error


def _ask(path: Path, method: str, target: str) -> bytes:
    from mailroom.engine.client import ask  # noqa: PLC0415

    code, body = ask(path, method, target)
    if code not in (_HEALTHY, _ACCEPTED):
        raise MailroomError(
            f"{method} {target} on {path}: the answer is {code}; is that a mailroom service? "
            "Another socket is named by --socket"
        )
    return body
