"""What was tried already: a file for each row, so that a run that was broken off can go on.

``build/chaos/ROW.jsonl`` opens with what the row was tried on: the code, Python, the row's part of
the environment. A line for each case follows, in their order, and one that says when all were
tried. On anything else the row begins anew. A case that has failed is not tried again: a promise
that was broken once is told until the code is another.
"""

import fcntl
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TextIO

from tests.chaos.table import Notes, Row, Tried

FOLDER = Path("build/chaos")
# All that a row can reach, and more; what pytest alone runs is none of it.
_CODE = ("mailroom", "systemd", "packaging", "tests", "pyproject.toml")


class BusyError(Exception):
    """Another run is trying the same row."""


class Kept(Notes):
    """One row's file, locked for this run.

    ``finished`` is when all cases were tried, in words; None while there are more.
    """

    def __init__(self, row: Row, code: str, folder: Path = FOLDER, is_fresh: bool = False) -> None:
        super().__init__()
        self.finished: str | None = None
        environment = {name: os.environ.get(name) for name in row.environment}
        self._header = {"code": code, "python": platform.python_version(), **environment}
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{row.name}.jsonl"
        self._file = _locked(self.path)
        whole = _whole_lines(self._file)
        header, *entries = map(json.loads, whole or ["{}"])
        if header != self._header or is_fresh:
            self._rewrite()
            return
        self._file.truncate(sum(map(len, whole)))
        self.finished = next((each["finished"] for each in entries if "finished" in each), None)
        self.tried += [Tried(**each) for each in entries if "finished" not in each]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, tried: Tried) -> None:
        super().note(tried)
        self._write(asdict(tried))

    def forget(self, number: int) -> None:
        super().forget(number)
        self._rewrite()

    def finish(self, when: str) -> None:
        """All cases were tried."""
        self._write({"finished": when})

    def _rewrite(self) -> None:
        self._file.truncate(0)
        for entry in (self._header, *map(asdict, self.tried)):
            self._write(entry)

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(f"{json.dumps(entry)}\n")
        self._file.flush()


def fingerprint(top: Path = Path()) -> str:
    """What the code is, with all that is not committed; documents do not count."""
    digest = hashlib.sha256()
    for path in sorted(_files(top)):
        digest.update(f"{path.relative_to(top)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(top: Path) -> Iterator[Path]:
    for place in (top / name for name in _CODE):
        for path in place.rglob("*") if place.is_dir() else [place]:
            is_code = "__pycache__" not in path.parts and not path.name.startswith("test_")
            if is_code and path.is_file():
                yield path


def _locked(path: Path) -> TextIO:
    # Opened to append: what is written comes last, also after the file was cut.
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BusyError(f"another run is at this row: {path} is locked") from None
    return file


def _whole_lines(file: TextIO) -> list[str]:
    """All but a last one of which a kill has left half."""
    file.seek(0)
    return [line for line in file.readlines() if line.endswith("\n")]
