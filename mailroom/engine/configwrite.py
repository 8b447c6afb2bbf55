"""Writes the configuration that ``mailroom init`` makes: whole, or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from mailroom.errors import LastingTrouble

_READABLE = 0o644  # DynamicUser= makes the service's user at its start; the file holds no secret


def write_configuration(path: Path, text: str) -> None:
    """Write the whole file or nothing; an existing file stays. Raises LastingTrouble."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(fd, "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), _READABLE)
                file.flush()
                os.fsync(file.fileno())
            Path(path).hardlink_to(name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        raise LastingTrouble(f"{path} cannot be written: {error.strerror}") from error
