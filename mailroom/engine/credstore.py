"""Where secrets are kept for a service: written whole, for its reader alone, encrypted if possible.

The system's are systemd credentials, one file each: ``/etc/credstore.encrypted`` for those that
``systemd-creds`` has encrypted with the host's key, so that a copy of /etc is worth nothing
elsewhere; else ``/etc/credstore``. A user's stand beside the configuration. A secret goes into a
program by a pipe, and into no argument, environment or message.
"""

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mailroom.engine.credentials import SECRETS
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError

# By the host's key alone. By default one that a TPM measures the firmware for would be taken where
# there is a TPM, and after an update of the firmware no service would get its secrets.
_ENCRYPT = ("systemd-creds", "encrypt", "--with-key=host")
_DECRYPT = ("systemd-creds", "decrypt")
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a secret is now."""

    path: Path
    is_encrypted: bool


def store(installation: Installation, name: str, secret: str) -> Stored:
    """Keep ``secret`` as the credential ``name`` (``jmap-token``), in place of the one before.

    A service that runs goes on with what it was given: see :mod:`mailroom.engine.manager`. Raises
    :class:`MailroomError` where it cannot be written; then the one before is as it was.
    """
    plain = Stored(installation.secret_file(name), is_encrypted=False)
    sealed = Stored(installation.encrypted_file(name), is_encrypted=True)
    content = secret.encode()
    encrypted = _encrypted(content, installation, name) if installation.is_system else None
    chosen, other = (plain, sealed) if encrypted is None else (sealed, plain)
    _write(chosen.path, encrypted or content)
    # Of two the encrypted one counts, so whenever this is broken off, one of them is there.
    _remove(other.path)
    return chosen


def remove(installation: Installation, name: str) -> list[Path]:
    """Take the credential away; returns the files that are gone."""
    files = (installation.secret_file(name), installation.encrypted_file(name))
    return [path for path in files if _remove(path)]


def stored(installation: Installation) -> dict[str, str]:
    """The secrets that are kept, by their names, as the service would be given them.

    Raises :class:`MailroomError` for one that cannot be read.
    """
    found = {name: _stored(installation, name) for name in SECRETS}
    return {name: secret for name, secret in found.items() if secret is not None}


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
