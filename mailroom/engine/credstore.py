"""Where a service's secrets are kept: written whole, readable by its owner only, and encrypted if
possible.

Those of system services are systemd credentials, one file each. ``/etc/credstore.encrypted`` has
those that ``systemd-creds`` has encrypted with the host's key, so a copy of /etc is worthless
elsewhere; ``/etc/credstore`` has the others. A user's secrets are beside the configuration. A
secret is passed to a program through a pipe, never in an argument, environment or message.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailroom.engine.accountsecrets import parse, written
from mailroom.engine.credentials import ACCOUNT_SECRETS, SECRETS
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError

# With the host's key alone. By default a key bound to the TPM's measurement of the firmware would
# be used as well, and after an update of the firmware no service would get its secrets.
_ENCRYPT = ("systemd-creds", "encrypt", "--with-key=host")
_DECRYPT = ("systemd-creds", "decrypt")
_TIMEOUT_SECONDS = 30
# systemd hands over 1 MiB, all other secrets of the service included (seen: 252 and 257).
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """Where a secret is now."""

    path: Path
    is_encrypted: bool


def store(installation: Installation, name: str, secret: str) -> StoredSecret:
    """Keep ``secret`` as the credential ``name`` (``jmap-token``), in place of the one before. For
    one of many accounts it becomes a line among those of all.

    A running service keeps the secrets that it was started with: see
    :mod:`mailroom.engine.manager`. Raises :class:`MailroomError` if it cannot be written; the one
    before is then unchanged.
    """
    if installation.member is None:
        return _keep(installation, name, secret)
    with _locked(installation):
        lines = {**_lines(installation), f"{installation.member}.{name}": secret}
        return _keep_lines(installation, lines)


def remove(installation: Installation, name: str) -> list[Path]:
    """Remove the credential; returns the files that were removed or shortened."""
    if installation.member is None:
        files = (installation.secret_file(name), installation.encrypted_file(name))
        return [path for path in files if _remove(path)]
    with _locked(installation):
        lines = _lines(installation)
        if lines.pop(f"{installation.member}.{name}", None) is None:
            return []
        return [_keep_lines(installation, lines).path]


def stored(installation: Installation) -> dict[str, str]:
    """The stored secrets by their names, as the service would get them.

    Raises :class:`MailroomError` for one that cannot be read.
    """
    if installation.member is None:
        found = {name: _stored(installation, name) for name in SECRETS}
    else:
        lines = _lines(installation)
        found = {name: lines.get(f"{installation.member}.{name}") for name in SECRETS}
    return {name: secret for name, secret in found.items() if secret is not None}


def _keep(installation: Installation, name: str, secret: str) -> StoredSecret:
    plain = StoredSecret(installation.secret_file(name), is_encrypted=False)
    sealed = StoredSecret(installation.encrypted_file(name), is_encrypted=True)
    content = secret.encode()
    encrypted = _encrypted(content, installation, name) if installation.is_system else None
    chosen, other = (plain, sealed) if encrypted is None else (sealed, plain)
    _write(chosen.path, encrypted or content)
    # If both are there, the encrypted one counts: an interruption never leaves us without one.
    _remove(other.path)
    return chosen


def _lines(installation: Installation) -> dict[str, str]:
    """The secrets of all accounts."""
    text = _stored(installation, ACCOUNT_SECRETS)
    return parse(text or "", str(installation.secret_file(ACCOUNT_SECRETS)))


def _keep_lines(installation: Installation, lines: Mapping[str, str]) -> StoredSecret:
    text = written(lines)
    if len(text.encode()) > _MOST_BYTES:
        raise MailroomError(
            f"the secrets of all accounts are more than {_MOST_BYTES} bytes, and systemd would "
            "hand over none: let accounts share a password, or spread them over more services"
        )
    return _keep(installation, ACCOUNT_SECRETS, text)


@contextlib.contextmanager
def _locked(installation: Installation) -> Iterator[None]:
    """Nobody else changes the file meanwhile."""
    folder = installation.secrets
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MailroomError(f"cannot write secrets to {folder}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _stored(installation: Installation, name: str) -> str | None:
    sealed = _content(installation.encrypted_file(name)) if installation.is_system else None
    content = _content(installation.secret_file(name))
    if sealed is not None:
        content = _piped([*_DECRYPT, f"--name={name}.encrypted", "-", "-"], sealed)
        if content is None:
            raise MailroomError(
                f"the secret {installation.encrypted_file(name)} cannot be decrypted here: "
                "store it again by `mailroom login`"
            )
    return None if content is None else content.decode(errors="replace").rstrip("\r\n")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MailroomError(f"cannot read the secret {path}: {error.strerror}") from error


def _encrypted(content: bytes, installation: Installation, name: str) -> bytes | None:
    """The content encrypted for this host; None if the host cannot encrypt and decrypt it."""
    called = f"--name={name}.encrypted"
    sealed = _piped([*_ENCRYPT, called, "-", "-"], content)
    if sealed is None or _piped([*_DECRYPT, called, "-", "-"], sealed) != content:
        return None
    return sealed


def _piped(command: list[str], content: bytes) -> bytes | None:
    """The command's output for this input; None if the command is missing, or fails."""
    try:
        # On stderr it comments on the medium that the host's key is on.
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _write(path: Path, content: bytes) -> None:
    """Write all or nothing, mode 0600; a missing folder is made, for its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(path.parent)
    except OSError as error:
        raise MailroomError(f"cannot write the secret to {path}: {error.strerror}") from error


def _remove(path: Path) -> bool:
    """Returns whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MailroomError(f"cannot remove the secret {path}: {error.strerror}") from error
    _sync(path.parent)
    return True


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
