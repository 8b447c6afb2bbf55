"""Where the status socket is, and how it comes to be: bound here, or handed over by systemd."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailroom.errors import MailroomError

# FileDescriptorName= in mailroom.socket.
INHERITED_NAME = "status"
# sd_listen_fds(3): the first file descriptor that is handed over.
_LISTEN_FDS_START = 3
# sockaddr_un has room for 108 bytes, the last of them NUL (unix(7)).
_PATH_LIMIT_BYTES = 107
# Who may do what with the socket: its owner and its group may ask, nobody else.
_UMASK_FOR_0660 = 0o117
_BACKLOG = 128


def listen(path: Path) -> socket.socket:
    """A listening socket at ``path``, mode 0660 from its first moment on.

    A parent directory that is missing is made, for us alone. A socket that nobody listens on any
    more is replaced. Raises :class:`MailroomError` when another instance answers there, when
    something else is in the way, and when the path cannot be used.
    """
    if len(os.fsencode(path)) > _PATH_LIMIT_BYTES:
        raise MailroomError(
            f"cannot listen on {path}: the path of a socket may have {_PATH_LIMIT_BYTES} bytes,"
            " choose a shorter one with --socket"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
        with _alone_in(path.parent), _umask(_UMASK_FOR_0660):
            _remove_dead(path)
            listener.bind(os.fspath(path))
            listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise MailroomError(f"cannot listen on {path}: {error.strerror}") from error
    except MailroomError:
        listener.close()
        raise
    return listener


def unlisten(listener: socket.socket) -> None:
    """Take the file away that :func:`listen` made.

    To be called while the listener still listens: afterwards the path may be another instance's.
    """
    Path(listener.getsockname()).unlink(missing_ok=True)


def inherited(
    environ: Mapping[str, str], pid: int, first_fd: int = _LISTEN_FDS_START
) -> socket.socket | None:
    """The socket named ``status`` that systemd handed over (sd_listen_fds(3)); None without one.

    Every fd handed over is closed on exec. Raises :class:`MailroomError` when systemd handed over
    something else than a listening Unix stream socket of that name.
    """
    given = environ.get("LISTEN_FDS", "")
    count = int(given) if given.isascii() and given.isdigit() else 0
    if count == 0 or environ.get("LISTEN_PID") != str(pid):
        return None
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    fds = range(first_fd, first_fd + count)
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
        found = [fd for fd, name in zip(fds, names, strict=False) if name == INHERITED_NAME]
        if len(found) != 1:
            raise MailroomError(
                f"systemd handed over {count} sockets ({', '.join(names)}), but not one named"
                f" {INHERITED_NAME}: set FileDescriptorName={INHERITED_NAME} in the socket unit"
            )
        listener = socket.socket(fileno=found[0])
    except OSError as error:
        raise MailroomError(
            f"systemd said that it handed over {count} sockets, but: {error.strerror}"
        ) from error
    if not _is_listening_unix_stream(listener):
        listener.detach()
        raise MailroomError(
            f"the socket {INHERITED_NAME} that systemd handed over is not a listening Unix stream"
            " socket: use ListenStream= with a path"
        )
    return listener


def _is_listening_unix_stream(listener: socket.socket) -> bool:
    return (
        listener.family == socket.AF_UNIX
        and listener.type == socket.SOCK_STREAM
        and bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )


def _remove_dead(path: Path) -> None:
    """Make room at ``path`` where a socket is left over from an instance that is gone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MailroomError(f"cannot listen on {path}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Not to wait for a peer that is stopped with its backlog full; that one is alive as well.
        probe.setblocking(False)
        outcome = probe.connect_ex(os.fspath(path))
    if outcome in (0, errno.EAGAIN):
        raise MailroomError(
            f"cannot listen on {path}: another instance answers there, stop it or choose another"
            " path with --socket"
        )
    if outcome != errno.ECONNREFUSED:
        raise OSError(outcome, os.strerror(outcome))
    path.unlink()


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: of two instances that find a dead socket, one replaces it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MailroomError(
            f"cannot listen in {directory}: another instance is just starting there"
        ) from error


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
