"""The test host itself: what the other tests of this folder rely on."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.system.host import Host

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


def assert_gone(host: Host) -> None:
    assert not Path("/proc", str(host.leader)).exists()
    assert not [*Path("/sys/fs/cgroup").glob(f"**/{host.name}")]
    assert not [*Path(tempfile.gettempdir()).glob(f"{host.name}*")]


def test_a_host_comes_up_with_every_unit_well(host: Host) -> None:
    assert host.run("systemctl", "is-system-running").stdout == "running\n"


def test_an_exit_code_comes_out_as_it_is(host: Host) -> None:
    assert host.run("sh", "-c", "exit 78", check=False).returncode == 78
    with pytest.raises(RuntimeError, match="exited 3"):
        host.run("sh", "-c", "echo why >&2; exit 3")


def test_a_file_is_written_with_its_folders_and_mode(host: Host) -> None:
    host.write("/etc/some/where/secret", "tell\nnobody\n", mode=0o600)
    assert host.read("/etc/some/where/secret") == "tell\nnobody\n"
    assert host.run("stat", "-c", "%a", "/etc/some/where/secret").stdout == "600\n"


def test_the_journal_is_read_by_unit(host: Host) -> None:
    host.run("systemd-run", "--wait", "--unit=talker", "sh", "-c", "echo '<4>hear me'")
    said = [entry for entry in host.journal("talker") if entry["MESSAGE"] == "hear me"]
    assert [entry["PRIORITY"] for entry in said] == ["4"]


def test_sockets_made_in_its_network_reach_the_host_and_only_there(host: Host) -> None:
    with host.network(), socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        assert f"{port:04X} " in host.read("/proc/net/tcp")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_host_can_be_reloaded_any_number_of_times(host: Host) -> None:
    for _ in range(15):  # each is told to the socket of --notify-ready, whose queue holds 10
        host.run("systemctl", "daemon-reload", timeout=10)


def test_two_hosts_of_one_tree_are_apart_and_leave_nothing(tree: Path) -> None:
    with Host.boot(tree) as one, Host.boot(tree) as other:
        one.write("/root/mine", "one")
        assert other.run("test", "-e", "/root/mine", check=False).returncode == 1
    assert not (tree / "root/mine").exists()
    assert_gone(one)
    assert_gone(other)


def test_a_host_outlives_no_failed_test(tree: Path) -> None:
    with pytest.raises(ZeroDivisionError), Host.boot(tree) as booted:
        raise ZeroDivisionError
    assert_gone(booted)


@pytest.mark.usefixtures("tree")
def test_a_failed_boot_shows_the_console(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"did not boot[\s\S]*no-such-tree"),
        Host.boot(tmp_path / "no-such-tree"),
    ):
        pytest.fail("nothing was there to boot")


def test_a_copied_folder_is_readable_by_everybody(host: Host, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "ours/hello").write_text("world")
    host.copy(tmp_path / "ours", "/usr/lib/ours")
    assert host.run("runuser", "-u", "nobody", "cat", "/usr/lib/ours/hello").stdout == "world"


def test_a_folder_of_the_machine_is_shown_but_not_given(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("world")
    with Host.boot(tree, read_only={tmp_path: "/usr/lib/ours"}) as booted:
        assert booted.read("/usr/lib/ours/hello") == "world"
        assert booted.run("touch", "/usr/lib/ours/new", check=False).returncode == 1


@pytest.mark.skipif(os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="it is one")
def test_it_boots_on_a_machine_with_pure_v2_cgroups(tree: Path) -> None:
    boot = f"""
import pathlib; from tests.system.host import Host
with Host.boot(pathlib.Path({str(tree)!r})) as host:
    print(host.run("systemctl", "is-system-running").stdout)
"""
    remount = (
        f"umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && {sys.executable} -c "
    )
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{remount} "$0"', boot],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.strip() == "running", result.stderr
