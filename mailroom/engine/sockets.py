"""Where the two sockets are, and how they come to be: bound here, or handed over by systemd.

The status socket tells how the service is. The control socket does that as well, and takes
decisions; it lies beside the status socket.

Where no socket unit makes them, a service may give them to their groups itself, as a member.
"""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailroom.errors import MailroomError

# FileDescriptorName= in the socket units.
STATUS = "status"
CONTROL = "control"
# sd_listen_fds(3): the first file descriptor that is handed over.
_LISTEN_FDS_START = 3
# sockaddr_un has room for 108 bytes, the last of them NUL (unix(7)).
_PATH_LIMIT_BYTES = 107
# What we bind ourselves. Its owner's group may ask how the service is; to decide about the owner's
# mail is the owner's alone.
STATUS_MODE = 0o660
CONTROL_MODE = 0o600
# sysusers.d: who may open which.
_GROUPS = {STATUS: "mailroom-status", CONTROL: "mailroom-control"}
_GROUP_MODE = 0o660
_BACKLOG = 128


def control_path(status: Path) -> Path:
    """Where the control socket is of the service whose status socket is at ``status``."""
    return status.with_name("control.sock")


def groups() -> dict[str, int]:
    """The groups of the sockets' units, by the sockets' names, as far as this process is a member
    of them."""
    ours = {*os.getgroups(), os.getegid()}
    found: dict[str, int] = {}
    for socket_name, group in _GROUPS.items():
        with contextlib.suppress(KeyError):
            found[socket_name] = grp.getgrnam(group).gr_gid
    return {name: gid for name, gid in found.items() if gid in ours}


def listen_on_both(
    status: Path, groups: Mapping[str, int] | None = None
) -> dict[str, socket.socket]:
    """The status socket at that path, and the control socket beside it, by their names; those that
    have one of ``groups`` are for its members. See :func:`listen`."""
    given = groups or {}
    control = control_path(status)
    if control == status:
        raise MailroomError(
            f"cannot listen on {status}: beside the status socket the control socket is made, which"
            " has that name, choose another one with --socket"
        )
    control_mode = _GROUP_MODE if CONTROL in given else CONTROL_MODE
    listener = listen(status, STATUS_MODE, given.get(STATUS))
    try:
        return {STATUS: listener, CONTROL: listen(control, control_mode, given.get(CONTROL))}
    except MailroomError:
        unlisten(listener)
        listener.close()
        raise


def listen(path: Path, mode: int = STATUS_MODE, group: int | None = None) -> socket.socket:
    """A listening socket at ``path``, of that mode from its first moment on, of that group before
    anybody is heard.

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
        with _alone_in(path.parent), _umask(0o777 & ~mode):
            _remove_dead(path)
            listener.bind(os.fspath(path))
            if group is not None:
                os.chown(path, -1, group)
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
) -> dict[str, socket.socket]:
    """The sockets that systemd handed over (sd_listen_fds(3)), by their names: ``status``,
    ``control``, or both.

    Every fd handed over is closed on exec. Raises :class:`MailroomError` when systemd handed over
    sockets, but none of these names, two of one, or something else than a listening Unix stream
    socket.
    """
    given = environ.get("LISTEN_FDS", "")
    count = int(given) if given.isascii() and given.isdigit() else 0
    if count == 0 or environ.get("LISTEN_PID") != str(pid):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    fds = range(first_fd, first_fd + count)
    ours = [(name, fd) for name, fd in zip(names, fds, strict=False) if name in (STATUS, CONTROL)]
    if len(ours) not in (1, 2) or len(dict(ours)) < len(ours):
        raise MailroomError(
            f"systemd handed over {count} sockets ({', '.join(names)}), but not one named {STATUS}"
            f" and one named {CONTROL}: set FileDescriptorName= in the socket units"
        )
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
        return {name: _listener(name, fd) for name, fd in ours}
    except OSError as error:
        raise MailroomError(
            f"systemd said that it handed over {count} sockets, but: {error.strerror}"
        ) from error


def _listener(name: str, fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    if not _is_listening_unix_stream(listener):
        listener.detach()
        raise MailroomError(
            f"the socket {name} that systemd handed over is not a listening Unix stream socket:"
            " use ListenStream= with a path"
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
