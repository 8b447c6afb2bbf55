"""The path to the server: nobody there, certificates, names. All outages go on at once, each in a
child of its own, for they take minutes of real time and little else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial

from tests.chaos.outage import OUTAGE_SECONDS, OUTAGES, RECOVERY_SECONDS
from tests.chaos.table import Case

_NAMESPACES = ("unshare", "--net", "--mount")
# Each with contacts by CardDAV; by JMAP, where all goes to one URL, one of each kind.
_PLACES = (
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
    for name, by in _PLACES:
        yield Case(name if by == "carddav" else f"{name}, by JMAP", partial(_endure, name, by))


def _endure(name: str, by: str) -> float:
    """The most attempts in a minute."""
    said, complaint = _children()[name, by].communicate(timeout=_PATIENCE_SECONDS)
    assert not complaint, complaint
    return float(said)


@cache
def _children() -> dict[tuple[str, str], subprocess.Popen[str]]:
    """All of them, started together."""
    return {
        (name, by): subprocess.Popen(
            [*_NAMESPACES, sys.executable, "-m", "tests.chaos.outage", name, by],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, by in _PLACES
    }
