"""Which configuration file is meant, and reading it without keeping what reading costs.

PyYAML and jsonschema cost more memory than the running service, so the text is parsed in a forked
child that ends; what comes back through a pipe is plain data, as JSON.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from mailroom.engine.loop import Loop, Promise
from mailroom.engine.unit import Installation, find, option
from mailroom.errors import ConfigurationError
from mailroom.rules.config import Config, from_data, to_data

_STDERR = 2
_SIZE_LIMIT_BYTES = 256 * 1024  # a hundred categories are 20 KiB


def load(path: Path) -> Config:
    """Read, check and return a configuration; blocks for some 0.2 s.

    Raises ``ConfigurationError`` with every problem of the file.
    """
    with contextlib.closing(_Child(read(path), str(path))) as child:
        return child.config()


def load_of(installation: Installation) -> Config:
    """As :func:`load`, for the installation that a command is about."""
    path = installation.existing_config()
    text = read(path) if installation.content is None else installation.content
    with contextlib.closing(_Child(text, str(path))) as child:
        return child.config()


class Reading:
    """A configuration on its way: a child reads it while its parent does something else."""

    def __init__(self, argument: str | None, environ: Mapping[str, str]) -> None:
        self._child: _Child | None = None
        try:
            path = find(environ, config=argument).existing_config()
            self._child = _Child(read(path), str(path))
        except ConfigurationError as error:
            self._error = error

    async def result(self, loop: Loop) -> Config:
        """The configuration, once; the loop turns until it is there. Raises what
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
    """What the file says. Raises ConfigurationError where it is no text, or not there."""
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


def _parse(text: str, filename: str) -> dict[str, Any]:
    from mailroom.rules.configtext import parse  # noqa: PLC0415 (see the module's docstring)

    try:
        return {"problems": [], "data": to_data(parse(text, filename))}
    except ConfigurationError as error:
        return {"problems": error.problems}


class _Child:
    """A process that parses the text and answers, all at once, into ``pipe``."""

    def __init__(self, text: str, filename: str) -> None:
        self._text, self._filename = text, filename
        self._has_ended = False
        self.pipe, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self.pipe)
            _answer_and_end(text, filename, writer)
        os.close(writer)

    def config(self) -> Config:
        """Wait for the answer. Raises ``ConfigurationError``."""
        answer = self._answer()
        if answer is None:  # it was killed, or has found a bug, which will show here as well
            answer = _parse(self._text, self._filename)
        if answer["problems"]:
            raise ConfigurationError(answer["problems"])
        return replace(from_data(answer["data"]), option=option(os.environ, Path(self._filename)))

    def close(self) -> None:
        """Nobody wants the answer any more."""
        os.close(self.pipe)
        if not self._has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._await_end()

    def _await_end(self) -> None:
        self._has_ended = True
        with contextlib.suppress(ChildProcessError):  # our parent may have SIGCHLD ignored
            os.waitpid(self._pid, 0)

    def _answer(self) -> dict[str, Any] | None:
        with os.fdopen(self.pipe, "rb", closefd=False) as pipe:
            answer = pipe.read()
        self._await_end()
        try:
            parsed: dict[str, Any] = json.loads(answer)
        except ValueError:
            return None
        return parsed


def _answer_and_end(text: str, filename: str, writer: int) -> NoReturn:
    """The child: whatever happens, it never returns into the service's code."""
    try:
        gc.disable()  # it ends before that is worth its time
        # A connection that the service ends meanwhile is to end for its peer, and for epoll(7).
        os.closerange(_STDERR + 1, writer)
        os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
        signal.set_wakeup_fd(-1)  # the parent's self-pipe
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(_parse(text, filename)).encode())
    finally:
        os._exit(0)
