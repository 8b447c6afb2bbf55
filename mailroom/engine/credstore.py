"""Where secrets are kept for a service: written whole, for its reader alone, encrypted if possible.

The system's are systemd credentials, one file each: ``/etc/credstore.encrypted`` for those that
``systemd-creds`` has encrypted with the host's key, so that a copy of /etc is worth nothing
elsewhere; else ``/etc/credstore``. A user's stand beside the configuration. A secret goes into a
program by a pipe, and into no argument, environment or message.
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

# By the host's key alone. By default one that a TPM measures the firmware for would be taken where
# there is a TPM, and after an update of the firmware no service would get its secrets.
_ENCRYPT = ("systemd-creds", "encrypt", "--with-key=host")
_DECRYPT = ("systemd-creds", "decrypt")
_SECONDS = 30
# systemd hands over 1 MiB, all other secrets of the service included (seen: 252 and 257).
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """Where a secret is now."""

    path: Path
    is_encrypted: bool


def store(installation: Installation, name: str, secret: str) -> StoredSecret:
    """Keep ``secret`` as the credential ``name`` (``jmap-token``), in place of the one before. Of
    one of many accounts it is a line among those of all.

    A service that runs goes on with what it was given: see :mod:`mailroom.engine.manager`. Raises
    :class:`MailroomError` where it cannot be written; then the one before is as it was.
    """
    if installation.member is None:
        return _keep(installation, name, secret)
    with _alone(installation):
        lines = {**_lines(installation), f"{installation.member}.{name}": secret}
        return _keep_lines(installation, lines)


def remove(installation: Installation, name: str) -> list[Path]:
    """Take the credential away; returns the files that are gone, or say less than before."""
    if installation.member is None:
        files = (installation.secret_file(name), installation.encrypted_file(name))
        return [path for path in files if _remove(path)]
    with _alone(installation):
        lines = _lines(installation)
        if lines.pop(f"{installation.member}.{name}", None) is None:
            return []
        return [_keep_lines(installation, lines).path]


def stored(installation: Installation) -> dict[str, str]:
    """The secrets that are kept, by their names, as the service would be given them.

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
    # Of two the encrypted one counts, so whenever this is broken off, one of them is there.
    _remove(other.path)
    return chosen


def _lines(installation: Installation) -> dict[str, str]:
    """Those of all accounts."""
    text = _stored(installation, ACCOUNT_SECRETS)
    return parse(text or "", str(installation.secret_file(ACCOUNT_SECRETS)))


def _keep_lines(installation: Installation, lines: Mapping[str, str]) -> StoredSecret:
    text = written(lines)
    if len(text.encode()) > _MOST_BYTES:
        raise MailroomError(
            f"the secrets of all accounts are more than {_MOST_BYTES} bytes, and systemd would "
            "hand over none: give accounts a password in common, or spread them over more services"
        )
    return _keep(installation, ACCOUNT_SECRETS, text)


@contextlib.contextmanager
def _alone(installation: Installation) -> Iterator[None]:
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
    """What can be read on this host alone; None where the host cannot do that, and read it."""
    called = f"--name={name}.encrypted"
    sealed = _piped([*_ENCRYPT, called, "-", "-"], content)
    if sealed is None or _piped([*_DECRYPT, called, "-", "-"], sealed) != content:
        return None
    return sealed


def _piped(command: list[str], content: bytes) -> bytes | None:
    """What the command makes of it; None where it is not there, or fails."""
    try:
        # Its words on stderr are about the medium that the host's key is on.
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, mode 0600; a folder that is missing is made, for its owner alone."""
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
    """Whether it was there."""
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
