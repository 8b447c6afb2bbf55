"""Running a command as a unit of the system is run: by ``systemd-run``, with the unit's own secrets
and in its sandbox, the administrator's drop-ins included.

The terminal is handed over as it is, so that width, colours and questions are the caller's; what
the terminal would send as a signal is passed on. The exit code comes back.
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
# Whose members may ask the service how it is, as a command has to.
_GROUP = "mailroom-status"
# How to show things is the caller's.
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
    none of the unit's, as one of them may be what is wrong.

    Raises :class:`MailroomError` where it could not be begun.
    """
    name = f"mailroom-command-{os.getpid()}"
    command = _command(unit, name, environ, has_secrets=has_secrets)
    giver, stdin = Giver.pair(files)
    with contextlib.closing(giver):
        giver.give(arguments, 0)
        with stdin:
            # In a session of its own: what the terminal signals comes to us, and by us to it.
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
    """The words of systemd-run."""
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
    """The unit's files, one after the other; empty where there is none."""
    return _output("systemctl", "cat", f"{unit}.service")


def _in_effect(unit: str, settings: Sequence[unitfile.Setting]) -> dict[str, str]:
    """What systemd has made of the settings that do not tell it by themselves."""
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
    """What asks us to end asks what runs; we end when it has."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        _output("systemctl", "kill", f"--signal={signal.Signals(number).name}", f"{name}.service")

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
