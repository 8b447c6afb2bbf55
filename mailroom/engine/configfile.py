"""Which configuration file is meant, and how it is read without keeping the memory that this takes.

PyYAML and jsonschema need more memory than the running service, so a forked child parses the text,
sends plain data (JSON) through a pipe, and ends.
"""

import contextlib
import json
import os
import selectors
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mailroom.engine.forked import Forked
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.unit import Installation, find, option
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config, from_data, to_data

_SIZE_LIMIT_BYTES = 256 * 1024  # a hundred categories are 20 KiB


def load(path: Path) -> Config:
    """Read, check and return a configuration; blocks for some 0.2 s.

    Raises ``ConfigurationError`` with every problem of the file.
    """
    with contextlib.closing(_Child(path, partial(_parse, read(path), str(path)))) as child:
        return child.config()


def load_of(installation: Installation) -> Config:
    """Like :func:`load`, for the installation that a command is about."""
    path, name = installation.existing_config(), installation.member
    text = read(path) if installation.content is None else installation.content
    if name is None:
        with contextlib.closing(_Child(path, partial(_parse, text, str(path)))) as child:
            return child.config()
    file, own = installation.file, installation.member_content
    own = read(file) if own is None else own

    def parse() -> Config:
        from mailroom.rules.configuration.text import parse_account, parse_data  # noqa: PLC0415

        return parse_account(own, str(file), name, parse_data(text, str(path)))

    with contextlib.closing(_Child(path, parse)) as child:
        config = child.config()
    return replace(config, option=f"{config.option} --account {name}".lstrip())


class PendingConfig:
    """A configuration that a child is still reading while its parent does something else."""

    def __init__(self, argument: str | None, environ: Mapping[str, str]) -> None:
        self._child: _Child | None = None
        try:
            #: The file.
            self.path = find(environ, config=argument).existing_config()
            self._child = _Child(self.path, partial(_parse, read(self.path), str(self.path)))
        except ConfigurationError as error:
            self._error = error

    async def result(self, loop: Loop) -> Config:
        """The configuration; the loop turns until it is there. To be called once. Raises as
        :func:`find` and :func:`load` do."""
        if self._child is None:
            raise self._error
        with contextlib.closing(self._child) as child:
            answered: Promise[None] = Promise()
            loop.watch(child.pipe, selectors.EVENT_READ, lambda _events: answered.resolve(None))
            try:
                await answered
            finally:
                loop.unwatch(child.pipe)
            return child.config()


def read(path: Path) -> str:
    """The file's text. Raises ConfigurationError if it is missing, unreadable, or not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        fault = f"cannot be read: {error.strerror}; check that it is there and who may read it"
        raise ConfigurationError([f"{path}: {fault}"]) from error
    if len(content) > _SIZE_LIMIT_BYTES:
        raise ConfigurationError([f"{path}: is larger than 256 KiB; is it the right file?"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([f"{path}:{line}: is not UTF-8; save it as UTF-8"]) from error


def reader(work: Callable[[BinaryIO], None], path: Path) -> Forked:
    """A child that reads what belongs to the file. Raises ConfigurationError if no child can be
    made at the moment, for lack of processes, memory or descriptors."""
    try:
        return Forked(work)
    except OSError as error:
        fault = f"cannot be read at the moment: {error.strerror}; try again"
        raise ConfigurationError([f"{path}: {fault}"]) from error


def _answer(parse: Callable[[], Config]) -> dict[str, Any]:
    try:
        return {"problems": [], "data": to_data(parse())}
    except ConfigurationError as error:
        return {"problems": error.problems}


def _parse(text: str, filename: str) -> Config:
    from mailroom.rules.configuration.text import parse  # noqa: PLC0415 (see the module's docstring)

    return parse(text, filename)


class _Child:
    """A process that parses what belongs to a file and answers once."""

    def __init__(self, path: Path, parse: Callable[[], Config]) -> None:
        self._path, self._parse = path, parse
        self._forked = reader(self._tell, path)
        self.pipe = self._forked.pipe
        self.close = self._forked.close

    def config(self) -> Config:
        """Wait for the answer. Raises ``ConfigurationError``."""
        try:
            answer = json.loads(self._forked.rest())
        except ValueError:  # it was killed, or hit a bug, which will show here as well
            answer = _answer(self._parse)
        if answer["problems"]:
            raise ConfigurationError(answer["problems"])
        return replace(from_data(answer["data"]), option=option(os.environ, self._path))

    def _tell(self, pipe: BinaryIO) -> None:
        pipe.write(json.dumps(_answer(self._parse)).encode())
