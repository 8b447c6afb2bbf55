"""The commands. An error that a user can cause is one clear line on stderr and an exit code."""

import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailroom import __version__
from mailroom.errors import EXIT_USAGE, ConfigurationError, MailroomError, exit_code

if TYPE_CHECKING:
    from argparse import ArgumentParser

_HEALTHY = 200
_ACCEPTED = 202
_STDERR = 2
_UNWRITTEN = (errno.EPIPE, errno.ENOSPC, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0; 1; 2 usage; 70, 77, 78 as documented)."""
    _open_standard_streams()
    try:
        options = _parse(sys.argv[1:] if arguments is None else arguments)
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except MailroomError as error:
        problems = error.problems if isinstance(error, ConfigurationError) else [str(error)]
        for problem in problems:
            _complain(problem)
        return exit_code(error)
    except OSError as error:
        return _give_up_output(error)
    except KeyboardInterrupt:
        return 130


def _open_standard_streams() -> None:
    """What the caller has closed would be given to a socket of ours, and the log written there."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ still gets the words


def _give_up_output(error: OSError) -> int:
    """Nobody takes our output any more, not even what is still buffered; other errors are bugs."""
    if error.errno not in _UNWRITTEN:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:  # `mailroom status | head`: nothing to complain about
        return 0
    _complain(f"the output cannot be written: {error.strerror}")
    return 1


def _complain(message: str) -> None:
    sys.stderr.write(f"mailroom: {message}\n")


def _parse(arguments: Sequence[str]) -> SimpleNamespace:
    """What is asked for; wrong use ends the process, as with all that argparse finds."""
    # As the units say it: argparse would stay, with shutil, locale and three compressors, 1.2 MiB.
    match arguments:
        case ["run"]:
            return SimpleNamespace(name="run", command=_run, config=None, socket=None)
        case ["run", "--config", file] if not file.startswith("-"):
            return SimpleNamespace(name="run", command=_run, config=file, socket=None)
    parser = _parser()
    options = parser.parse_args(arguments, SimpleNamespace())
    if options.name is None:
        parser.print_help(sys.stderr)
        parser.exit(EXIT_USAGE)
    if options.name == "check" and options.within is not None and not options.live:
        parser.error("--within is for check --live")
    return options


def _parser() -> "ArgumentParser":
    from argparse import ArgumentParser  # noqa: PLC0415 - see _parse

    parser = ArgumentParser(
        prog="mailroom",
        description="Screen mail: one label on one mail files its sender for good.",
    )
    parser.add_argument(
        "--version", action="version", version=f"mailroom {__version__}", help="print the version"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="name")

    def add(name: str, command: _Command, summary: str) -> ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        return sub

    run = add("run", _run, "run the service, in the foreground")
    check = add("check", _check, "check configuration, credentials, servers, mailboxes, groups")
    check.add_argument("--rules", action="store_true", help="and the rules that route new mail")
    check.add_argument("--live", action="store_true", help="and try it with a test mail, timed")
    check.add_argument(
        "--within",
        type=_seconds,
        metavar="SECONDS",
        help="with --live: fail if label to done takes longer",
    )
    config = add("config", _config, "show the effective configuration, secrets hidden")
    triage = add("triage", _triage, "show what the next poll would do, touching nothing")
    triage.add_argument(
        "--dry-run",
        action="store_true",
        required=True,
        help="needed: triaging is the service's work",
    )
    setup = add("setup", _setup, "show the mailboxes, labels and groups that are missing")
    setup.add_argument("--apply", action="store_true", help="create what is missing")
    setup.add_argument("--rules", action="store_true", help="and the rules that route new mail")
    setup.add_argument(
        "--let-known-in",
        action="store_true",
        help="move mail of people you know, that waits since before, to Inbox",
    )
    reset = add("reset", _reset, "show what it takes to undo what Mailroom did, and only that")
    reset.add_argument("--apply", action="store_true", help="undo it; asks once")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.add_argument(
        "--rules-are-off",
        action="store_true",
        help="the routing rules that were made by hand are switched off",
    )
    reset.add_argument("--to", metavar="MAILBOX", help="for mail that was filed; else Archive")
    reset.add_argument(
        "--remove", action="store_true", help="also what setup made, as far as it is empty then"
    )
    reset.add_argument(
        "--export", metavar="FILE", type=Path, help="first write the decisions there, as JSON lines"
    )
    for sub in (run, check, config, triage, setup, reset):
        sub.add_argument("--config", metavar="FILE", help="the configuration file")
    status = add("status", _status, "show the status of the running service")
    shape = status.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the answer of /status as it is")
    shape.add_argument(
        "--watch", action="store_true", help="then a line per poll that happens and per triage"
    )
    poll = add("poll", _poll, "make the running service poll now")
    for sub in (run, status, poll, triage, reset, check):
        sub.add_argument("--socket", metavar="PATH", type=Path, help="the status socket")
    demo = add("demo", _demo, "show the service at work on a mail server of its own")
    demo.add_argument("--stay", action="store_true", help="go on running, to play with")
    add("version", _version, "print the version")
    return parser


_Command = Callable[[SimpleNamespace], int]


def _seconds(text: str) -> float:
    from argparse import ArgumentTypeError  # noqa: PLC0415 - see _parse

    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _run(options: SimpleNamespace) -> int:
    from mailroom.engine.configfile import Reading  # noqa: PLC0415

    reading = Reading(options.config, os.environ)  # by a child, while we import the rest
    from mailroom.service import Options, Service  # noqa: PLC0415 - 20 MiB other commands spare

    code = Service(Options(options.config, options.socket), os.environ, reading).run()
    # A thread of libcurl's resolver may still wait for a name server; nobody waits for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check(options: SimpleNamespace) -> int:
    from mailroom.terminal.check import show_check  # noqa: PLC0415 - brings rich

    code = show_check(options.config, os.environ, rules=options.rules)
    if code == 0 and options.live:
        code = _check_live(options)
    if code == 0:
        sys.stdout.write("All is well.\n")
    return code


def _check_live(options: SimpleNamespace) -> int:
    from mailroom.terminal.live import show_live  # noqa: PLC0415 - brings rich

    path = _socket(options)
    return show_live(options.config, os.environ, lambda: _document(path), options.within)


def _config(options: SimpleNamespace) -> int:
    from mailroom.engine.configfile import find_config, load  # noqa: PLC0415
    from mailroom.engine.credentials import load_credentials  # noqa: PLC0415
    from mailroom.rules.configtext import effective  # noqa: PLC0415 - brings yaml

    config = load(find_config(options.config, os.environ))
    sys.stdout.write(effective(config, load_credentials(os.environ).sources))
    return 0


def _status(options: SimpleNamespace) -> int:
    from mailroom.terminal.status import show_status, watch  # noqa: PLC0415 - brings rich

    path = _socket(options)
    if options.json:
        sys.stdout.write(json.dumps(_document(path), indent=2, ensure_ascii=False) + "\n")
        return 0
    document = _document(path)
    healthy = show_status(document)
    if options.watch:
        watch(lambda: _document(path), document)
    return 0 if healthy else 1


def _poll(options: SimpleNamespace) -> int:
    _ask(_socket(options), "POST", "/poll")
    return 0


def _demo(options: SimpleNamespace) -> int:
    from mailroom.demo import demo  # noqa: PLC0415 - the sandbox needs Radicale

    return demo(stay=options.stay)


def _triage(options: SimpleNamespace) -> int:
    from mailroom.terminal.triage import show_triage  # noqa: PLC0415 - brings rich

    try:
        document = _document(_socket(options))
        failing = {each["sender"]: each["reason"] for each in document["failing_senders"]}
    except MailroomError:
        failing = {}  # no service is running here: nobody is held back
    return show_triage(options.config, os.environ, failing)


def _setup(options: SimpleNamespace) -> int:
    from mailroom.terminal.setup import show_setup  # noqa: PLC0415 - brings rich

    return show_setup(
        options.config,
        os.environ,
        apply=options.apply,
        rules=options.rules,
        lets_in=options.let_known_in,
    )


def _reset(options: SimpleNamespace) -> int:
    from mailroom.engine.sockets import socket_paths  # noqa: PLC0415
    from mailroom.terminal.reset import Wishes, show_reset  # noqa: PLC0415 - brings rich

    sockets = [options.socket] if options.socket else socket_paths(os.environ)
    wishes = Wishes(
        applies=options.apply,
        is_sure=options.yes,
        rules_are_off=options.rules_are_off,
        target=options.to,
        removes=options.remove,
        export=options.export,
    )
    return show_reset(options.config, os.environ, sockets, wishes)


def _version(_options: SimpleNamespace) -> int:
    sys.stdout.write(f"mailroom {__version__}\n")
    return 0


def _socket(options: SimpleNamespace) -> Path:
    from mailroom.engine.sockets import socket_paths  # noqa: PLC0415

    if options.socket:
        return Path(options.socket)
    paths = socket_paths(os.environ)
    return next((path for path in paths if path.exists()), paths[-1])


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
