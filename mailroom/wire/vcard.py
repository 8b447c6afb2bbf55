"""vCards as lines: read, edited and written without losing a byte (RFC 6350, RFC 2426).

The rule: an edit changes only the lines that it names. Everything else stays as it was found, byte
for byte and in its order, with folding and line endings, whether Mailroom understands it or not.

There are two ways of reading. `Card.parse` is strict: what it cannot take apart with certainty is
an `UnsafeCard` and never edited. `CardView.glance` never fails: it sees whatever can be seen in a
partial, old or broken card, so that the address book's index knows whose card it is. A view has no
bytes, so it cannot become the body of a PUT.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from mailroom.errors import MailroomError

PRODID = "-//Mailroom//EN"
VERSIONS = ("3.0", "4.0")

_FOLD_OCTETS = 75  # RFC 6350 §3.2, without the line ending
_WITHIN_CHARACTER = range(0x80, 0xC0)  # UTF-8's continuation octets

# None of these can backtrack: their alternatives differ in the first character.
_HEAD = re.compile(r'[^":]*(?:"[^"]*"[^":]*)*')
_PARAMETER = re.compile(r';([^;="]*)(?:=((?:"[^"]*"|[^;"])*))?')
_ESCAPE = re.compile(r"\\([\\,;:nN])")
_ESCAPE_OR_SEMICOLON = re.compile(r"\\.|;")


class UnsafeCard(MailroomError):
    """The card cannot be edited without a risk to its content; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line.

    ``raw`` is its bytes in the card, with folding and line ending; ``head`` is the unfolded text
    before the colon (group, name, parameters), ``value`` the one after it, still escaped; ``name``
    is in upper case. A blank line, which some producers leave, has an empty name.
    """

    raw: bytes
    head: str
    name: str
    value: str

    @property
    def group(self) -> str:
        """The prefix that ties lines together, as in ``item1.X-ABLabel``, or nothing."""
        return self.head.partition(";")[0].rpartition(".")[0]

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Names, in upper case, and values without their quotation marks."""
        return tuple(
            (name.upper(), value.replace('"', "")) for name, value in _PARAMETER.findall(self.head)
        )

    @property
    def text(self) -> str:
        """The value of a text property."""
        return unescape_text(self.value)

    @property
    def components(self) -> tuple[str, ...]:
        """The texts of a structured value (N, ORG)."""
        cuts = (m.start() for m in _ESCAPE_OR_SEMICOLON.finditer(self.value) if m.group() == ";")
        edges = (-1, *cuts, len(self.value))
        return tuple(unescape_text(self.value[a + 1 : b]) for a, b in pairwise(edges))


@dataclass(frozen=True, slots=True)
class CardView:
    """What can be read of a card: enough for an index, never enough for a PUT."""

    lines: tuple[Line, ...]

    @staticmethod
    def glance(raw: bytes) -> "CardView":
        """Return the lines that can be read; others are skipped."""
        return CardView(tuple(_readable_lines(raw)))

    def all(self, name: str) -> list[Line]:
        """Return the lines of this name (upper case)."""
        return [line for line in self.lines if line.name == name]

    def first(self, name: str) -> Line | None:
        """Return the first line of this name (upper case)."""
        return next((line for line in self.lines if line.name == name), None)

    @property
    def version(self) -> str:
        """``3.0`` or ``4.0``; in a view anything, or nothing."""
        line = self.first("VERSION")
        return line.value.strip() if line else ""

    @property
    def kind(self) -> str:
        """What the card stands for, in lower case (RFC 6350 §6.1.4; vCard 3 has Apple's way)."""
        line = self.first("KIND") or self.first("X-ADDRESSBOOKSERVER-KIND")
        return line.value.strip().lower() if line else "individual"


@dataclass(frozen=True, slots=True)
class Card(CardView):
    """A whole vCard 3.0 or 4.0. Every edit returns a new card."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a card as the server sent it; `UnsafeCard` if it cannot be edited safely."""
        if b"\0" in raw:
            raise UnsafeCard("it contains a NUL byte")
        if raw.count(b"\r") != raw.count(b"\r\n"):
            raise UnsafeCard("it contains a carriage return that ends no line")
        try:
            lines = tuple(
                _read_line(logical, f"line {number}")
                for number, logical in enumerate(_logical_lines(raw), 1)
            )
        except UnsafeCard:
            _check_version(CardView.glance(raw).version or VERSIONS[0])  # tells more, if it is old
            raise
        _check_frame([line for line in lines if line.name])
        return cls(lines)

    @classmethod
    def compose(cls, version: str, properties: Iterable[tuple[str, str]]) -> Self:
        """Make a card of heads and escaped values; the frame around them is added."""
        opening = [("BEGIN", "VCARD"), ("VERSION", version), ("PRODID", PRODID)]
        framed = [*opening, *properties, ("END", "VCARD")]
        return cls(tuple(_make_line(head, value, b"\r\n") for head, value in framed))

    def __bytes__(self) -> bytes:
        return b"".join(line.raw for line in self.lines)

    def with_value(self, index: int, value: str) -> Self:
        """Give the line at this index another (escaped) value; its head stays as it is."""
        line = _make_line(self.lines[index].head, value, self._ending)
        return type(self)((*self.lines[:index], line, *self.lines[index + 1 :]))

    def with_lines(self, properties: Iterable[tuple[str, str]], before: int | None = None) -> Self:
        """Insert heads and escaped values before the line at an index, or at the card's end."""
        at = self._end if before is None else before
        new = (_make_line(head, value, self._ending) for head, value in properties)
        return type(self)((*self.lines[:at], *new, *self.lines[at:]))

    def without(self, indices: Collection[int]) -> Self:
        """Leave out the lines at these indices."""
        return type(self)(
            tuple(line for index, line in enumerate(self.lines) if index not in indices)
        )

    @property
    def _ending(self) -> bytes:
        return b"\r\n" if self.lines[0].raw.endswith(b"\r\n") else b"\n"

    @property
    def _end(self) -> int:
        return max(index for index, line in enumerate(self.lines) if line.name == "END")


def escape_text(text: str) -> str:
    """Write text as a text value (RFC 6350 §3.4); any line ending in it becomes ``\\n``."""
    text = text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")
    return text.replace("\r\n", "\\n").replace("\r", "\\n").replace("\n", "\\n")


def unescape_text(value: str) -> str:
    """Read a text value. A backslash before an unknown character stays: its writer meant it."""
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def _logical_lines(raw: bytes) -> Iterator[list[bytes]]:
    """Yield the physical lines of each logical one (RFC 6350 §3.2)."""
    pieces: list[bytes] = []
    for physical in raw.splitlines(keepends=True):
        if pieces and physical[0] not in b" \t":
            yield pieces
            pieces = []
        pieces.append(physical)
    if pieces:
        yield pieces


def _unfold(pieces: list[bytes]) -> bytes:
    """Join physical lines, as bytes: a fold may be within a character."""
    first, *rest = pieces
    line = first.rstrip(b"\r\n")
    return b"".join((line, *(piece[1:].rstrip(b"\r\n") for piece in rest))) if rest else line


def _read_line(pieces: list[bytes], where: str) -> Line:
    try:
        text = _unfold(pieces).decode()
    except UnicodeDecodeError:
        raise UnsafeCard(f"{where} is not UTF-8") from None
    raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not text and len(pieces) == 1:
        return Line(raw, "", "", "")
    colon = text.find(":")
    if '"' in text[: max(colon, 0)]:
        colon = _end_of_head(text)
    head = text[: max(colon, 0)]
    name = _name_of(head)
    if not name:
        raise UnsafeCard(f"{where} is not a property")
    if ";" in head and "QUOTED-PRINTABLE" in head.upper():
        # its soft line breaks are not folding, so nobody knows where the value ends
        raise UnsafeCard(f"{where} is quoted-printable, which vCard 3.0 and 4.0 do not have")
    return Line(raw, head, name, text[colon + 1 :])


def _name_of(head: str) -> str:
    """The property's name, without its group. By the RFC, names have no spaces, slashes or umlauts,
    but address books write them and servers keep them. Such a line is none that we know, but it is
    still certain where it splits."""
    prefix = head.partition(";")[0]
    group, _, name = prefix.rpartition(".")
    name = name if group else prefix
    # Only ASCII: a dotless i would become an I, and make a foreign line a property of ours.
    return name.upper() if name.isascii() else name


def _end_of_head(text: str) -> int:
    """Return the index of the first colon outside quotation marks, or -1."""
    found = _HEAD.match(text)
    assert found is not None  # it may be empty
    end = found.end()
    return end if text[end : end + 1] == ":" else -1


def _readable_lines(raw: bytes) -> Iterator[Line]:
    for pieces in _logical_lines(raw):
        try:
            yield _read_line(pieces, "")
        except UnsafeCard:
            continue


def _check_frame(lines: list[Line]) -> None:
    """Check that these lines are one card, from BEGIN to END, of a version that we know."""
    if not lines or not _is_frame(lines[0], "BEGIN"):
        raise UnsafeCard("it does not begin with BEGIN:VCARD")
    if not _is_frame(lines[-1], "END"):
        raise UnsafeCard("it does not end with END:VCARD")
    if [line.name for line in lines if line.name in ("BEGIN", "END")] != ["BEGIN", "END"]:
        raise UnsafeCard("it holds more than one card")
    versions = [line.value.strip() for line in lines if line.name == "VERSION"]
    if len(versions) != 1:
        raise UnsafeCard("it does not have exactly one VERSION")
    _check_version(versions[0])


def _check_version(version: str) -> None:
    if version not in VERSIONS:
        raise UnsafeCard(f"it is vCard {version[:8]!a}; only 3.0 and 4.0 can be edited")


def _is_frame(line: Line, name: str) -> bool:
    return line.name == name and line.value.strip().upper() == "VCARD"


def _make_line(head: str, value: str, ending: bytes) -> Line:
    """Fold a new line at 75 octets, never within a character."""
    prefix = head.partition(";")[0]
    text = f"{head}:{value}"
    if any(character in text for character in "\r\n\0"):
        raise UnsafeCard(f"a new {prefix} line would hold a raw line break or NUL")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise UnsafeCard(f"a new {prefix} line would not be UTF-8") from None
    return Line(_fold(encoded, ending), head, prefix.rpartition(".")[2].upper(), value)


def _fold(line: bytes, ending: bytes) -> bytes:
    pieces = []
    start, room = 0, _FOLD_OCTETS
    while len(line) - start > room:
        cut = start + room
        while line[cut] in _WITHIN_CHARACTER:
            cut -= 1
        pieces.append(line[start:cut])
        start, room = cut, _FOLD_OCTETS - 1  # the next one begins with a space
    pieces.append(line[start:])
    return (ending + b" ").join(pieces) + ending
