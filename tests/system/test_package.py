"""The Debian package on a booted host: all that happens to it, in this order."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import package, root
from tests.system.claims import Claims
from tests.system.host import Host
from tests.system.unit import CONTROL, PROJECT, SERVICE, SOCKET, SOCKETS

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

UNITS = (SERVICE, *SOCKETS)
SHARD = "mailroom-shard@2-6.service"
RELEASE = package.BUILDER.release
PACKAGES = "/root/packages"
# Lintian and autopkgtest take 20 s each on a machine that has nothing else to do.
SECONDS = 300.0
# Nothing listens there: the service is up and backs off.
CONFIGURATION = "jmap:\n  url: http://127.0.0.1:9\n  username: alice\n"
# What a host writes of its own accord, whatever is installed.
OF_THE_HOST = (
    "/proc /sys /dev /run/log /run/systemd /run/user /run/credentials /tmp /root"
    " /var/cache /var/log /var/lib/apt /var/lib/dpkg /var/lib/systemd/catalog"
)


@pytest.fixture(scope="module")
def bare(packages: Path) -> Iterator[Host]:
    """A host with the package at hand and not installed."""
    with Host.boot(root.ensure(package.BUILDER)) as host:
        host.copy(packages, PACKAGES)
        forget_mirrors(host)
        yield host


@pytest.fixture(scope="module")
def host(bare: Host) -> Host:
    """The package installed, unconfigured; the list of files is from before that."""
    bare.write("/root/before", files(bare))
    install(bare, deb(bare))
    return bare


@pytest.fixture(scope="module")
def configured(host: Host) -> Host:
    configure(host, "mailroom.yaml", "mailroom.jmap-password")
    host.run("systemctl", "start", SERVICE)
    return host


def forget_mirrors(host: Host) -> None:
    """There is no network to ask, and waiting for it takes its time."""
    host.run("sh", "-c", ": >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")


def deb(host: Host) -> str:
    return host.run("sh", "-c", f"ls {PACKAGES}/mailroom_*_all.deb").stdout.strip()


def install(host: Host, path: str) -> None:
    command = "DEBIAN_FRONTEND=noninteractive apt-get install --yes"
    host.run("sh", "-c", f"{command} {path}")


def configure(host: Host, file: str, secret: str) -> None:
    host.write(f"/etc/mailroom/{file}", CONFIGURATION)
    host.write(f"/etc/credstore/{secret}", "secret", mode=0o600)


def files(host: Host) -> str:
    prune = " -o ".join(f"-path {path}" for path in OF_THE_HOST.split())
    listing = f"find / \\( {prune} \\) -prune -o -print | sort"
    return host.run("sh", "-c", listing).stdout


def ask(host: Host, path: str, target: str = "/status") -> dict[str, object]:
    curl = ("curl", "--silent", "--show-error", "--max-time", "10", "--unix-socket", path)
    answer: dict[str, object] = json.loads(host.run(*curl, f"http://mailroom{target}").stdout)
    return answer


@contextlib.contextmanager
def asking(host: Host) -> Iterator[list[int]]:
    """A client that asks in a loop for as long as the context lasts; its exit codes."""
    curl = ("curl", "--silent", "--fail", "--unix-socket", SOCKET, "http://mailroom/metrics")
    answers: list[int] = []
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            answers.append(host.run(*curl, check=False).returncode)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join()


def test_lintian_has_no_error_and_no_warning(bare: Host, claims: Claims) -> None:
    command = f"lintian --allow-root --fail-on=none {PACKAGES}/*.changes"
    found = bare.run("sh", "-c", command, timeout=SECONDS).stdout.splitlines()
    print("\n".join(found))  # noqa: T201 - which they are, where there are any
    claims.at_most(0, len(found), RELEASE, "package: errors and warnings of lintian")


def test_the_page_comes_whole_and_with_its_languages(bare: Host) -> None:
    command = f"dpkg-deb --contents {PACKAGES}/cockpit-mailroom_*.deb"
    listed = bare.run("sh", "-c", command).stdout
    page = PROJECT / "cockpit"
    wanted = {path.relative_to(page) for path in page.rglob("*.*") if path.parent.name != "po"}
    wanted |= {Path(f"po.{path.stem}.js") for path in page.glob("po/*.po")}
    folder = "./usr/share/cockpit/mailroom/"
    assert {Path(each) for each in re.findall(rf"{folder}(.*[^/])\n", listed)} == wanted


@pytest.mark.parametrize("user", ["root", "alice"])
def test_anybody_builds_it_where_the_build_depends_are(bare: Host, user: str) -> None:
    home = f"/home/{user}-builds"
    bare.run("sh", "-c", f"id {user} || useradd {user}")
    bare.copy(PROJECT / "packaging", f"{home}/packaging")
    for each in ("cockpit", "docs", "mailroom", "systemd", "tests"):
        bare.copy(PROJECT / each, f"{home}/{each}")
    for file in (*PROJECT.glob("*.md"), PROJECT / "LICENSE", PROJECT / "pyproject.toml"):
        bare.write(f"{home}/{file.name}", file.read_text())
    bare.run("chown", "-R", user, home)
    build = f"cd {home} && packaging/build-deb.sh"
    built = bare.run("runuser", "-u", user, "--", "sh", "-c", build, timeout=SECONDS)
    assert built.stdout.endswith("_all.deb\n")
    bare.run("rm", "-r", home)


@pytest.mark.parametrize(("user", "command"), [("root", "apt-get"), ("nobody", "sudo apt-get")])
def test_a_debian_13_without_the_build_depends_is_told_the_one_command(
    user: str, command: str, tree: Path
) -> None:
    with Host.boot(tree, {PROJECT: "/mnt"}) as host:
        build = "cd /mnt && packaging/build-deb.sh /tmp/dist"
        told = host.run("runuser", "-u", user, "--", "sh", "-c", build, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"mailroom: packages to build with are missing: {command} build-dep ./packaging, then make"
        " deb again\n"
    )


def test_another_system_is_told_in_one_line(tree: Path) -> None:
    with Host.boot(root.ensure(root.BOOKWORM), {PROJECT: "/mnt"}) as host:
        build = "cd /mnt && packaging/build-deb.sh /tmp/dist"
        told = host.run("runuser", "-u", "nobody", "--", "sh", "-c", build, check=False)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert "Debian 13" in told.stderr
    assert "Debian GNU/Linux 12 (bookworm)" in told.stderr


def test_autopkgtest_does_the_main_job(packages: Path) -> None:
    """In a host of its own: it leaves it changed."""
    with Host.boot(root.ensure(package.BUILDER)) as host:
        host.copy(packages, PACKAGES)
        forget_mirrors(host)
        ignore = "--ignore-restrictions=isolation-container"
        command = f"autopkgtest {ignore} {PACKAGES}/*.dsc {PACKAGES}/*.deb -- null"
        result = host.run("sh", "-c", command, check=False, timeout=SECONDS)
        assert result.returncode == 0, result.stdout[-3000:]


def test_the_same_package_works_on_debian_12(packages: Path) -> None:
    with Host.boot(root.ensure(root.BOOKWORM)) as host:
        host.copy(packages, PACKAGES)
        forget_mirrors(host)
        install(host, deb(host))
        assert host.property(SERVICE, "ActiveState") == "inactive"
        configure(host, "mailroom.yaml", "mailroom.jmap-password")
        host.run("systemctl", "start", SERVICE)
        assert ask(host, SOCKET)["phase"] != "stopping"
        host.run("apt-get", "purge", "--yes", "mailroom")
        left = host.run("find", "/etc", "/usr", "/var/lib", "/run", "-name", "*mailroom*").stdout
        assert left == ""


def test_installed_it_is_enabled_and_waits_for_a_configuration(host: Host) -> None:
    for unit in UNITS:
        assert host.property(unit, "UnitFileState") == "enabled"
        assert host.property(unit, "ActiveState") == "inactive"
        assert host.property(unit, "ConditionResult") == "no"
    assert host.run("systemctl", "is-system-running").stdout == "running\n"


def test_each_way_to_call_it_is_the_same(host: Host) -> None:
    version = host.run("mailroom", "version").stdout
    assert host.run("python3", "-m", "mailroom", "version").stdout == version


def test_only_the_service_is_installed(host: Host) -> None:
    files = host.run("dpkg", "-L", "mailroom").stdout.splitlines()
    assert any(file.endswith("/mailroom/service.py") for file in files)
    strange = re.compile(r"/(sandbox|demo|tests)(/|$)")
    assert [file for file in files if strange.search(file)] == []


@pytest.mark.parametrize("page", ["mailroom.1", "mailroom.yaml.5", "mailroom.service.8"])
def test_the_manual_is_well_formed(host: Host, page: str) -> None:
    name, section = page.rsplit(".", 1)
    shown = host.run("man", "--warnings", section, name)
    assert shown.stderr == ""
    assert "\nSEE ALSO\n" in shown.stdout


def test_the_example_is_a_configuration(host: Host) -> None:
    example = "/usr/share/doc/mailroom/examples/mailroom.yaml"
    assert "poll_interval: 60" in host.run("mailroom", "config", "--config", example).stdout


def test_bash_and_zsh_find_the_completions(host: Host) -> None:
    bash = "source /usr/share/bash-completion/bash_completion; "
    load = "_comp_load mailroom && complete -p mailroom"
    assert "_mailroom" in host.run("bash", "-c", bash + load).stdout
    zsh = "autoload -Uz compinit && compinit -u && print $_comps[mailroom]"
    assert host.run("zsh", "-fc", zsh).stdout == "_mailroom\n"
    host.run("zsh", "-n", "/usr/share/zsh/vendor-completions/_mailroom")


def test_systemd_finds_nothing_wrong_with_the_units(host: Host) -> None:
    folder = "/usr/lib/systemd/system"
    templates = [f"{folder}/{unit.replace('.', '@office.')}" for unit in UNITS]
    found = host.run("systemd-analyze", "verify", "--man=no", *UNITS, *templates, SHARD)
    assert found.stdout + found.stderr == ""  # it exits 0 whatever it finds


def test_configured_it_starts_and_the_journal_explains_itself(configured: Host) -> None:
    assert f"mailroom_{ask(configured, SOCKET)['version']}_" in deb(configured)
    configured.run("journalctl", "--sync")
    told = configured.run("journalctl", "-x", "-u", SERVICE, "--no-pager").stdout
    assert "Subject: Mailroom cannot do its work\n" in told
    assert "    GET http://127.0.0.1:9/.well-known/jmap: nobody answers there" in told
    assert "@MAILROOM_" not in told


def test_logcheck_mails_only_what_is_trouble(configured: Host) -> None:
    configured.run("journalctl", "--sync")
    rules = "cat /etc/logcheck/ignore.d.server/mailroom"
    heard = f"journalctl -u {SERVICE} -o short --no-pager | grep -Ev -f /root/rules"
    configured.write("/root/rules", configured.run("sh", "-c", rules).stdout)
    lines = configured.run("sh", "-c", f"{heard} | grep mailroom.[0-9]", check=False).stdout
    assert lines
    assert all(line.endswith(" level=warning") for line in lines.splitlines())


def test_a_socket_whose_service_cannot_start_is_told_in_words(configured: Host) -> None:
    configured.run("systemctl", "stop", "mailroom.socket", SERVICE)
    configured.write("/etc/mailroom/mailroom.yaml", "nonsense: 1\n")
    configured.run("systemctl", "start", "mailroom.socket")
    told = configured.run("mailroom", "status", check=False)
    assert told.returncode == 1
    assert told.stderr == (
        f"mailroom: the socket {SOCKET} is there, but the service behind it ended without an"
        " answer; it may be unable to start: see systemctl status mailroom\n"
    )
    configured.write("/etc/mailroom/mailroom.yaml", CONFIGURATION)
    configured.run("systemctl", "restart", "mailroom.socket", SERVICE)


def test_an_upgrade_restarts_it_and_refuses_nobody_meanwhile(
    configured: Host, claims: Claims
) -> None:
    configure(configured, "office.yaml", "mailroom.office.jmap-password")
    instance = "mailroom@office.service"
    configured.run("mkdir", "/etc/mailroom/accounts.d")
    configured.run("systemctl", "start", instance, SHARD)
    before = {unit: configured.property(unit, "MainPID") for unit in (SERVICE, instance, SHARD)}
    # As if what is there were a version that had no control socket.
    controls = (SOCKETS[1], "mailroom-control@office.socket")
    as_dpkg = ("env", "DPKG_MAINTSCRIPT_PACKAGE=mailroom")
    configured.run(*as_dpkg, "deb-systemd-helper", "purge", SOCKETS[1])
    configured.run("systemctl", "stop", *controls)
    newer = f"{PACKAGES}/newer.deb"
    repack = (
        f"cd /root && dpkg-deb -R {deb(configured)} newer"
        " && sed -i 's/^Version: .*/&+newer/' newer/DEBIAN/control"
        f" && dpkg-deb -b newer {newer}"
    )
    configured.run("sh", "-c", repack)
    with asking(configured) as answers:
        install(configured, newer)
    assert configured.run("dpkg-query", "-W", "-f", "${Version}", "mailroom").stdout.endswith(
        "+newer"
    )
    for unit, pid in before.items():
        assert configured.property(unit, "ActiveState") == "active"
        assert configured.property(unit, "MainPID") != pid
    assert [configured.property(unit, "ActiveState") for unit in controls] == ["active"] * 2
    assert configured.run("systemctl", "is-enabled", SOCKETS[1]).stdout == "enabled\n"
    assert ask(configured, CONTROL)["pid"] == int(configured.property(SERVICE, "MainPID"))
    assert len(answers) > 10
    refused = len([code for code in answers if code])
    claims.at_most(0, refused, RELEASE, "package: questions refused during an upgrade")


def test_instances_share_nothing(configured: Host) -> None:
    names = ("office", "home")
    for name in names:
        configure(configured, f"{name}.yaml", f"mailroom.{name}.jmap-password")
        configured.run("systemctl", "enable", "--now", f"mailroom@{name}")
    pids = {ask(configured, f"/run/mailroom/{name}/status.sock")["pid"] for name in names}
    assert {ask(configured, f"/run/mailroom/{name}/control.sock")["pid"] for name in names} == pids
    units = (SERVICE, *(f"mailroom@{name}.service" for name in names))
    assert pids == {int(configured.property(unit, "MainPID")) for unit in units[1:]}
    users = {
        configured.run("stat", "-c", "%u", f"/proc/{configured.property(unit, 'MainPID')}").stdout
        for unit in units
    }
    assert len(users) == 3
    status = configured.run("systemctl", "status", "--no-pager", "mailroom@*").stdout
    assert status.count("     Status: ") == 2
    told = configured.run("mailroom", "status", "--socket", "/run/mailroom/office/status.sock")
    assert "http://127.0.0.1:9" in told.stdout


def test_a_user_runs_it_for_himself(configured: Host) -> None:
    configured.run("useradd", "--system", "--create-home", "carol")
    for name, text in (("mailroom.yaml", CONFIGURATION), ("jmap-password", "secret")):
        configured.write(f"/home/carol/.config/mailroom/{name}", text, mode=0o600)
    configured.run("chown", "-R", "carol", "/home/carol")
    uid = configured.run("id", "-u", "carol").stdout.strip()
    # What `loginctl enable-linger` does, without the message bus.
    configured.write("/var/lib/systemd/linger/carol", "")
    configured.run("systemctl", "start", f"user@{uid}.service")
    as_carol = ("runuser", "-u", "carol", "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}")
    configured.run(*as_carol, "systemctl", "--user", "enable", "--now", "mailroom")
    assert "http://127.0.0.1:9" in configured.run(*as_carol, "mailroom", "status").stdout
    made = (
        "stat",
        "-c",
        "%a %n",
        *(f"/run/user/{uid}/mailroom/{name}.sock" for name in ("status", "control")),
    )
    modes = [line.split()[0] for line in configured.run(*made).stdout.splitlines()]
    assert modes == ["660", "600"]
    configured.run(*as_carol, "systemctl", "--user", "reload", "mailroom")
    configured.run("rm", "/var/lib/systemd/linger/carol")
    configured.run("systemctl", "stop", f"user@{uid}.service")
    configured.run("userdel", "--remove", "carol")


def test_removed_it_keeps_what_is_the_administrators(configured: Host) -> None:
    metrics = "/var/lib/prometheus/node-exporter"
    configured.run("mkdir", "-p", metrics)
    kept = [f"{metrics}/node.prom"]
    gone = [f"{metrics}/mailroom.prom", f"{metrics}/mailroom@office.prom"]
    configured.run("touch", *kept, *gone)
    removed = configured.run("apt-get", "remove", "--yes", "mailroom")
    there = configured.run("find", metrics, "-type", "f").stdout
    configured.run("rm", "-r", "/var/lib/prometheus")
    assert there.split() == kept
    assert "Warning: " not in removed.stdout + removed.stderr
    assert configured.run("systemctl", "list-units", "--no-legend", "mailroom*").stdout == ""
    assert configured.run("test", "-e", "/run/mailroom", check=False).returncode == 1
    assert configured.read("/etc/mailroom/mailroom.yaml") == CONFIGURATION
    assert configured.read("/etc/credstore/mailroom.jmap-password") == "secret"


def test_purged_it_leaves_nothing(configured: Host, claims: Claims) -> None:
    configured.run("touch", "/etc/credstore/.mailroom.jmap-token.0a1b2c3d")  # of a killed login
    configured.run("apt-get", "purge", "--yes", "mailroom")
    before = set(configured.read("/root/before").splitlines())
    left = set(files(configured).splitlines()) - before
    claims.at_most(0, len(left), RELEASE, "package: files left after a purge")
    assert "mailroom" not in configured.run("getent", "group").stdout
    catalog = configured.run("journalctl", "--list-catalog").stdout
    assert "Mailroom" not in catalog
