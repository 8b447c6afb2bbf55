"""The root file system of a test host: built once, then shared and never written to.

A root is a folder of the cache, named by a hash of its recipe: a changed recipe is another folder,
and two runs may use one at the same time, because a host writes into an overlay of its own
(:mod:`tests.system.host`). It is built beside its place and renamed, so it is whole or not there,
and by one run while the others wait.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

DEFAULT_MIRROR = "http://deb.debian.org/debian"
BUILD_SECONDS = 900

_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_BASE = ("systemd", "systemd-sysv", "dbus", "ca-certificates")

# What the machine's own apt needs to reach its mirror, the chroot's apt needs as well.
_TRANSPORT = re.compile(r"^Acquire::(?:https?|Check-|Retries)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Debian release, the packages to add to its minimal system or to the root of ``base``, and
    commands to run after."""

    release: str
    packages: tuple[str, ...]
    finish: tuple[tuple[str, ...], ...] = ()
    base: "Recipe | None" = None

    def extended(self, *packages: str, finish: tuple[tuple[str, ...], ...] = ()) -> "Recipe":
        """This one and more; its root is copied."""
        return Recipe(self.release, packages, finish, self)

    @property
    def path(self) -> Path:
        """Where the root of this recipe is, or will be."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()
        return cache_directory() / f"{self.release}-{digest[:12]}"


TRIXIE = Recipe(
    release="trixie",
    packages=(
        # the mail server
        "cyrus-imapd",
        "cyrus-caldav",
        "cyrus-admin",
        "sasl2-bin",
        "libsasl2-modules",
        # what Mailroom stands on
        "python3",
        "python3-defusedxml",
        "python3-dnspython",
        "python3-jsonschema",
        "python3-nameparser",
        "python3-publicsuffix2",
        "python3-pycurl",
        "python3-rich",
        "python3-sdnotify",
        "python3-yaml",
        # what the tests and the units' ExecReload call
        "curl",
        "procps",
        "libbpf1",
    ),
    finish=(
        # Cyrus starts when a test has configured it; its dependency exim4 never.
        ("systemctl", "disable", "cyrus-imapd.service"),
        ("systemctl", "mask", "exim4.service"),
        # Else every boot rebuilds the linker cache and the journal catalog.
        ("systemctl", "mask", "ldconfig.service", "systemd-journal-catalog-update.service"),
    ),
)

# The oldest release that Mailroom works on: systemd 252, Python 3.11; its Cyrus, 3.6, has no push.
BOOKWORM = replace(TRIXIE, release="bookworm")
RELEASES = (TRIXIE, BOOKWORM)

# The release to come: it changes from day to day, so what fails on it is told and fails nothing.
FORKY = replace(TRIXIE, release="forky")


def chosen() -> Recipe:
    """The release that most tests boot: TRIXIE, or the one that the variable RELEASE names."""
    known = {recipe.release: recipe for recipe in (*RELEASES, FORKY)}
    return known[os.environ.get("RELEASE", TRIXIE.release)]


def cache_directory() -> Path:
    """The folder of all roots: ``$XDG_CACHE_HOME/mailroom`` or ``~/.cache/mailroom``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mailroom"


def mirror() -> str:
    """The Debian mirror of this machine's apt sources, in whatever format they are written."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main")
    listed = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
    return listed[0].rstrip("/") if listed else DEFAULT_MIRROR


def ensure(recipe: Recipe = TRIXIE) -> Path:
    """The root of `recipe`, built now if it is not in the cache (a minute, needs root).

    Raises:
        RuntimeError: a step of the build failed; the message ends with what it printed.
    """
    if recipe.path.is_dir():
        return recipe.path
    recipe.path.parent.mkdir(parents=True, exist_ok=True)
    with recipe.path.with_name(f".{recipe.path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not recipe.path.is_dir():  # another run may have built it meanwhile
            _build_in_place(recipe)
    return recipe.path


def _build_in_place(recipe: Recipe) -> None:
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=recipe.path.parent))
    try:
        _build(recipe, work / "root")
        (work / "root").rename(recipe.path)
    finally:
        shutil.rmtree(work)


def _build(recipe: Recipe, root: Path) -> None:
    if recipe.base:
        _step("cp", "--archive", "--reflink=auto", ensure(recipe.base), root)
    else:
        include = f"--include={','.join(_BASE)}"
        source = (recipe.release, str(root), mirror(), *_script(recipe.release))
        _step("debootstrap", "--variant=minbase", include, *source)
    guests = _borrow_network_settings(root)
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # invoke-rc.d(8): start nothing while installing
    policy.chmod(0o755)
    install = ("apt-get", "install", "--yes", "--no-install-recommends", *recipe.packages)
    update = ("apt-get", "update")
    for command in (update, install, *recipe.finish, ("apt-get", "clean")):
        # Without /proc, forky's systemd-tmpfiles refuses; the namespace takes it away again.
        _step("unshare", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", root, *command)
    for path in (policy, *guests):
        path.unlink()
    shutil.rmtree(root / "var/lib/apt/lists")


def _script(release: str) -> tuple[str, ...]:
    """What to tell a debootstrap that is older than the release: all of Debian's go by this one."""
    return () if (_SCRIPTS / release).exists() else (str(_SCRIPTS / "sid"),)


def _borrow_network_settings(root: Path) -> list[Path]:
    """Let the chroot's apt reach the mirror as the machine's does; returns what to take away."""
    dump = _output("apt-config", "dump").splitlines()
    settings = root / "etc/apt/apt.conf.d/99-of-the-machine"
    settings.write_text("".join(f"{line}\n" for line in dump if _TRANSPORT.match(line)))
    guests = [settings]
    for name in ("etc/resolv.conf", "etc/hosts"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
            guests.append(root / name)
    return guests


def _step(*command: str | Path) -> None:
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        timeout=BUILD_SECONDS,
        check=False,
    )
    if result.returncode:
        printed = result.stdout.decode(errors="replace")[-3000:]
        raise RuntimeError(
            f"building a test host: {' '.join(map(str, command))} failed:\n{printed}"
        )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
