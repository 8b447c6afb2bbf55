"""What the commands ask of a running service, through its status socket. Synchronous."""

import http.client
import os
import socket
from pathlib import Path

from mailroom.engine.sockets import look_up
from mailroom.errors import MailroomError


def ask(path: Path, method: str, target: str, timeout_seconds: float = 5.0) -> tuple[int, bytes]:
    """Send one request to the service that listens at ``path``: status and body of its answer.

    Raises :class:`MailroomError` when there is no answer, with what the user can do about it.
    """
    connection = _UnixConnection(path, timeout_seconds)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, response.read()
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise MailroomError(
            f"nobody answers at {path}: is the service running ({look_up(path)}), "
            "and is this its socket (--socket names another)?"
        ) from error
    except PermissionError as error:
        raise MailroomError(
            f"no permission to ask at {path}: ask as root, or join the group mailroom-status "
            "(sudo adduser YOU mailroom-status) and log in again"
        ) from error
    except (TimeoutError, BlockingIOError) as error:  # the latter where its backlog is full
        raise MailroomError(
            f"the service at {path} did not answer within {timeout_seconds:g} s: {look_up(path)}"
        ) from error
    except (ConnectionError, http.client.IncompleteRead) as error:
        # A socket unit accepts for a service that then cannot start (seen: systemd 257).
        raise MailroomError(
            f"the socket {path} is there, but the service behind it ended without an answer; "
            f"it may be unable to start: {look_up(path)}"
        ) from error
    except http.client.HTTPException as error:
        raise MailroomError(
            f"what answers at {path} is no mailroom service: name the right socket by --socket"
        ) from error
    except OSError as error:
        raise MailroomError(f"cannot ask at {path}: {error.strerror or error}") from error
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("mailroom", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))
