"""The path to the server: nobody there, certificates, names. All outages go on at once, each in a
child of its own, for they take minutes of real time and little else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from tests.chaos.outage import OUTAGE_SECONDS, OUTAGES, RECOVERY_SECONDS
from tests.chaos.table import Case

_NAMESPACES = ("unshare", "--net", "--mount")
# Each with contacts by CardDAV; by JMAP, where all goes to one URL, one of each kind.
_Place = tuple[str, str]
_PLACES: tuple[_Place, ...] = (
    *((name, "carddav") for name in OUTAGES),
    ("connections are refused", "jmap"),
    ("the certificate has expired", "jmap"),
    ("the name server is silent", "jmap"),
)
_PATIENCE_SECONDS = 2 * (OUTAGE_SECONDS + RECOVERY_SECONDS) + 60.0


def obstacle() -> str | None:
    """Why there can be no name server of ours, in one line; None where there can."""
    if missing := [tool for tool in ("unshare", "openssl") if shutil.which(tool) is None]:
        return f"needs {' and '.join(missing)}"
    if os.geteuid() != 0 or subprocess.run([*_NAMESPACES, "true"], check=False).returncode:
        return "a name server of its own needs root and namespaces"
    return None


def cases() -> Iterator[Case]:
    children: dict[_Place, subprocess.Popen[str]] = {}
    for number, place in enumerate(_PLACES):
        name, by = place
        shown = name if by == "carddav" else f"{name}, by JMAP"
        yield Case(shown, partial(_endure, place, children, _PLACES[number:]))


def _endure(
    place: _Place, children: dict[_Place, subprocess.Popen[str]], left: Sequence[_Place]
) -> float:
    """The most attempts in a minute; the first that is asked starts all that are left."""
    if not children:
        children.update({each: _started(*each) for each in left})
    said, complaint = children[place].communicate(timeout=_PATIENCE_SECONDS)
    assert not complaint, complaint
    return float(said)


def _started(name: str, by: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_NAMESPACES, sys.executable, "-m", "tests.chaos.outage", name, by],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
