"""Numbers with their nouns; and one name for one thing: what docs/words.md has retired does not
come back."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mailroom.rules.words import who_waits

PROJECT = Path(__file__).resolve().parents[1]
WORDS = PROJECT / "docs/words.md"

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NAME = re.compile(r"[^\W\d]\w*")
# Texts and comments.
_NO_NAMES = re.compile(r'""".*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', re.DOTALL)
_CLASS = re.compile(r"^class ([A-Za-z]\w*)(?!\w|\(Protocol)", re.MULTILINE)
# Set as code: in Markdown, and what a page of the manual takes literally.
_CODE = re.compile(
    r"^```.*?^```|`[^`\n]*`|^\.(?:Ql|Pa|Dl|Ic|Cm|Fl|Va|Li) .*$", re.DOTALL | re.MULTILINE
)


@cache
def retired(heading: str) -> tuple[str, ...]:
    """What the last column of the table under that heading refuses."""
    section = WORDS.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[-2] for line in section.splitlines() if line.startswith("| ")]
    return tuple(word for row in rows[1:] for word in re.findall("`([^`]+)`", row))


def parts(name: str) -> str:
    """A name by its words: " mail client " of MailClient, mail_client and _MAIL_CLIENT."""
    return f" {' '.join(_PART.findall(name)).lower()} "


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((PROJECT / folder).rglob("*.py"))


@cache
def is_retired(name: str) -> bool:
    """The names of tests are sentences."""
    words = parts(name)
    wanted = retired("Names in the code")
    return not name.startswith("test_") and any(parts(word) in words for word in wanted)


def misnamed(source: str) -> set[str]:
    """The retired names in a module."""
    code = _NO_NAMES.sub("", source)
    return {name for name in set(_NAME.findall(code)) if is_retired(name)}


def misworded(text: str) -> list[str]:
    """The retired words in what people read."""
    words = "|".join(map(re.escape, retired("Words for people")))
    return re.findall(rf"(?<![\w/-])(?:{words})(?![\w/-])", _CODE.sub("", text), re.IGNORECASE)


def messages(source: str) -> str:
    """What a module says: its texts, those of comments left out."""
    found = (match[0] for match in _NO_NAMES.finditer(source))
    return "\n".join(each for each in found if " " in each and each[0] != "#")


def descriptions(document: object) -> Iterator[str]:
    """What a schema tells its reader."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("title", "description") and isinstance(value, str):
                yield value
            yield from descriptions(value)


def pages() -> Iterator[tuple[str, str]]:
    """All that people read, by where it stands."""
    for pattern in ("README.md", "docs/*.md", "packaging/man/*", "packaging/mailroom.catalog"):
        for path in PROJECT.glob(pattern):
            if path != WORDS:
                yield path.name, path.read_text()
    for path in PROJECT.glob("mailroom/schema/*.json"):
        yield path.name, "\n".join(descriptions(json.loads(path.read_text())))
    for path in sources("mailroom"):
        yield path.name, messages(path.read_text())


@pytest.mark.parametrize(
    ("senders", "mails", "text"),
    [
        (0, 0, "0 senders, 0 mails"),
        (1, 1, "1 sender, 1 mail"),
        (2, 3, "2 senders, 3 mails"),
        (0, 1, "1 mail without a usable sender"),
    ],
)
def test_who_waits_is_told_with_the_numbers(senders: int, mails: int, text: str) -> None:
    assert who_waits(senders, mails) == text


def test_no_retired_name_is_used() -> None:
    found = {path: misnamed(path.read_text()) for path in sources("mailroom", "tests")}
    assert {str(path): names for path, names in found.items() if names} == {}
    retired_parts = [parts(word) for word in retired("Names in the code")]
    stems = {parts(path.stem): str(path) for path in sources("mailroom", "tests")}
    assert [stems[stem] for stem in stems if stem in retired_parts] == []


def test_no_retired_word_is_read() -> None:
    found = [(where, misworded(text)) for where, text in pages()]
    assert [(where, words) for where, words in found if words] == []


def test_two_classes_have_two_names() -> None:
    """A protocol may be called as the class that keeps it; what is private is its module's."""
    where = defaultdict(list)
    for path in sources("mailroom"):
        for name in _CLASS.findall(path.read_text()):
            where[name].append(str(path.relative_to(PROJECT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_both_tables_are_read_and_what_they_refuse_is_noticed() -> None:
    assert {"Desk", "sit_down", "settled", "heed"} <= set(retired("Names in the code"))
    assert {"e-mail", "walls", "daemon"} <= set(retired("Words for people"))
    assert misnamed("def _heed_signals(settledMail: Desk) -> None: ...") == {
        "_heed_signals", "settledMail", "Desk"
    }  # fmt: skip
    assert misnamed("def test_it_is_settled() -> None: 'beside'  # talks") == set()
    assert "e-mail" in misworded(messages("say('an e-mail of')"))
    assert misworded("An e-mail of the Daemon, `walls` and\n```\ndaemon\n```\n") == [
        "e-mail",
        "Daemon",
    ]
