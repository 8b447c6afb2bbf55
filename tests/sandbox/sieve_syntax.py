"""The grammar of Sieve (RFC 5228 §8): a script as commands, tests and arguments.

It is the sandbox's own, so that nothing that the service gets wrong is wrong here as well.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeVar

_TOKEN: Final = re.compile(
    r"""(?P<nothing> \s+ | \#[^\n]* | /\*.*?\*/)
      | text:[ \t]*(?:\#[^\n]*)?\r?\n (?P<block> (?:.*?\n)??) \.\r?(?=\n|\Z)
      | "(?P<quoted> (?:\\.|[^"\\])*)"
      | (?P<tag> :[A-Za-z_]\w*)
      | (?P<number> \d+[KMG]?)
      | (?P<word> [A-Za-z_]\w*)
      | (?P<sign> [\[\](){},;])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_UNITS: Final = {"K": 1024, "M": 1024**2, "G": 1024**3}

#: Tags that a string belongs to.
_VALUED: Final = (":comparator", ":mailboxid", ":specialuse", ":flags")

T = TypeVar("T")

#: A tag with its colon and in lower case is a string; a string is a list of one.
Argument = str | int | list[str]


class SieveError(Exception):
    """A script is none; said as Cyrus says it."""


@dataclass(slots=True)
class Node:
    """A command or a test: its name in lower case, arguments, tests and block in their order."""

    name: str
    line: int
    arguments: list[Argument] = field(default_factory=list)
    tests: list["Node"] = field(default_factory=list)
    block: list["Node"] | None = None

    def has(self, tag: str) -> bool:
        """Say whether a tag is among the arguments."""
        return tag in self.arguments

    def strings(self) -> list[list[str]]:
        """Return the lists of strings that are no tag's value."""
        found, before = [], ""
        for each in self.arguments:
            if isinstance(each, list) and before not in _VALUED:
                found.append(each)
            before = each if isinstance(each, str) else ""
        return found

    def value_of(self, tag: str) -> list[str] | None:
        """Return the strings after a tag, None without the tag."""
        if tag not in self.arguments:
            return None
        value = self.arguments[self.arguments.index(tag) + 1]
        return value if isinstance(value, list) else []


@lru_cache(maxsize=16)  # the same few scripts run over every mail
def read_script(text: str) -> list[Node]:
    """Return the commands of a script.

    Raises:
        SieveError: it is none.
    """
    reader = _Reader(text)
    commands = reader.commands()
    reader.take("end")
    return commands


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield kind, value and line of each token."""
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise SieveError(f"line {line}: syntax error")
        kind = str(found.lastgroup)
        if kind == "sign":
            yield found["sign"], found["sign"], line
        elif kind == "block":
            yield "string", re.sub(r"^\.\.", ".", found["block"], flags=re.MULTILINE), line
        elif kind == "quoted":
            yield "string", re.sub(r"\\(.)", r"\1", found["quoted"], flags=re.DOTALL), line
        elif kind != "nothing":
            yield kind, found[kind], line
        line += text.count("\n", position, found.end())
        position = found.end()
    yield "end", "", line


class _Reader:
    def __init__(self, text: str) -> None:
        self._rest = _tokens(text)
        self._kind, self._value, self._line = next(self._rest)

    def commands(self) -> list[Node]:
        found = []
        while self._kind == "word":
            found.append(self._command())
        return found

    def take(self, *kinds: str) -> str:
        if self._kind not in kinds:
            raise SieveError(f"line {self._line}: syntax error")
        value = self._value
        if self._kind != "end":
            self._kind, self._value, self._line = next(self._rest)
        return value

    def _command(self) -> Node:
        node = self._node()
        if self.take(";", "{") == "{":
            node.block = self.commands()
            self.take("}")
        return node

    def _node(self) -> Node:
        node = Node(self._value.lower(), self._line)
        self.take("word")
        while self._kind in ("tag", "number", "string", "["):
            node.arguments.append(self._argument())
        if self._kind == "word":
            node.tests = [self._node()]
        elif self._kind == "(":
            node.tests = self._listed("(", self._node, ")")
        return node

    def _argument(self) -> Argument:
        match self._kind:
            case "tag":
                return self.take("tag").lower()
            case "number":
                digits = self.take("number").upper()
                return int(digits.rstrip("KMG")) * _UNITS.get(digits[-1], 1)
            case "string":
                return [self.take("string")]
        return self._listed("[", lambda: self.take("string"), "]")

    def _listed(self, opening: str, one: Callable[[], T], closing: str) -> list[T]:
        self.take(opening)
        found = [one()]
        while self.take(",", closing) == ",":
            found.append(one())
        return found
