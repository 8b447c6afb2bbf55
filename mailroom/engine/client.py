"""What the commands ask of a running service, through its status socket. Synchronous."""

import http.client
import os
import socket
from pathlib import Path

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
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise MailroomError(f"nobody answers at {path}: is the service running?") from error
    except PermissionError as error:
        raise MailroomError(
            f"no permission to ask at {path}: are you a member of its group (mailroom-status)?"
        ) from error
    except TimeoutError as error:
        raise MailroomError(
            f"the service at {path} did not answer within {timeout_seconds:g} s"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise MailroomError(f"the service at {path} did not answer: {error!r}") from error
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
