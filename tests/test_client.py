"""What a command gets from a service that answers, and is told about one that does not."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.client import ask, follow, who_may
from mailroom.engine.sockets import listen
from mailroom.errors import MailroomError
from mailroom.wire.sse import Parser


class Service:
    """Answers one client with ``answer``, then hangs up."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.asked = b""
        self._answer = answer
        self._listener = listen(path)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection = self._listener.accept()[0]
        with connection:
            while b"\r\n\r\n" not in self.asked:
                self.asked += connection.recv(4096)
            connection.sendall(self._answer)

    def end(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.sock"


@pytest.fixture
def service(path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    served = Service(path, request.param)
    yield served
    served.end()


@pytest.mark.parametrize(
    "service", [b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\n{}\n"], indirect=True
)
def test_status_and_body_come_back(service: Service, path: Path) -> None:
    assert ask(path, "POST", "/poll") == (202, b"{}\n")
    assert service.asked.startswith(b"POST /poll HTTP/1.1\r\nHost: mailroom\r\n")


_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: e-8\ndata: x\n\n"


@pytest.mark.parametrize("service", [_STREAM], indirect=True)
@pytest.mark.parametrize("last", ["e-7", ""])
def test_events_are_followed_from_the_last_one_on(service: Service, path: Path, last: str) -> None:
    heard = [[each.data for each in events] for events in follow(path, Parser(last))]
    assert heard == [[], ["x"]]
    assert service.asked.startswith(b"GET /events HTTP/1.1\r\n")
    assert (b"\r\nLast-Event-ID: e-7\r\n" in service.asked) is bool(last)


@pytest.mark.parametrize(
    "service", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"], indirect=True
)
def test_a_service_that_ends_in_the_middle_is_told_in_words(service: Service, path: Path) -> None:
    with pytest.raises(MailroomError) as told:
        ask(path, "GET", "/healthz")
    assert str(told.value) == (
        f"the socket {path} is there, but the service behind it ended without an answer; it may be"
        " unable to start: see its log"
    )


@pytest.mark.parametrize("service", [b"220 mail ESMTP\r\n"], indirect=True)
def test_another_service_is_told_with_the_option_that_names_ours(
    service: Service, path: Path
) -> None:
    with pytest.raises(MailroomError, match=r"not a mailroom service: .* --socket"):
        ask(path, "GET", "/healthz")


def _hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_connection_that_is_reset_is_told_in_words(path: Path) -> None:
    """As by a socket unit whose service cannot start."""
    with listen(path) as listener:
        thread = threading.Thread(target=_hang_up, args=[listener])
        thread.start()
        with pytest.raises(MailroomError, match="ended without an answer; it may be unable"):
            ask(path, "GET", "/healthz")
        thread.join()


def test_without_a_service_the_question_is_whether_it_runs(path: Path) -> None:
    with pytest.raises(
        MailroomError, match=r"nobody answers at .* running \(see its log\), .*--socket"
    ):
        ask(path, "GET", "/healthz")
    listen(path).close()
    with pytest.raises(MailroomError, match="is the service running"):
        ask(path, "GET", "/healthz")


def test_a_service_that_hangs_is_not_waited_for_long(path: Path) -> None:
    with listen(path), pytest.raises(MailroomError, match=r"did not answer within 0\.01 s"):
        ask(path, "GET", "/healthz", timeout_seconds=0.01)


@pytest.mark.parametrize(
    ("socket_path", "told"),
    [
        ("/run/mailroom/status.sock", "join the group mailroom-status (sudo adduser YOU"),
        ("/run/mailroom/office/control.sock", "join the group mailroom-control (sudo adduser YOU"),
        ("/run/mailroom-shard/1-2/control.sock", "join the group mailroom-control (sudo adduser"),
        ("/run/user/1000/mailroom/control.sock", "or as the user whose service it is"),
        ("/tmp/status.sock", "or as the user whose service it is"),
    ],
)
def test_a_group_is_named_where_it_helps(socket_path: str, told: str) -> None:
    assert told in who_may(Path(socket_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_ask_is_told_who_may(path: Path) -> None:
    with listen(path):
        for parent in (path.parent, path.parent.parent, path.parent.parent.parent):
            parent.chmod(0o755)
        path.chmod(0o600)  # the tests keep root's groups
        os.seteuid(65534)
        try:
            with pytest.raises(
                MailroomError, match=r"no permission to ask at .*: ask as root, or as the user"
            ):
                ask(path, "GET", "/healthz")
        finally:
            os.seteuid(0)


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(MailroomError, match="AF_UNIX path too long"):
        ask(tmp_path / ("x" * 108), "GET", "/")
    (tmp_path / "file").touch()
    with pytest.raises(MailroomError, match="nobody answers at"):
        ask(tmp_path / "file" / "status.sock", "GET", "/")


def test_a_full_backlog_is_told(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(MailroomError, match="did not answer"):
            ask(path, "GET", "/", timeout_seconds=0.01)


def test_how_to_start_the_service_is_told_where_a_unit_does_it() -> None:
    path = Path("/run/mailroom/nobody-at-all/control.sock")
    with pytest.raises(
        MailroomError, match="; systemctl start mailroom@nobody-at-all starts it\\)"
    ):
        ask(path, "GET", "/waiting")
