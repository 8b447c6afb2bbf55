"""A service's unit, as ``systemctl cat`` shows it with its drop-ins (systemd.syntax(7)), and how to
run something else in the same way: with the same secrets, in the same sandbox.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Settings about the service's life: what starts, ends and watches it, and where its output goes.
_OF_ITS_LIFE = re.compile(
    r"Exec(Start|Stop|Condition|Reload)\w*|Type|ExitType|Restart\w*|SuccessExitStatus|StartLimit\w*"
    r"|Timeout\w*|Runtime(Max|RandomizedExtra)Sec|Watchdog\w*|NotifyAccess|PIDFile|BusName"
    r"|RemainAfterExit|GuessMainPID|Sockets|FileDescriptorStore\w*|OpenFile|NonBlocking"
    r"|ReloadSignal|OOMPolicy|Standard(Input|Output|Error)\w*|TTY\w+|USB\w+|RootDirectoryStartOnly"
    r"|PermissionsStartOnly"
    # It holds the service's sockets, and systemd would remove it when the command ends.
    r"|RuntimeDirectory\w*"
)
# Here systemd-run accepts only yes and no (seen: systemd 252.39, 257.13), though units may say
# more.
_YES_OR_NO = ("PrivateUsers",)
_SECRETS = re.compile(r"(Load|Import|Set)Credential\w*")
# systemd.service(5): what may stand before the program.
_PREFIXES = "@-:+!|"
_SPECIFIER = re.compile(r"%(.)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of ``[Service]``. An empty value clears the earlier ones of a list."""

    key: str
    value: str


def service_settings(shown: str) -> list[Setting]:
    """The settings of ``[Service]``, in the order in which systemd reads them."""
    settings, section = [], ""
    for line in _lines(shown):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line:
            key, value = line.split("=", 1)
            settings.append(Setting(key.strip(), value.strip()))
    return settings


def specifiers(unit: str) -> dict[str, str]:
    """What ``%i`` and the like stand for in a unit of the system (systemd.unit(5))."""
    prefix, _, instance = unit.partition("@")
    return {
        "i": instance,
        "I": instance.replace("-", "/"),
        "n": f"{unit}.service",
        "N": unit,
        "p": prefix,
        "P": prefix,
        "E": "/etc",
        "t": "/run",
        "S": "/var/lib",
        "C": "/var/cache",
        "L": "/var/log",
        "%": "%",
    }


def properties(
    settings: Sequence[Setting],
    means: Mapping[str, str],
    in_effect: Mapping[str, str],
    *,
    has_secrets: bool = True,
) -> list[str]:
    """What to give systemd-run as ``--property``, so that it runs something as the unit runs.

    If a setting is repeated, systemd has taken the last value that it understands. For settings
    that are no lists ``in_effect`` has that value, and likewise systemd's own word for those that
    it rewrites (:func:`unclear`). Without ``has_secrets`` the command gets none.
    """
    kept = [each for each in settings if not _OF_ITS_LIFE.fullmatch(each.key)]
    if not has_secrets:
        kept = [each for each in kept if not _SECRETS.fullmatch(each.key)]
    said: dict[str, list[str]] = {}
    for each in kept:
        said.setdefault(each.key, []).append(each.value)
    taken = {
        key: in_effect[key]
        for key, values in said.items()
        if key in in_effect and (key in _YES_OR_NO or in_effect[key] in values)
    }
    lines = (f"{each.key}={taken.get(each.key, each.value)}" for each in kept)
    return [_expanded(line, means) for line in dict.fromkeys(lines)]


def unclear(settings: Sequence[Setting]) -> list[str]:
    """The settings whose value in effect the files alone do not show."""
    keys = [each.key for each in settings]
    return sorted({key for key in keys if keys.count(key) > 1 or key in _YES_OR_NO})


def program(settings: Sequence[Setting], means: Mapping[str, str]) -> list[str] | None:
    """How the unit calls the program: the words of ExecStart before ``run``; None if there is no
    run."""
    commands = [each.value for each in settings if each.key == "ExecStart"]
    words = shlex.split(_expanded(commands[-1], means)) if commands and commands[-1] else []
    if "run" not in words:
        return None
    first, *others = words[: words.index("run")]
    return [first.lstrip(_PREFIXES), *others]


def _lines(shown: str) -> Iterator[str]:
    """The lines without comments, those that a backslash continues joined."""
    begun = ""
    for line in shown.splitlines():
        bare = line.strip()
        if bare[:1] in ("#", ";"):
            continue
        if bare.endswith("\\"):
            begun += f"{bare[:-1].rstrip()} "
            continue
        if whole := begun + bare:
            yield whole
        begun = ""


def _expanded(text: str, means: Mapping[str, str]) -> str:
    """An unknown specifier stays: systemd-run reports what it does not accept."""
    return _SPECIFIER.sub(lambda found: means.get(found[1], found[0]), text)
