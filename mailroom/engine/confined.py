"""Runs a command as a system unit would run it: by ``systemd-run``, with the unit's secrets and
sandbox, including the administrator's drop-ins.

The command gets the caller's terminal, and with it width, colours and questions. The terminal's
signals are passed on to it, and its exit code comes back.
"""

import contextlib
import grp
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from mailroom.engine.handover import Giver, Opening
from mailroom.engine.unit import AS_UNIT
from mailroom.errors import MailroomError
from mailroom.rules.account import unitfile

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
# Its members may ask for the service's status, as a command has to.
_GROUP = "mailroom-status"
# The caller decides how things are shown.
_OF_THE_TERMINAL = (
    *("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"),
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME", "TZ"),
)
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PLAIN = {"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C.UTF-8"}


def is_unit(unit: str) -> bool:
    """Whether systemd runs this host and knows the unit."""
    return _BOOTED.is_dir() and bool(_shown(unit))


def run_confined(
    unit: str,
    arguments: Sequence[str],
    files: Mapping[str, Opening],
    environ: Mapping[str, str],
    *,
    has_secrets: bool = True,
) -> int:
    """Run the command as ``unit`` is run; returns its exit code. Without ``has_secrets`` it gets
    none of the unit's secrets, as one of them may be faulty.

    Raises :class:`MailroomError` if it could not be started.
    """
    name = f"mailroom-command-{os.getpid()}"
    command = _command(unit, name, environ, has_secrets=has_secrets)
    giver, stdin = Giver.pair(files)
    with contextlib.closing(giver):
        giver.give(arguments, 0)
        with stdin:
            # In its own session: the terminal's signals come to us, and we pass them on.
            process = subprocess.Popen(command, stdin=stdin.fileno(), start_new_session=True)
        with _passing_signals_to(name):
            has_begun = giver.serve(process.pid)
            code = process.wait()
    if not has_begun:
        raise MailroomError(
            f"cannot run this as {unit}.service is run (status {code}): "
            f"see journalctl -u {name} and systemctl status {unit}"
        )
    return code


def _command(unit: str, name: str, environ: Mapping[str, str], *, has_secrets: bool) -> list[str]:
    """The command line of systemd-run."""
    settings, means = unitfile.service_settings(_shown(unit)), unitfile.specifiers(unit)
    program = unitfile.program(settings, means)
    if program is None:
        raise MailroomError(
            f"cannot run this as {unit}.service is run: its ExecStart= is not that of mailroom run"
        )
    in_effect = _in_effect(unit, settings)
    properties = unitfile.properties(settings, means, in_effect, has_secrets=has_secrets)
    with contextlib.suppress(KeyError):
        grp.getgrnam(_GROUP)
        properties.append(f"SupplementaryGroups={_GROUP}")
    return [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={name}"),
        f"--description=mailroom as {unit}.service",
        *(f"--property={each}" for each in properties),
        *(f"--setenv={each}={environ[each]}" for each in _OF_THE_TERMINAL if each in environ),
        *("--", *program, AS_UNIT),
    ]


def _shown(unit: str) -> str:
    """The text of the unit's files; empty if there is none."""
    return _output("systemctl", "cat", f"{unit}.service")


def _in_effect(unit: str, settings: Sequence[unitfile.Setting]) -> dict[str, str]:
    """The values that systemd uses for settings whose text alone does not show them."""
    keys = ",".join(unitfile.unclear(settings))
    told = _output("systemctl", "show", f"--property={keys}", f"{unit}.service")
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | _PLAIN, check=False
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


@contextlib.contextmanager
def _passing_signals_to(name: str) -> Iterator[None]:
    """A signal that asks us to end is passed on to the command; we end when it has."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        _output("systemctl", "kill", f"--signal={signal.Signals(number).name}", f"{name}.service")

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
