"""The commands except ``run``: each gets its options, and returns the exit code.

Each command imports what it needs itself: a short one is done before the rest would be loaded.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailroom import __version__
from mailroom.engine.accountfolder import account_file, ignored_files
from mailroom.engine.unit import usual_sockets
from mailroom.errors import UsageError
from mailroom.terminal.asked import (
    has_many,
    installation_of,
    of_one,
    past_of,
    remote_of,
    service_of,
    shards_of,
)

Command = Callable[[SimpleNamespace], int]

if TYPE_CHECKING:
    from mailroom.terminal.remote import Remote
    from mailroom.terminal.several import Several

# About everybody, a week is shown by default.
_LOG_SECONDS = 7 * 86400.0


def check(options: SimpleNamespace) -> int:
    from mailroom.terminal.check import show_check, show_files  # noqa: PLC0415 - brings rich

    asked = installation_of(options)
    for problem in ignored_files(asked.config):
        sys.stderr.write(f"mailroom: {problem}\n")
    if has_many(asked) and not (options.rules or options.live):
        return show_files(asked)
    code = show_check(of_one(asked), os.environ, rules=options.rules)
    if code == 0 and options.live:
        code = _check_live(options)
    if code == 0:
        sys.stdout.write("All is well.\n")
    return code


def _check_live(options: SimpleNamespace) -> int:
    from mailroom.terminal.live import show_live  # noqa: PLC0415 - brings rich

    asked, remote = installation_of(options), remote_of(options)
    return show_live(asked, os.environ, remote.status, options.within)


def init(options: SimpleNamespace) -> int:
    from mailroom.engine.unit import to_set_up  # noqa: PLC0415
    from mailroom.terminal.asking import asking  # noqa: PLC0415
    from mailroom.terminal.init import show_init  # noqa: PLC0415 - brings rich, yaml

    wanted = to_set_up(os.environ, account=options.account, config=options.config)
    if wanted.member or has_many(wanted):
        name = wanted.member or "NAME"
        raise UsageError(
            f"many accounts are set up by their files: write {account_file(wanted.config, name)}, "
            f"then mailroom login --account {name}, mailroom setup --account {name} --apply, and "
            f"{' '.join(wanted.systemctl)} reload {wanted.unit}"
        )
    answers = asking(options, sys.stdin, may_ask=not options.check)
    return show_init(wanted, os.environ, answers, is_check=options.check)


def login(options: SimpleNamespace) -> int:
    from mailroom.terminal.login import show_login, try_handed  # noqa: PLC0415 - brings rich

    asked = installation_of(options)
    if options.handed:
        return try_handed(asked, options.secret, options.handed)
    return show_login(asked, options)


def config(options: SimpleNamespace) -> int:
    from mailroom.engine.accountsecrets import secrets_of  # noqa: PLC0415
    from mailroom.engine.configfile import load_of  # noqa: PLC0415
    from mailroom.rules.configuration.text import effective  # noqa: PLC0415 - brings yaml

    asked = installation_of(options)
    config = load_of(asked)
    sys.stdout.write(effective(config, secrets_of(asked, config, os.environ).sources))
    return 0


def status(options: SimpleNamespace) -> int:
    if several := shards_of(options):
        return _status_of_shards(several, options)
    remote = remote_of(options)
    document = remote.status()
    if options.json:
        from mailroom.terminal.lists import write_json  # noqa: PLC0415

        write_json(document)
        return 0
    if "members" in document:
        return _status_of_many(remote, document, options)
    from mailroom.terminal.status import show_status, watch  # noqa: PLC0415 - brings rich

    healthy = show_status(document)
    if options.watch:
        watch(remote, document)
    return 0 if healthy else 1


def _status_of_shards(several: "Several", options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import write_json  # noqa: PLC0415
    from mailroom.terminal.manystatus import show_shards  # noqa: PLC0415

    answers = several.status()
    if options.json:
        write_json({"shards": answers})
        return 0
    are_healthy = show_shards(answers, shows_all=options.all)
    if options.watch:
        several.watch()
    return 0 if are_healthy else 1


def _status_of_many(remote: "Remote", document: Mapping[str, Any], options: SimpleNamespace) -> int:
    from mailroom.terminal.following import show_events  # noqa: PLC0415
    from mailroom.terminal.manystatus import show_accounts  # noqa: PLC0415

    healthy = show_accounts(document, shows_all=options.all)
    if options.watch:
        show_events(remote)
    return 0 if healthy else 1


def watch(options: SimpleNamespace) -> int:
    from mailroom.terminal.following import show_events  # noqa: PLC0415

    if several := shards_of(options):
        several.watch(as_json=options.json, command=options.run)
    names = options.account is None
    show_events(remote_of(options), as_json=options.json, command=options.run, names=names)
    return 0


def metrics(options: SimpleNamespace) -> int:
    from mailroom.terminal.textfiles import print_metrics, write_metrics  # noqa: PLC0415

    if options.into is not None:
        return write_metrics(options.into)
    return print_metrics(shards_of(options) or remote_of(options))


def poll(options: SimpleNamespace) -> int:
    (shards_of(options) or remote_of(options)).poll()
    return 0


def triage(options: SimpleNamespace) -> int:
    if options.dry_run:
        return _preview(options)
    from mailroom.terminal.deciding import decide  # noqa: PLC0415
    from mailroom.terminal.naming import everybody_named  # noqa: PLC0415

    *names, category = options.words
    who = everybody_named(names, options.kind)
    return decide(remote_of(options), who, category, as_json=options.json)


def _preview(options: SimpleNamespace) -> int:
    from mailroom.engine.client import NobodyAnswers  # noqa: PLC0415
    from mailroom.terminal.triage import show_plan  # noqa: PLC0415 - brings rich

    if options.config is None and not options.handed:
        with contextlib.suppress(NobodyAnswers):
            return show_plan(remote_of(options).plan(), as_json=options.json)
    return _with_secrets(_foresee)(options)


def _foresee(options: SimpleNamespace) -> int:
    """Find out what a service would do, without one."""
    from mailroom.terminal.triage import show_triage  # noqa: PLC0415 - brings rich

    return show_triage(of_one(installation_of(options)), os.environ, as_json=options.json)


def undo(options: SimpleNamespace) -> int:
    from mailroom.terminal.deciding import take_back  # noqa: PLC0415
    from mailroom.terminal.naming import everybody_named  # noqa: PLC0415

    who = everybody_named(options.words, options.kind)
    return take_back(remote_of(options), who, past_of(options), as_json=options.json)


def waiting(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_waiting  # noqa: PLC0415

    return show_waiting(remote_of(options), as_json=options.json, counts=options.count)


def senders(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_senders  # noqa: PLC0415

    remote, category = remote_of(options), options.category
    return show_senders(remote, category, as_json=options.json, counts=options.count)


def sender(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_sender  # noqa: PLC0415

    return show_sender(remote_of(options), options.address, as_json=options.json)


def categories(options: SimpleNamespace) -> int:
    from mailroom.terminal.lists import show_categories  # noqa: PLC0415

    return show_categories(remote_of(options), as_json=options.json)


def log(options: SimpleNamespace) -> int:
    from mailroom.terminal.naming import whom  # noqa: PLC0415
    from mailroom.terminal.past import show_log  # noqa: PLC0415

    whose = whom(options.address) if options.address else None
    since = options.since
    if since is None and whose is None:
        since = time.time() - _LOG_SECONDS
    return show_log(past_of(options), whose, since, as_json=options.json)


def export(options: SimpleNamespace) -> int:
    from mailroom.terminal.moving import show_decisions  # noqa: PLC0415

    return show_decisions(remote_of(options))


def import_decisions(options: SimpleNamespace) -> int:
    from mailroom.terminal.moving import import_decisions  # noqa: PLC0415

    remote, file, category = remote_of(options), options.file, options.category
    return import_decisions(remote, file, category, applies=options.apply, as_json=options.json)


def screen(options: SimpleNamespace) -> int:
    from mailroom.terminal.screening.command import show_screen  # noqa: PLC0415 - brings urwid

    return show_screen(service_of(options), os.environ)


def setup(options: SimpleNamespace) -> int:
    from mailroom.terminal.setup import show_setup  # noqa: PLC0415 - brings rich

    return show_setup(
        of_one(installation_of(options)),
        os.environ,
        apply=options.apply,
        rules=options.rules,
        lets_in=options.let_known_in,
    )


def reset(options: SimpleNamespace) -> int:
    from mailroom.terminal.reset import Wishes, show_reset  # noqa: PLC0415 - brings rich

    asked = of_one(installation_of(options))
    is_named = options.socket is not None or bool(asked.account or asked.member)
    sockets = [asked.status_socket] if is_named else usual_sockets(os.environ)
    wishes = Wishes(
        applies=options.apply,
        is_sure=options.yes,
        rules_are_off=options.rules_are_off,
        target=options.to,
        removes=options.remove,
        export=options.export,
    )
    if options.handed:
        from mailroom.terminal.secrets import handed_file  # noqa: PLC0415

        wishes = replace(wishes, create=lambda _path: handed_file(options.handed))
    return show_reset(asked, os.environ, sockets, wishes)


def version(_options: SimpleNamespace) -> int:
    sys.stdout.write(f"mailroom {__version__}\n")
    return 0


def _with_secrets(command: Command) -> Command:
    """The command, run with the secrets that it needs."""

    def run(options: SimpleNamespace) -> int:
        from mailroom.terminal.secrets import run_with_secrets  # noqa: PLC0415

        return run_with_secrets(command, options, installation_of(options))

    return run


COMMANDS: Mapping[str, Command] = {
    "categories": categories,
    "check": _with_secrets(check),
    "config": _with_secrets(config),
    "export": export,
    "import": import_decisions,
    "init": init,
    "log": log,
    "login": login,
    "metrics": metrics,
    "poll": poll,
    "reset": _with_secrets(reset),
    "screen": screen,
    "sender": sender,
    "senders": senders,
    "setup": _with_secrets(setup),
    "status": status,
    "triage": triage,
    "undo": undo,
    "version": version,
    "waiting": waiting,
    "watch": watch,
}
