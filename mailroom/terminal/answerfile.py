"""Files that answer the questions of ``mailroom init``: the answers, and secrets."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from mailroom.engine.configfile import read
from mailroom.errors import ConfigurationError, UsageError
from mailroom.rules.configuration.document import Document, Problem
from mailroom.rules.configuration.document import Path as Where
from mailroom.rules.configuration.document import read as read_document

#: The key of a mapping: which mailbox to use instead of another.
MAILBOXES = "mailboxes"


def answers_in(path: Path, known: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The answers in a YAML file (JSON is YAML, too) as they were typed, and those about mailboxes.
    Raises UsageError with everything that is wrong with the file."""
    try:
        document = read_document(read(path))
    except ConfigurationError as error:
        raise UsageError(f"the answers in {error}") from error
    if problems := document.problems or list(_faults(document, known)):
        raise UsageError("; ".join(each.told(str(path)) for each in problems))
    typed = document.written.items()
    answers = {_name(where[0]): text for where, text in typed if len(where) == 1}
    mailboxes = {str(where[1]): text for where, text in typed if len(where) > 1}
    return answers, mailboxes


def secret_in(place: str, stdin: TextIO) -> str:
    """A secret of one line, from a file or from standard input (``-``). Raises UsageError."""
    try:
        text = stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the secret in {place} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the error would carry the secret.
        raise UsageError(f"the secret in {place} is not UTF-8: write it again") from None
    secret = text.rstrip("\r\n")
    if not secret:
        raise UsageError(f"the secret in {place} is empty")
    return secret


def _faults(document: Document, known: Collection[str]) -> Iterator[Problem]:
    data = document.data if document.data is not None else {}
    if not isinstance(data, Mapping):
        yield document.problem((), "is not a mapping: write KEY: VALUE lines")
        return
    for key, value in data.items():
        if _name(key) not in known:
            told = f"nothing asks for it; known: {', '.join(sorted(known))}"
            yield document.problem((key,), told)
        elif key != MAILBOXES:
            yield from _faults_of_value(document, (key,))
        elif not isinstance(value, Mapping):
            yield document.problem((key,), "is not a mapping: write NAME: OTHER lines below it")
        else:
            for name in value:
                yield from _faults_of_value(document, (key, name))


def _faults_of_value(document: Document, where: Where) -> Iterator[Problem]:
    if not document.written.get(where):
        yield document.problem(where, "has no value that is text: give one, or delete the key")


def _name(key: object) -> str:
    return str(key).replace("_", "-")
