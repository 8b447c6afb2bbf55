"""Sieve scripts as values: tokens, commands, tests (RFC 5228 §8), without their meaning.

Every extension keeps to this grammar (§8.2), so any script of the user's can be read, whatever it
requires. A :class:`ScriptError` means that it cannot be read here; the server may still accept it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailroom.wire.problem import quoted

# RFC 5228 §2.10.5 asks for 15; no person has written a script that nests deeper than this.
_DEEPEST = 64

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*|/\*.*?\*/)
      | (?P<multiline>text:[ \t]*(?:\#[^\n]*)?\r?\n(?P<lines>(?:.*?\n)??)\.\r?(?=\n|\Z))
      | "(?P<string>(?:[^"\\]|\\.)*)"
      | :(?P<tag>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9]+[KMGkmg]?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>[\[\](){};,])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_QUANTIFIERS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class ScriptError(ValueError):
    """The text is no Sieve script; the message says what was found, and on which line."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged argument such as ``:personal``, without its colon and in lower case."""

    name: str


#: A string alone is a list of one (§2.4.2.1).
Argument = Tag | int | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """A test with its arguments, and the tests that it consists of."""

    name: str
    arguments: tuple[Argument, ...]
    tests: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """An action or a control; ``block`` is empty if it ends with a semicolon."""

    name: str
    arguments: tuple[Argument, ...]
    tests: tuple[Condition, ...] = ()
    block: tuple["Command", ...] = ()

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(each.name for each in self.arguments if isinstance(each, Tag))

    @property
    def strings(self) -> tuple[str, ...]:
        return tuple(s for each in self.arguments if isinstance(each, tuple) for s in each)


def read_script(text: str) -> tuple[Command, ...]:
    """The commands of a script, in their order. Raises ScriptError."""
    reader = _Reader(text)
    commands = reader.commands(0)
    reader.expect("end")
    return commands


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            shown = quoted(text[position : position + 20])
            raise ScriptError(f"line {line}: nothing in Sieve begins with {shown!r}")
        kind = "multiline" if found["multiline"] is not None else str(found.lastgroup)
        if kind == "multiline":
            yield _Token("string", _unstuffed(found["lines"]), line)
        elif kind == "string":
            yield _Token(kind, re.sub(r"\\(.)", r"\1", found[kind], flags=re.DOTALL), line)
        elif kind == "sign":
            yield _Token(found[kind], found[kind], line)
        elif kind != "space":
            yield _Token(kind, found[kind], line)
        line += text.count("\n", position, found.end())
        position = found.end()
    yield _Token("end", "", line)


def _unstuffed(lines: str) -> str:
    """The text of a multi-line string: lines that begin with a dot have an extra one."""
    return re.sub(r"^\.(?=\.)", "", lines, flags=re.MULTILINE)


class _Reader:
    """Reads the tokens once, by recursive descent; every step takes one or raises."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def commands(self, depth: int) -> tuple[Command, ...]:
        found = []
        while self._next.kind == "name":
            found.append(self._command(depth))
        return tuple(found)

    def expect(self, kind: str) -> str:
        """Take a token of this kind. Raises ScriptError if another follows."""
        token = self._next
        if token.kind != kind:
            met = "the script ends" if token.kind == "end" else f"{quoted(token.value)!r} stands"
            raise ScriptError(f"line {token.line}: {met} where {kind} has to be")
        if kind != "end":
            self._next = next(self._tokens)
        return token.value

    def _command(self, depth: int) -> Command:
        name = self.expect("name").lower()
        arguments, tests = self._arguments(depth)
        if not self._take("{"):
            self.expect(";")
            return Command(name, arguments, tests)
        block = self.commands(self._deeper(depth))
        self.expect("}")
        return Command(name, arguments, tests, block)

    def _arguments(self, depth: int) -> tuple[tuple[Argument, ...], tuple[Condition, ...]]:
        arguments: list[Argument] = []
        while (argument := self._argument()) is not None:
            arguments.append(argument)
        if self._next.kind == "name":
            return tuple(arguments), (self._test(self._deeper(depth)),)
        if not self._take("("):
            return tuple(arguments), ()
        tests = [self._test(self._deeper(depth))]
        while self._take(","):
            tests.append(self._test(self._deeper(depth)))
        self.expect(")")
        return tuple(arguments), tuple(tests)

    def _test(self, depth: int) -> Condition:
        name = self.expect("name").lower()
        return Condition(name, *self._arguments(depth))

    def _argument(self) -> Argument | None:
        match self._next.kind:
            case "tag":
                return Tag(self.expect("tag").lower())
            case "number":
                digits = self.expect("number")
                factor = _QUANTIFIERS.get(digits[-1].lower(), 1)
                return int(digits.rstrip("KMGkmg")[:20]) * factor
            case "string":
                return (self.expect("string"),)
            case "[":
                return self._strings()
        return None

    def _strings(self) -> tuple[str, ...]:
        self.expect("[")
        found = [self.expect("string")]
        while self._take(","):
            found.append(self.expect("string"))
        self.expect("]")
        return tuple(found)

    def _take(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self.expect(kind)
        return True

    def _deeper(self, depth: int) -> int:
        if depth == _DEEPEST:
            raise ScriptError(f"line {self._next.line}: it nests more than {_DEEPEST} deep")
        return depth + 1
