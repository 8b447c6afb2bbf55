"""Which configuration file is meant, and reading it without keeping what reading costs.

PyYAML and jsonschema cost more memory than the running service, so the text is parsed in a forked
child that ends; what comes back through a pipe is plain data, as JSON.
"""

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from mailroom.errors import ConfigurationError
from mailroom.rules.config import Config, from_data, to_data

SYSTEM_FILE = Path("/etc/mailroom/mailroom.yaml")

_SIZE_LIMIT_BYTES = 256 * 1024  # a hundred categories are 20 KiB


def find_config(
    argument: str | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE
) -> Path:
    """Return the configuration file: ``--config``, ``$MAILROOM_CONFIG``, the user's, the system's.

    A file that is named is meant, whether it exists or not: falling back to another account's
    would be worse than failing. Of the other two the first that exists is taken; raises
    ``ConfigurationError`` when neither does.
    """
    named = argument or environ.get("MAILROOM_CONFIG")
    if named:
        return Path(named)
    places = [*_user_files(environ), system_file]
    for place in places:
        if place.exists():
            return place
    looked = " or ".join(map(str, places))
    raise ConfigurationError(
        [f"no configuration file at {looked}; make one (it may be empty) or name one by --config"]
    )


def load(path: Path) -> Config:
    """Read, check and return a configuration; blocks for some 0.2 s.

    Raises ``ConfigurationError`` with every problem of the file.
    """
    text = _read(path)
    answer = _ask_child(text, str(path))
    if answer is None:  # the child was killed, or has found a bug, which will show here as well
        answer = _parse(text, str(path))
    if answer["problems"]:
        raise ConfigurationError(answer["problems"])
    return from_data(answer["data"])


def _user_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the user's file as the XDG base directories have it: none without a home."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):  # relative ones are to be ignored, says the specification
        home = environ.get("HOME", "")
        base = f"{home}/.config" if home.startswith("/") else ""
    return [Path(base, "mailroom", "mailroom.yaml")] if base else []


def _read(path: Path) -> str:
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


def _ask_child(text: str, filename: str) -> dict[str, Any] | None:
    """Return what a child process says of the text; None if it ended without an answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer_and_end(text, filename, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    with contextlib.suppress(ChildProcessError):  # whoever started us may have SIGCHLD ignored
        os.waitpid(child, 0)
    try:
        parsed: dict[str, Any] = json.loads(answer)
    except ValueError:
        return None
    return parsed


def _answer_and_end(text: str, filename: str, writer: int) -> NoReturn:
    """The child: whatever happens, it never returns into the service's code."""
    try:
        signal.set_wakeup_fd(-1)  # the parent's self-pipe
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(_parse(text, filename)).encode())
    finally:
        os._exit(0)
