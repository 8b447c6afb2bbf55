"""What can be said to ``mailroom``: its commands and their options.

Imported only when it is needed: argparse would stay in the service's memory (see ``cli``).
"""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from mailroom import __version__
from mailroom.errors import EXIT_USAGE


def parse(arguments: Sequence[str]) -> SimpleNamespace:
    """What is asked for; wrong use ends the process, as with all that argparse finds."""
    made = parser()
    options = made.parse_args(arguments, SimpleNamespace())
    if options.name is None:
        made.print_help(sys.stderr)
        made.exit(EXIT_USAGE)
    if options.name == "check" and options.within is not None and not options.live:
        made.error("--within is for check --live")
    return options


def parser() -> ArgumentParser:
    """All commands and their options; ``name`` is the command's."""
    made = ArgumentParser(
        prog="mailroom",
        description="Screen mail: one label on one mail files its sender for good.",
    )
    made.add_argument(
        "--version", action="version", version=f"mailroom {__version__}", help="print the version"
    )
    commands = made.add_subparsers(title="commands", metavar="COMMAND", dest="name")

    def add(name: str, summary: str) -> ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary)

    _about(add("run", "run the service, in the foreground"), "config", "socket")
    _check(add("check", "check configuration, credentials, servers, mailboxes, groups"))
    _about(add("config", "show the effective configuration, secrets hidden"), "config")
    _triage(add("triage", "show what the next poll would do, touching nothing"))
    _setup(add("setup", "show the mailboxes, labels and groups that are missing"))
    _reset(add("reset", "show what it takes to undo what Mailroom did, and only that"))
    _status(add("status", "show the status of the running service"))
    _about(add("poll", "make the running service poll now"), "socket")
    demo = add("demo", "show the service at work on a mail server of its own")
    demo.add_argument("--stay", action="store_true", help="go on running, to play with")
    add("version", "print the version")
    return made


def _about(command: ArgumentParser, *which: str) -> None:
    """The options that say which installation a command is about."""
    command.add_argument("--account", metavar="NAME", help="the account of mailroom@NAME")
    if "config" in which:
        command.add_argument("--config", metavar="FILE", help="the configuration file")
    if "socket" in which:
        command.add_argument("--socket", metavar="PATH", type=Path, help="the status socket")


def _check(check: ArgumentParser) -> None:
    check.add_argument("--rules", action="store_true", help="and the rules that route new mail")
    check.add_argument("--live", action="store_true", help="and try it with a test mail, timed")
    check.add_argument(
        "--within",
        type=_seconds,
        metavar="SECONDS",
        help="with --live: fail if label to done takes longer",
    )
    _about(check, "config", "socket")


def _triage(triage: ArgumentParser) -> None:
    triage.add_argument(
        "--dry-run",
        action="store_true",
        required=True,
        help="needed: triaging is the service's work",
    )
    _about(triage, "config", "socket")


def _setup(setup: ArgumentParser) -> None:
    setup.add_argument("--apply", action="store_true", help="create what is missing")
    setup.add_argument("--rules", action="store_true", help="and the rules that route new mail")
    setup.add_argument(
        "--let-known-in",
        action="store_true",
        help="move mail of people you know, that waits since before, to Inbox",
    )
    _about(setup, "config")


def _reset(reset: ArgumentParser) -> None:
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
    _about(reset, "config", "socket")


def _status(status: ArgumentParser) -> None:
    shape = status.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the answer of /status as it is")
    shape.add_argument(
        "--watch", action="store_true", help="then a line per poll that happens and per triage"
    )
    _about(status, "socket")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
