"""The configuration of an installation as ``mailroom init`` makes it: whole, or not there."""

import contextlib
import os
import tempfile
from pathlib import Path

from mailroom.errors import LastingTrouble

_READABLE = 0o644  # the service's user is made up when it starts; nothing in it is secret


def write_configuration(path: Path, text: str) -> None:
    """Write the file at once or not at all; one that is there already stays. Raises
    LastingTrouble."""
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
