"""Where the sockets come from: bound by us, or handed over by systemd."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.sockets import (
    control_path,
    groups,
    inherited,
    listen,
    listen_on_both,
    unlisten,
)
from mailroom.errors import MailroomError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param


def test_owner_and_group_may_ask_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "mailroom" / "status.sock"
    with listen(path) as listener:
        assert mode(path) == 0o660
        assert mode(path.parent) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        unlisten(listener)
    assert not path.exists()


def test_the_control_socket_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    both = listen_on_both(tmp_path / "status.sock")
    with both["status"], both["control"]:
        assert both["control"].getsockname() == str(control_path(tmp_path / "status.sock"))
        assert mode(tmp_path / "status.sock") == 0o660
        assert mode(tmp_path / "control.sock") == 0o600


@pytest.mark.parametrize("control", [0o660, 0o600])
def test_a_socket_that_has_a_group_is_for_its_members(
    control: int, tmp_path: Path, umask: int
) -> None:
    status, mine = tmp_path / "2-6" / "status.sock", os.getegid()
    both = listen_on_both(
        status, {"status": mine, **({"control": mine} if control & 0o060 else {})}
    )
    with both["status"], both["control"]:
        assert [mode(each) for each in (status, control_path(status))] == [0o660, control]
        assert mode(status.parent) == 0o700


def test_a_socket_is_given_to_a_group_by_its_members(tmp_path: Path) -> None:
    assert set(groups()) <= {"status", "control"}
    if os.geteuid():
        with pytest.raises(MailroomError, match=r"status\.sock: Operation not permitted"):
            listen_on_both(tmp_path / "status.sock", {"status": 7})
        return
    both = listen_on_both(tmp_path / "status.sock", {"status": 7, "control": 8})
    with both["status"], both["control"]:
        for name, group in ("status", 7), ("control", 8):
            assert (tmp_path / f"{name}.sock").stat().st_gid == group


_UNSHARE = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/group && exec "$2" -c "$3"']


def _may_have_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


@pytest.mark.skipif(not _may_have_namespaces(), reason="needs root and namespaces")
def test_a_group_counts_for_its_members(tmp_path: Path) -> None:
    """Nobody else could give it a socket."""
    host = tmp_path / "group"
    host.write_text("root:x:0:\nmailroom-status:x:64007:\nmailroom-control:x:64008:\n")
    told = (
        "import os; from mailroom.engine.sockets import groups\n"
        "for ours in [], [64007], [64008, 64007]: os.setgroups(ours); print(groups())"
    )
    command = [*_UNSHARE, "sh", str(host), sys.executable, told]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [
        "{}",
        "{'status': 64007}",
        "{'status': 64007, 'control': 64008}",
    ]


def test_where_one_socket_cannot_be_made_the_other_is_taken_away_again(tmp_path: Path) -> None:
    (tmp_path / "control.sock").touch()
    with pytest.raises(MailroomError, match=r"control\.sock: there is a file that is not a socket"):
        listen_on_both(tmp_path / "status.sock")
    assert [path.name for path in tmp_path.iterdir()] == ["control.sock"]
    with pytest.raises(MailroomError, match="choose another one with --socket"):
        listen_on_both(tmp_path / "control.sock")


def test_a_parent_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o751)
    with listen(tmp_path / "status.sock"):
        assert mode(tmp_path) == 0o751


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    listen(path).close()
    assert path.is_socket()
    with listen(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_living_instance_is_left_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    with listen(path) as first:
        with pytest.raises(MailroomError, match=r"status\.sock: another instance answers there"):
            listen(path)
        first.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_an_instance_that_is_stopped_with_its_backlog_full_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as client:
        first.bind(str(path))
        first.listen(0)
        client.connect(str(path))
        with pytest.raises(MailroomError, match="another instance answers there"):
            listen(path)


def test_what_is_not_a_dead_socket_of_ours_is_never_removed(tmp_path: Path) -> None:
    regular, directory, link = (tmp_path / name for name in ("regular", "directory", "link"))
    regular.write_text("mine")
    directory.mkdir()
    listen(tmp_path / "dead").close()
    link.symlink_to(tmp_path / "dead")
    datagrams = tmp_path / "datagrams"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(datagrams))
        for path, why in (
            (regular, "there is a file that is not a socket"),
            (directory, "there is a file that is not a socket"),
            (link, "there is a file that is not a socket"),
            (datagrams, "Protocol wrong type for socket"),
        ):
            with pytest.raises(MailroomError, match=f"^cannot listen on {path}: {why}"):
                listen(path)
    assert regular.read_text() == "mine"
    assert link.is_symlink()
    assert datagrams.is_socket()


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "a" / "b" / "s", "No such file or directory"),
        (tmp_path / "file" / "s", "Not a directory"),
        (tmp_path / ("x" * 108), "may have 107 bytes"),
    ):
        with pytest.raises(MailroomError, match=why) as caught:
            listen(path)
        assert str(path) in str(caught.value)


def test_the_longest_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listen(Path("x" * 107)) as listener:
        assert (tmp_path / ("x" * 107)).is_socket()
        unlisten(listener)
    with pytest.raises(MailroomError, match="107 bytes"):
        listen(Path("x" * 108))


class Handover:
    """What systemd leaves in a service: sockets from some fd on, and the environment."""

    def __init__(self, path: Path) -> None:
        self._listener = listen(path)
        self.path = path
        self.first_fd = 200
        self._fds: list[int] = []

    def fd(self, source: int | None = None) -> None:
        source = self._listener.fileno() if source is None else source
        fd = self.first_fd + len(self._fds)
        os.dup2(source, fd, inheritable=True)
        self._fds.append(fd)

    def take(self, names: str, pid: str = "42") -> dict[str, socket.socket]:
        environ = {"LISTEN_PID": pid, "LISTEN_FDS": str(len(self._fds)), "LISTEN_FDNAMES": names}
        return inherited(environ, 42, self.first_fd)

    def close(self) -> None:
        self._listener.close()
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def handover(tmp_path: Path) -> Iterator[Handover]:
    given = Handover(tmp_path / "status.sock")
    yield given
    given.close()


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ("status:control", {"status": 200, "control": 201}),
        ("control:status", {"control": 200, "status": 201}),
        ("other:status", {"status": 201}),
        ("control:other", {"control": 200}),
    ],
)
def test_the_sockets_are_told_apart_by_their_names_and_none_survives_an_exec(
    handover: Handover, names: str, numbers: dict[str, int]
) -> None:
    handover.fd()
    handover.fd()
    taken = handover.take(names)
    assert {name: listener.fileno() for name, listener in taken.items()} == numbers
    assert not os.get_inheritable(200)
    assert not os.get_inheritable(201)
    for listener in taken.values():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(handover.path))
            listener.accept()[0].close()
        listener.detach()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "41", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "status"},
        {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "status"},
        {"LISTEN_PID": "42"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "many"},
    ],
)
def test_what_was_not_handed_to_this_process_is_not_taken(environ: dict[str, str]) -> None:
    assert inherited(environ, 42) == {}


@pytest.mark.parametrize(
    "names", ["", "mailroom.socket", "Status", "status:status", "control:control"]
)
def test_sockets_of_other_names_or_two_of_one_name_are_refused(
    handover: Handover, names: str
) -> None:
    handover.fd()
    handover.fd()
    with pytest.raises(MailroomError, match="set FileDescriptorName= in the socket units"):
        handover.take(names)


def test_what_does_not_listen_on_a_unix_stream_is_refused(handover: Handover) -> None:
    with (
        socket.socket(socket.AF_UNIX) as silent,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as network,
    ):
        for number, other in enumerate((silent, datagrams, network)):
            handover.fd(other.fileno())
            with pytest.raises(MailroomError, match=r"control .* is not a listening Unix stream"):
                handover.take("x:" * number + "control")


def test_an_fd_that_is_not_there_is_refused() -> None:
    environ = {"LISTEN_PID": "42", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "status"}
    with pytest.raises(MailroomError, match="Bad file descriptor"):
        inherited(environ, 42, first_fd=999)
