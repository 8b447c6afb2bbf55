"""Runs a command. An error that a user can cause is one clear line on stderr and an exit code; any
other is a bug, with its traceback."""

import errno
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, TextIO

from mailroom.engine.unit import AS_UNIT, find
from mailroom.errors import EXIT_BUG, ConfigurationError, MailroomError, UsageError, exit_code
from mailroom.rules.configuration.shard import Shard

_STDERR = 2
_UNWRITTEN = (errno.EPIPE, errno.ENOSPC, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0; 1; 2 usage; 70, 77, 78 as documented)."""
    return guarded(lambda: _carry_out(_options(sys.argv[1:] if arguments is None else arguments)))


def guarded(work: Callable[[], int]) -> int:
    """Do the work; returns its exit code, and prints errors that a user can cause in a line."""
    _open_standard_streams()
    try:
        code = _code(work)
        sys.stdout.flush()
        return code
    except MailroomError as error:
        problems = error.problems if isinstance(error, ConfigurationError) else [str(error)]
        for problem in problems:
            _complain(problem)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the end of a command
        if isinstance(error, OSError) and error.errno in _UNWRITTEN:
            return _give_up_output(error)
        import traceback  # noqa: PLC0415 - only a bug needs it

        traceback.print_exc()
        _complain("this is a bug in mailroom: please report it, with the lines above")
        return EXIT_BUG


def _code(work: Callable[[], int]) -> int:
    try:
        return work()
    except SystemExit:  # argparse's, which may have printed help
        sys.stdout.flush()
        raise


def _open_standard_streams() -> None:
    """Open what the caller has closed: else a socket of ours would get the number, and the log. A
    closed stdin is an empty one."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(fd)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ still gets the words


def _give_up_output(error: OSError) -> int:
    """Nobody takes our output any more. After `mailroom status | head`, or if the terminal is gone,
    that is no error."""
    from mailroom.terminal.hangup import has_hung_up  # noqa: PLC0415 - seldom needed

    is_unread = error.errno == errno.EPIPE or has_hung_up(sys.stdout.fileno())
    _drop_what_is_buffered(sys.stdout)
    if is_unread:
        return 0
    _complain(f"the output cannot be written: {error.strerror}")
    return 1


def _complain(message: str) -> None:
    try:
        sys.stderr.write(f"mailroom: {message}\n")
    except OSError:  # nobody is there to read it; the exit code tells
        _drop_what_is_buffered(sys.stderr)


def _drop_what_is_buffered(stream: TextIO) -> None:
    """Else Python tries to write it once more at the end, and turns the exit code into 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _options(arguments: Sequence[str]) -> SimpleNamespace:
    """The options, from the command line or from the caller of a command that systemd runs."""
    handed = None
    if list(arguments) == [AS_UNIT]:
        from mailroom.engine.handover import Taker  # noqa: PLC0415

        handed = Taker.from_stdin()
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - now the caller's
        arguments = handed.arguments
    options = _parse(arguments)
    options.arguments, options.handed = arguments, handed
    return options


def _parse(arguments: Sequence[str]) -> SimpleNamespace:
    """The options as parsed; wrong use ends the process, as argparse does."""
    # The units' commands do without argparse: with shutil, locale and compressors it keeps 1.2 MiB.
    match arguments:
        case ["run"]:
            return _running()
        case ["run", "--config", file] if file and not file.startswith("-"):
            return _running(config=file)
        case ["run", "--shard", shard] if not shard.startswith("-"):
            return _running(shard=shard)
    from mailroom.arguments import parse  # noqa: PLC0415

    return parse(arguments)


def _running(config: str | None = None, shard: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(name="run", account=None, config=config, socket=None, shard=shard)


def _carry_out(options: SimpleNamespace) -> int:
    if options.name == "run":
        _run(options)
    from mailroom.commands import COMMANDS  # noqa: PLC0415 - the service needs none of it

    return COMMANDS[options.name](options)


def _run(options: SimpleNamespace) -> NoReturn:
    gc.disable()  # imports leave next to no garbage; looking for it takes a tenth of the start
    config, socket, shard = _what_to_run(options)
    _find_secrets(config)
    from mailroom.engine.configfile import PendingConfig  # noqa: PLC0415

    reading = PendingConfig(config, os.environ)  # a child reads while we import the rest
    from mailroom.service import Options, Service  # noqa: PLC0415 - 20 MiB for this command only

    gc.freeze()
    gc.enable()
    code = Service(Options(config, socket, shard), os.environ, reading).run()
    # A thread of libcurl's resolver may still wait for a name server: do not wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _find_secrets(config: str | None) -> None:
    """A user's secrets are where ``mailroom login`` stores them, which the user's unit says, and
    by hand nobody does."""
    from mailroom.engine.credentials import are_given  # noqa: PLC0415 - for this command only

    if not are_given(os.environ):
        found = find(os.environ, config=config)
        if not found.is_system:
            os.environ["CREDENTIALS_DIRECTORY"] = str(found.secrets)


def _what_to_run(options: SimpleNamespace) -> tuple[str | None, Path | None, Shard | None]:
    """The configuration, the socket and the shard. Raises UsageError."""
    config, socket = options.config, options.socket
    shard = Shard.parse(options.shard) if options.shard is not None else None
    if options.account:
        if shard:
            raise UsageError("--shard is for many accounts, and --account names one")
        named = find(os.environ, account=options.account, config=config, socket=socket)
        if named.member:
            raise UsageError(
                f"{named.member} is one of many accounts that one service serves: mailroom run "
                f"--config {named.config} serves them all"
            )
        config, socket = str(named.config), named.status_socket
    return config, socket, shard
