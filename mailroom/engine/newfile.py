"""A new file that a person has named: whole, or not there, so that the command can be repeated."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class NewFile:
    """Makes the file; one that is there stays, unless it is empty and ours: nothing is lost then.
    :meth:`close` removes it again, unless it was said to be whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_partial = False

    def open(self) -> int:
        """A descriptor for writing. Raises OSError."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not self._is_empty():
                raise
            fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW)
        self._is_partial = True
        return fd

    def keep(self) -> int:
        """The file is whole, and stays; returns a descriptor for reading. Raises OSError."""
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        self._is_partial = False
        return fd

    def close(self) -> None:
        if self._is_partial:
            self._is_partial = False
            self._path.unlink(missing_ok=True)

    def _is_empty(self) -> bool:
        """Whether there is an empty file of ours. Another user's could be read by that user."""
        there = self._path.lstat()
        is_ours = stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid()
        return is_ours and there.st_size == 0


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """The file, to be written by this process. Raises OSError."""
    with contextlib.closing(NewFile(path)) as new:
        with os.fdopen(new.open(), "w", encoding="utf-8") as file:
            yield file
        os.close(new.keep())
