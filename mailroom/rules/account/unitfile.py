"""What a service's unit says, as ``systemctl cat`` shows it with its drop-ins, and how something
else is run in the same way: with the same secrets, in the same sandbox (systemd.syntax(7)).
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# About the life of the service: what starts, ends and watches it, and where its output goes.
_OF_ITS_LIFE = re.compile(
    r"Exec(Start|Stop|Condition|Reload)\w*|Type|ExitType|Restart\w*|SuccessExitStatus|StartLimit\w*"
    r"|Timeout\w*|Runtime(Max|RandomizedExtra)Sec|Watchdog\w*|NotifyAccess|PIDFile|BusName"
    r"|RemainAfterExit|GuessMainPID|Sockets|FileDescriptorStore\w*|OpenFile|NonBlocking"
    r"|ReloadSignal|OOMPolicy|Standard(Input|Output|Error)\w*|TTY\w+|USB\w+|RootDirectoryStartOnly"
    r"|PermissionsStartOnly"
    # It has the service's sockets, and is taken away when the command ends.
    r"|RuntimeDirectory\w*"
)
# Of these systemd-run takes yes and no alone (seen: 252.39, 257.13), whatever a unit may say.
_YES_OR_NO = ("PrivateUsers",)
_SECRETS = re.compile(r"(Load|Import|Set)Credential\w*")
# systemd.service(5): what may stand before the program.
_PREFIXES = "@-:+!|"
_SPECIFIER = re.compile(r"%(.)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of ``[Service]``. An empty value takes earlier ones of a list back."""

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
    """What systemd-run is to be given as ``--property``, so that it runs something as the unit is.

    Of a setting that stands there more than once systemd has taken the last that it understands:
    ``in_effect`` tells which, for those that are no lists; and what has become of those that it has
    another word for (:func:`unclear`). Without ``has_secrets`` it gets none.
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
        if key in in_effect
        and (key in _YES_OR_NO or (len(values) > 1 and in_effect[key] in values))
    }
    lines = (f"{each.key}={taken.get(each.key, each.value)}" for each in kept)
    return [_expanded(line, means) for line in dict.fromkeys(lines)]


def unclear(settings: Sequence[Setting]) -> list[str]:
    """The settings of which the files alone do not tell what is in effect."""
    keys = [each.key for each in settings]
    return sorted({key for key in keys if keys.count(key) > 1 or key in _YES_OR_NO})


def program(settings: Sequence[Setting], means: Mapping[str, str]) -> list[str] | None:
    """What the unit calls the program by: the words of ExecStart before ``run``; None without."""
    commands = [each.value for each in settings if each.key == "ExecStart"]
    words = shlex.split(_expanded(commands[-1], means)) if commands and commands[-1] else []
    if "run" not in words:
        return None
    first, *others = words[: words.index("run")]
    return [first.lstrip(_PREFIXES), *others]


def _lines(shown: str) -> Iterator[str]:
    """Without comments, and whole where a backslash has broken them."""
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
    """A specifier that is not known stays: systemd-run complains of what it does not take."""
    return _SPECIFIER.sub(lambda found: means.get(found[1], found[0]), text)
