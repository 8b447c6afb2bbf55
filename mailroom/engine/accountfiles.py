"""The files of ``accounts.d``: a child reads them one by one while the parent goes on.

Ten thousand of them take ten seconds of a core, so each account is handed over as soon as it is
read. A faulty file affects its own account only.
"""

import json
import os
import selectors
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from mailroom.engine.accountfolder import account_file, accounts_folder, listed_accounts
from mailroom.engine.configfile import read, reader
from mailroom.engine.loop import Loop, Promise, give_way
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config, from_data, to_data
from mailroom.rules.configuration.fleet import is_name, sharing
from mailroom.rules.configuration.shard import Shard

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class AccountFile:
    """One account as its file describes it; if ``config`` is None, the ``problems`` say why."""

    name: str
    config: Config | None
    problems: tuple[str, ...] = ()


def account_names(config: Path, shard: Shard | None = None) -> list[str]:
    """The names of the accounts whose defaults are in this file; none if the file is one account's.

    Raises ConfigurationError if the folder cannot be listed (an empty list would close all
    accounts), and if a shard is asked for where there is no folder."""
    try:
        names = listed_accounts(config)
    except OSError as error:
        fault = f"cannot list the accounts beside {config}: {error.strerror}; check who may read it"
        raise ConfigurationError([fault]) from error
    folder = accounts_folder(config)
    if shard and not names and not (folder and folder.is_dir()):
        fault = f"has no accounts to take: there is no folder accounts.d beside {config}"
        raise ConfigurationError([f"shard {shard} {fault}; make it, with a file for each account"])
    return names


class AccountFiles:
    """Reads the files of these accounts, all or one shard's, once."""

    def __init__(
        self, config: Path, names: Sequence[str], defaults: Config, shard: Shard | None = None
    ) -> None:
        self._path = config
        self._names = names
        self._defaults = defaults
        self._shard = shard

    async def each(self, loop: Loop, take: Callable[[AccountFile], None]) -> None:
        """Hand over each account as it is read; an account without a file is skipped. Raises
        ConfigurationError if reading breaks off."""
        with closing(reader(self._tell, self._path)) as child:
            os.set_blocking(child.pipe, False)
            rest = b""
            while chunk := await _readable(loop, child.pipe):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    take(self._account(json.loads(line)))
                    await give_way(loop)
            child.ended()
        if rest != b"end":
            fault = f"reading the accounts beside {self._path} was interrupted; try again"
            raise ConfigurationError([fault])

    def _account(self, told: Mapping[str, Any]) -> AccountFile:
        name, problems = told["name"], tuple(told["problems"])
        if problems:
            return AccountFile(name, None, problems)
        config = sharing(from_data(told["data"]), self._defaults)
        return AccountFile(name, replace(config, option=f"--account {name}"))

    def _tell(self, pipe: BinaryIO) -> None:
        """The child's work: a line of JSON for each file, then ``end``."""
        from mailroom.rules.configuration.text import parse_data  # noqa: PLC0415 - brings yaml, jsonschema

        # As written in the file: a key that is derived from another is derived from the account's.
        defaults = parse_data(read(self._path), str(self._path))
        for name in self._names:
            if self._shard and not self._shard.has(name):
                continue
            path = account_file(self._path, name)
            if not os.path.lexists(path):
                continue
            pipe.write(json.dumps(_parse(name, path, defaults)).encode() + b"\n")
            pipe.flush()
        pipe.write(b"end")


def _parse(name: str, path: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    from mailroom.rules.configuration.text import parse_account  # noqa: PLC0415 - brings yaml, jsonschema

    try:
        if not is_name(name):
            fault = "cannot be an account's name: at most 64 letters, digits and @ . _ + -"
            raise ConfigurationError([f"{path}: {name!r} {fault}"])
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise ConfigurationError([f"{path}: is not a regular file; remove it"])
        config = parse_account(read(path), str(path), name, defaults)
    except ConfigurationError as error:
        return {"name": name, "problems": error.problems}
    return {"name": name, "problems": [], "data": to_data(config)}


async def _readable(loop: Loop, pipe: int) -> bytes:
    """What comes next; empty at the end."""
    while True:
        try:
            return os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            ready: Promise[None] = Promise()
            loop.watch(pipe, selectors.EVENT_READ, _resolver(ready))
            try:
                await ready
            finally:
                loop.unwatch(pipe)


def _resolver(ready: Promise[None]) -> Any:
    return lambda _events: ready.resolve(None)
