"""The blocks of the documents: what README, docs and man pages show to be typed, or written down.

``documented.yaml`` says of each who has tried it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

PROJECT = Path(__file__).parents[1]
_PAGES = ("README.md", "docs/*.md", "packaging/man/*")
_FENCED = re.compile(r"^ *```([a-z]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_DISPLAYED = re.compile(r"^\.Bd [^\n]*\n(.*?)^\.Ed$|^\.Dl ([^\n]*)$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[|;]|&&) *(?:\$ |# )?(?:sudo )?mailroom ([^|;&>#]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page; who names it says how it ``begins``: its first line, without blanks."""

    page: str
    language: str
    text: str

    @property
    def begins(self) -> str:
        return " ".join(self.text.split("\n", 1)[0].split())

    def __str__(self) -> str:
        return f"{self.page}: {self.begins}"

    def commands(self) -> Iterator[list[str]]:
        """What is typed to mailroom, word by word."""
        joined = re.sub(r"(?:\\e|\\)\n *", " ", self.text)
        for line in joined.splitlines():
            for words in _COMMAND.findall(line.strip()):
                yield shlex.split(words)


@dataclass(frozen=True, slots=True)
class Entry:
    """Who has tried a block, or all that begin so in the page: the tests ``by`` name; ``here``,
    the way to try it; or nobody, and ``why``."""

    page: str
    begins: str
    by: tuple[str, ...] = ()
    here: Literal["account", "answers", "configuration", "faults", "make", ""] = ""
    why: str = ""
    all: bool = field(default=False)

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Entry":
        by = data.pop("by", [])
        return cls(by=tuple([by] if isinstance(by, str) else by), **data)

    def is_about(self, block: Block) -> bool:
        is_it = block.begins.startswith if self.all else block.begins.__eq__
        return block.page == self.page and is_it(self.begins)


def blocks() -> list[Block]:
    """All of them, in the order of the pages."""
    found = []
    for path in (path for pattern in _PAGES for path in sorted(PROJECT.glob(pattern))):
        page, text = str(path.relative_to(PROJECT)), path.read_text()
        if path.suffix == ".md":
            found += [Block(page, each[1], each[2]) for each in _FENCED.finditer(text)]
        else:
            displayed = _DISPLAYED.finditer(text)
            found += [Block(page, "", each[1] or each[2]) for each in displayed]
    return found


def entries() -> list[Entry]:
    """The table."""
    told = yaml.safe_load((Path(__file__).parent / "documented.yaml").read_text())
    return [Entry.of({"page": page, **each}) for page, all_ in told.items() for each in all_]
