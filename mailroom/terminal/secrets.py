"""How a command that talks to the servers gets the secrets, which only the service may read.

As root it is run as the system's unit is; for a user's service it reads the same files. If the
environment has the secrets, as in a container, they are used directly.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from functools import partial
from types import SimpleNamespace
from typing import TextIO

from mailroom.engine.configfile import read
from mailroom.engine.confined import is_unit, run_confined
from mailroom.engine.credentials import are_given
from mailroom.engine.handover import Opening, Taker
from mailroom.engine.newfile import NewFile
from mailroom.engine.unit import Installation
from mailroom.errors import ConfigurationError

CONFIG, ACCOUNT, EXPORT, EXPORTED = "config", "account", "export", "exported"


class Way(Enum):
    """How a command gets its secrets."""

    AS_IT_IS = auto()  # they are in the environment, or nowhere
    AS_THE_USERS_UNIT = auto()
    AS_THE_UNIT = auto()
    AS_ROOT = auto()  # only root can


def choose(
    asked: Installation, environ: Mapping[str, str], euid: int, is_unit: Callable[[str], bool]
) -> Way:
    """Which way to use here; ``is_unit`` says whether systemd knows the unit."""
    if are_given(environ):
        return Way.AS_IT_IS
    if not asked.is_system:
        return Way.AS_THE_USERS_UNIT
    if asked.unit is None or not is_unit(asked.unit):
        return Way.AS_IT_IS
    return Way.AS_THE_UNIT if euid == 0 else Way.AS_ROOT


def run_with_secrets(
    command: Callable[[SimpleNamespace], int], options: SimpleNamespace, asked: Installation
) -> int:
    """Run the command with the secrets of the installation; returns its exit code."""
    if options.handed:
        return command(options)  # it has them already
    match choose(asked, os.environ, os.geteuid(), is_unit):
        case Way.AS_THE_UNIT:
            asked.existing_config()
            with _export_of(options) as export:
                given = (_arguments(options, asked), files_for(options, asked) | export)
                return run_confined(asked.unit or "", *given, os.environ)
        case Way.AS_ROOT if options.name != "config":  # the file's content is not secret
            raise ConfigurationError(
                [f"the secrets of {asked.unit}.service are root's: run it with sudo"]
            )
        case Way.AS_THE_USERS_UNIT:
            os.environ["CREDENTIALS_DIRECTORY"] = str(asked.secrets)
    return command(options)


def _arguments(options: SimpleNamespace, asked: Installation) -> list[str]:
    """The arguments as typed; what a variable says becomes an option."""
    arguments = list(options.arguments)
    if asked.is_config_elsewhere and options.config is None:
        arguments += ["--config", str(asked.config)]
    return arguments


def files_for(options: SimpleNamespace, asked: Installation) -> dict[str, Opening]:
    """The files that only the caller can open."""
    files: dict[str, Opening] = {}
    if asked.is_config_elsewhere:
        files[CONFIG] = partial(holding, read(asked.config))
        if asked.member is not None:
            files[ACCOUNT] = partial(holding, read(asked.file))
    return files


@contextlib.contextmanager
def _export_of(options: SimpleNamespace) -> Iterator[dict[str, Opening]]:
    """The file of an export. It is removed at the end, unless the command has asked to read what it
    has written."""
    path = vars(options).get("export")
    if path is None:
        yield {}
        return
    with contextlib.closing(NewFile(path)) as new:
        yield {EXPORT: new.open, EXPORTED: new.keep}


@contextlib.contextmanager
def handed_file(handed: Taker) -> Iterator[TextIO]:
    """The same file, to be written by the confined command. Raises OSError."""
    with handed.writer(EXPORT) as file:
        yield file
    handed.read(EXPORTED)


def holding(text: str) -> int:
    """A file in memory with this text."""
    fd = os.memfd_create("mailroom")
    with open(fd, "w", encoding="utf-8", closefd=False) as file:
        file.write(text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
