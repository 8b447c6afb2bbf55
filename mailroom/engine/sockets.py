"""Where the two sockets are, and how they are made: bound here, or handed over by systemd.

The status socket tells the service's status. The control socket, beside it, does so as well, and
takes decisions.

If no socket unit makes them, the service can give them to their groups itself, as a member.
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
# sockaddr_un has room for 108 bytes, the last of which is NUL (unix(7)).
_PATH_LIMIT_BYTES = 107
# Modes of sockets that we bind ourselves: the owner's group may ask for the status, but only the
# owner may decide about the owner's mail.
STATUS_MODE = 0o660
CONTROL_MODE = 0o600
# sysusers.d: which group may open which socket.
_GROUPS = {STATUS: "mailroom-status", CONTROL: "mailroom-control"}
_GROUP_MODE = 0o660
# A command may open so many connections at once (terminal/remote.py).
_BACKLOG = 128


def control_path(status: Path) -> Path:
    """The path of the control socket that belongs to the status socket at ``status``."""
    return status.with_name("control.sock")


def groups() -> dict[str, int]:
    """The ids of the groups in the socket units, by the sockets' names; only those groups that
    this process is a member of."""
    ours = {*os.getgroups(), os.getegid()}
    found: dict[str, int] = {}
    for socket_name, group in _GROUPS.items():
        with contextlib.suppress(KeyError):
            found[socket_name] = grp.getgrnam(group).gr_gid
    return {name: gid for name, gid in found.items() if gid in ours}


def listen_on_both(
    status: Path, groups: Mapping[str, int] | None = None
) -> dict[str, socket.socket]:
    """The status socket at that path and the control socket beside it, by their names. A socket
    that has a group in ``groups`` is open to its members. See :func:`listen`."""
    given = groups or {}
    control = control_path(status)
    if control == status:
        raise MailroomError(
            f"cannot listen on {status}: the control socket, made beside it, has that name;"
            " choose another one with --socket"
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
    """A listening socket at ``path``. It has that mode from the first moment on, and that group
    before it accepts anybody.

    A missing parent directory is made, for us alone. A dead socket, on which nobody listens any
    more, is replaced. Raises :class:`MailroomError` if another instance answers there, if something
    else is in the way, and if the path cannot be used.
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
        with _locked(path.parent), _umask(0o777 & ~mode):
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
    """Remove the file that :func:`listen` made.

    Call it while the listener still listens: afterwards the path may be another instance's.
    """
    Path(listener.getsockname()).unlink(missing_ok=True)


def inherited(
    environ: Mapping[str, str], pid: int, first_fd: int = _LISTEN_FDS_START
) -> dict[str, socket.socket]:
    """The sockets that systemd handed over (sd_listen_fds(3)), by their names: ``status``,
    ``control``, or both.

    Every fd handed over is set to close on exec. Raises :class:`MailroomError` if systemd handed
    over sockets with none of these names, two with the same name, or something other than a
    listening Unix stream socket.
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
    """Remove the socket that a dead instance has left at ``path``."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MailroomError(f"cannot listen on {path}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A stopped peer with a full backlog is alive as well, but must not be waited for.
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
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: if two instances find a dead socket, only one replaces it."""
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
