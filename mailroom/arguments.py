"""The command line of ``mailroom``: its commands and their options.

Imported only if needed: argparse would stay in the service's memory (see ``cli``).
"""

import math
import re
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, _ActionsContainer
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

from mailroom import __version__
from mailroom.errors import EXIT_USAGE

_ADDRESS_AND_CATEGORY = 2

# A span of time as people type it; without months, whose length varies.
_SPAN = re.compile(r"([0-9]{1,6})(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse(arguments: Sequence[str]) -> SimpleNamespace:
    """The options as parsed; wrong use ends the process, as argparse does, with the usage of the
    command in question."""
    made = parser()
    options, strange = made.parse_known_args(arguments, SimpleNamespace())
    if fault := _fault(options, strange):
        options.parser.error(fault)
    if options.name is None:
        made.print_help(sys.stderr)
        made.exit(EXIT_USAGE)
    del options.parser
    return options


def _fault(options: SimpleNamespace, strange: Sequence[str]) -> str | None:
    """What is wrong with options that are each well formed; ``strange`` has what is left over."""
    if strange:
        return f"unrecognized arguments: {' '.join(strange)}"
    if options.name == "check" and options.within is not None and not options.live:
        return "--within is for check --live"
    if options.name == "triage":
        if options.dry_run and options.words:
            return "--dry-run is about the next poll, and takes no address"
        if not options.dry_run and len(options.words) < _ADDRESS_AND_CATEGORY:
            return "name addresses (- for the lines of stdin), then the category"
    return None


def parser() -> ArgumentParser:
    """All commands and their options; ``name`` is the command's, ``parser`` the command's own,
    which tells its usage."""
    made = ArgumentParser(
        prog="mailroom",
        description="Screen mail: one label on one mail files its sender for good.",
    )
    made.add_argument(
        "--version", action="version", version=f"mailroom {__version__}", help="print the version"
    )
    made.set_defaults(parser=made)
    commands = made.add_subparsers(title="commands", metavar="COMMAND", dest="name")

    def add(name: str, summary: str) -> ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.register("type", None, _text)  # of arguments for which no type is named
        command.set_defaults(parser=command)
        return command

    _run(add("run", "run the service, in the foreground"))
    _check(add("check", "check configuration, credentials, servers, mailboxes, groups"))
    _init(add("init", "set everything up by asking; run again, it continues where it stopped"))
    _login(add("login", "try a new secret and store it; asks for it without showing it"))
    _about(add("config", "show the effective configuration, secrets hidden"), "config")
    _setup(add("setup", "show the mailboxes, labels and groups that are missing"))
    _reset(add("reset", "show what would undo the work of Mailroom, and only that"))
    _status(add("status", "show the status of the running service"))
    _about(add("screen", "see who waits, and decide with one key"), "socket")
    _watch(add("watch", "show what happens, as it happens"))
    _metrics(add("metrics", "print the metrics of the running service, for Prometheus"))
    _about(add("poll", "make the running service poll now"), "socket")
    _waiting(add("waiting", "show who waits in Screener"))
    _triage(add("triage", "decide about senders: file their mail from now on"))
    _undo(add("undo", "bring senders back to their former category"))
    _sender(add("sender", "show one sender: the category, the past, the next mail"))
    _senders(add("senders", "show who is in which category"))
    _categories(add("categories", "show the categories for senders"))
    _log(add("log", "show what was done, when and by whom"))
    _about(add("export", "write all decisions as JSON lines"), "socket")
    _import(add("import", "make the decisions in a file, or show which are to be made"))
    add("version", "print the version")
    return made


def _about(command: ArgumentParser, *which: str) -> None:
    """The options that say which installation a command is about."""
    command.add_argument("--account", metavar="NAME", help="which account, of several")
    if "config" in which:
        command.add_argument(
            "--config", metavar="FILE", type=_config, help="the configuration file"
        )
    if "socket" in which:
        command.add_argument("--socket", metavar="PATH", type=_socket, help="the status socket")


def _run(run: ArgumentParser) -> None:
    run.add_argument("--shard", metavar="I/N", help="serve only this share of many accounts")
    _about(run, "config", "socket")


def _login(login: ArgumentParser) -> None:
    which = login.add_mutually_exclusive_group()
    for option, name, what in (
        ("--token", "jmap-token", "the API token of the mail server"),
        ("--password", "jmap-password", "the password at the mail server"),
        ("--carddav", "carddav-password", "the password of the address book, by CardDAV"),
    ):
        which.add_argument(option, dest="secret", action="store_const", const=name, help=what)
    _about(login, "config")


def _init(init: ArgumentParser) -> None:
    init.add_argument(
        "--check", action="store_true", help="only say what is left; exit code 3 if anything is"
    )
    init.add_argument(
        "--answers", metavar="FILE", type=_path, help="the answers (YAML or JSON); nothing is asked"
    )
    init.add_argument("--address", help="the mail address")
    init.add_argument("--server", metavar="URL", help="the JMAP server, by its host or URL")
    init.add_argument(
        "--ca-file", metavar="FILE", help="trust servers with certificates of this authority (PEM)"
    )
    init.add_argument("--username", metavar="NAME", help="your user name on the server")
    init.add_argument(
        "--token-file", metavar="FILE", help="the file with the API token; - is standard input"
    )
    init.add_argument("--password-file", metavar="FILE", help="or the file with the password")
    init.add_argument("--contacts-server", metavar="URL", help="a CardDAV server for contacts")
    init.add_argument("--contacts-username", metavar="NAME", help="your user name there")
    init.add_argument("--contacts-password-file", metavar="FILE", help="the file with its password")
    init.add_argument("--categories", choices=["all", "fewer"], help="how many categories to make")
    init.add_argument(
        "--mailbox",
        action="append",
        metavar="NAME=OTHER",
        help="use the mailbox OTHER for NAME (NAME=NAME: the existing one)",
    )
    init.add_argument(
        "--screening", choices=["server", "mailroom", "off"], help="who sorts new mail"
    )
    init.add_argument("--account", metavar="NAME", help="for an instance, mailroom@NAME")
    init.add_argument("--config", metavar="FILE", type=_config, help="or the instance's file")


def _check(check: ArgumentParser) -> None:
    check.add_argument("--rules", action="store_true", help="also the rules that route new mail")
    check.add_argument("--live", action="store_true", help="also try it with a test mail, timed")
    check.add_argument(
        "--within",
        type=_seconds,
        metavar="SECONDS",
        help="with --live: fail if it takes longer from label to done",
    )
    _about(check, "config", "socket")


def _json(command: _ActionsContainer, what: str = "print JSON") -> None:
    command.add_argument("--json", action="store_true", help=what)


def _count(command: _ActionsContainer) -> None:
    command.add_argument("--count", action="store_true", help="print only how many")


def _whom(command: ArgumentParser) -> None:
    kind = command.add_mutually_exclusive_group()
    for name, what in (("domain", "whole domains"), ("list", "mailing lists, by their ids")):
        kind.add_argument(
            f"--{name}",
            action="store_const",
            dest="kind",
            const=name,
            help=f"the names are {what}",
        )
    command.set_defaults(kind="address")


def _metrics(metrics: ArgumentParser) -> None:
    metrics.add_argument(
        "--into", metavar="FOLDER", type=_path, help="write those of every service into FOLDER"
    )
    _about(metrics, "socket")


def _waiting(waiting: ArgumentParser) -> None:
    shape = waiting.add_mutually_exclusive_group()
    _count(shape)
    _json(shape)
    _about(waiting, "socket")


def _triage(triage: ArgumentParser) -> None:
    triage.usage = "%(prog)s [options] ADDRESS ... CATEGORY\n       %(prog)s [options] --dry-run"
    triage.add_argument(
        "words",
        nargs="*",
        metavar="ADDRESS ... CATEGORY",
        help="who (- for the lines of stdin), then the category; screener takes a decision back",
    )
    _whom(triage)
    triage.add_argument(
        "--dry-run",
        action="store_true",
        help="only show what the next poll would do, touching nothing",
    )
    _json(triage)
    _about(triage, "config", "socket")


def _undo(undo: ArgumentParser) -> None:
    undo.add_argument("words", nargs="+", metavar="ADDRESS", help="who; - for the lines of stdin")
    _whom(undo)
    _json(undo)
    _about(undo, "socket")


def _sender(sender: ArgumentParser) -> None:
    sender.add_argument("address", metavar="ADDRESS", help="one of the sender's addresses")
    _json(sender)
    _about(sender, "socket")


def _senders(senders: ArgumentParser) -> None:
    senders.add_argument("category", metavar="CATEGORY", nargs="?", help="only those in this one")
    shape = senders.add_mutually_exclusive_group()
    _count(shape)
    _json(shape)
    _about(senders, "socket")


def _categories(categories: ArgumentParser) -> None:
    _json(categories)
    _about(categories, "socket")


def _log(log: ArgumentParser) -> None:
    log.add_argument("address", metavar="ADDRESS", nargs="?", help="only about this sender")
    log.add_argument(
        "--since",
        type=_instant,
        metavar="TIME",
        help="12h, 7d or 2w ago, or a day such as 2026-11-21 (default: 7d; for one sender, all)",
    )
    _json(log)
    _about(log, "socket")


def _import(command: ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="JSON lines or CSV; - for stdin")
    command.add_argument("--category", metavar="CATEGORY", help="for lines that name none")
    command.add_argument("--apply", action="store_true", help="make the decisions")
    _json(command)
    _about(command, "socket")


def _setup(setup: ArgumentParser) -> None:
    setup.add_argument("--apply", action="store_true", help="create what is missing")
    setup.add_argument("--rules", action="store_true", help="also the rules that route new mail")
    setup.add_argument(
        "--let-known-in",
        action="store_true",
        help="move waiting mail from people you know to Inbox",
    )
    _about(setup, "config")


def _reset(reset: ArgumentParser) -> None:
    reset.add_argument("--apply", action="store_true", help="undo it; asks once")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.add_argument(
        "--rules-are-off",
        action="store_true",
        help="say that routing rules made by hand are switched off",
    )
    reset.add_argument("--to", metavar="MAILBOX", help="where filed mail goes (default: Archive)")
    reset.add_argument(
        "--remove", action="store_true", help="also remove what setup made, if it is empty then"
    )
    reset.add_argument(
        "--export",
        metavar="FILE",
        type=_path,
        help="first write the decisions to FILE (JSON lines)",
    )
    _about(reset, "config", "socket")


def _status(status: ArgumentParser) -> None:
    shape = status.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the answer of /status as it is")
    shape.add_argument(
        "--watch", action="store_true", help="then print a line for each poll and each triage"
    )
    status.add_argument(
        "--all", action="store_true", help="show every one of many accounts, not only the worst"
    )
    _about(status, "socket")


def _watch(watch: ArgumentParser) -> None:
    _json(watch, "print each event as a line of JSON")
    watch.add_argument(
        "--run",
        metavar="COMMAND",
        help="run COMMAND for each event, one at a time, with the event as JSON on its stdin",
    )
    _about(watch, "socket")


def _text(text: str) -> str:
    """An empty argument is an empty variable of a shell, and means nothing."""
    if not text.strip():
        raise ArgumentTypeError("must not be empty")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _config(text: str) -> str:
    return str(_path(text))


def _socket(text: str) -> Path:
    path = _path(text)
    if not path.name:
        raise ArgumentTypeError(f"{text!r} is a folder: name the socket in it")
    return path


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _instant(text: str) -> float:
    """The instant, in seconds since the epoch."""
    if span := _SPAN.fullmatch(text.replace(" ", "")):
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is not a time: write 12h, 7d, 2w, or a day such as 2026-11-21"
        ) from None
