"""Debian packages are built in a disposable host, of the release that they are for.

``python3 -m tests.system.package SOURCE OUTPUT SYSTEM`` is what packaging/build-deb.sh runs on a
machine that is another, by the name SYSTEM. Needs nothing beyond the standard library.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.system import prepare, root
from tests.system.host import Host

BUILD_SECONDS = 300.0

# The test host, and on it what builds, examines and tests a package.
BUILDER = root.TRIXIE.extended(
    # Build-Depends
    "bash-completion",
    "debhelper",
    "dh-python",
    "pybuild-plugin-pyproject",
    "python3-all",
    "python3-setuptools",
    # what examines it
    "autopkgtest",
    "libpam-systemd",  # for a manager of user units
    "lintian",
    "logcheck-database",
    "man-db",
    "zsh",
)

_SOURCE = "/usr/src/mailroom/source"


def build(source: Path, output: Path) -> None:
    """Build the source tree, which has its ``debian`` folder, and leave the packages in `output`.

    Raises:
        RuntimeError: a step failed; the message ends with what it printed.
    """
    with Host.boot(root.ensure(BUILDER)) as host:
        host.run("mkdir", str(Path(_SOURCE).parent))
        host.copy(source, _SOURCE)
        command = f"cd {_SOURCE} && dpkg-buildpackage -us -uc -d"
        host.run("sh", "-c", command, timeout=BUILD_SECONDS)
        built = Path(f"/proc/{host.leader}/root{_SOURCE}").parent
        for path in built.glob("*mailroom_*"):
            shutil.copy(path, output)


def main() -> int:
    """Build as the arguments say; 1 and a line on stderr if it cannot be done."""
    if obstacle := prepare.obstacle():
        told = f"the package is built on Debian 13, and this is {sys.argv[3]}: {obstacle}"
        print(f"mailroom: {told}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        build(Path(sys.argv[1]), Path(sys.argv[2]))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"mailroom: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
