"""Make this machine able to boot test hosts: ``python3 -m tests.system.prepare``.

Installs the three Debian packages that building and booting take, if they are missing, and builds
the roots. Run again it does nothing. Needs nothing beyond the standard library.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.system import root

# command -> the Debian package that has it
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "apt-get": "apt",
}


def obstacle() -> str | None:
    """Why test hosts cannot run here, in one line; None where they can."""
    if os.geteuid() != 0:
        return "booting a test host needs root"
    if missing := missing_packages():
        return f"booting a test host needs {', '.join(missing)} (run: make test-system as root)"
    return None


def forky_obstacle() -> str | None:
    """Build the root of Debian's release to come, and say why there is none today."""
    if told := obstacle():
        return told
    try:
        root.ensure(root.FORKY)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return str(error).strip().rpartition("\n")[2]
    return None


def missing_packages() -> list[str]:
    """The Debian packages to install first."""
    return sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))


def main() -> int:
    """Install what is missing and build the roots; 1 and a line on stderr if it cannot be done."""
    if os.geteuid() != 0:
        print("prepare: not root; test hosts cannot be booted", file=sys.stderr)  # noqa: T201
        return 1
    try:
        if packages := missing_packages():
            _install(packages)
        with ThreadPoolExecutor() as pool:
            for path in pool.map(root.ensure, root.RELEASES):
                print(f"test host: {path}")  # noqa: T201
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"prepare: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _install(packages: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *arguments], check=True, env=environment, timeout=600)


if __name__ == "__main__":
    sys.exit(main())
