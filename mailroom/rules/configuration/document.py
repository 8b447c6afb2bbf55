"""YAML text as plain data that remembers where everything stands.

Plain data is what JSON can say. Scalars are typed as PyYAML resolves them (YAML 1.1: ``yes`` and
``on`` are booleans), with two exceptions: what no JSON type can hold (dates, ``.nan``, ``1:30``)
stays text, and keys are always text. Aliases and deep nesting are refused, so the size of the
data is bounded by the size of the text.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_SHOWN_LIMIT = 60  # a problem stays on one line
_DEPTH_LIMIT = 16  # the file itself needs 4
_REPAIR_LIMIT = 50  # each repair reads the text again
_UNQUOTED = re.compile(r"[@`][^\n,\[\]{}#\"\\:]*")
_PLAIN_KEY = re.compile(r"[\w-]{1,40}")

_EXPLANATIONS = (  # the first that fits
    ("found '}'", "a bracket is closed that was never opened; take it away"),
    ("found ']'", "a bracket is closed that was never opened; take it away"),
    ("character '\\t'", "a tab cannot indent in YAML; use spaces"),
    ("character '%'", "a value cannot begin with % unless it is quoted; put it in quotes"),
    ("mapping values are not", "a ':' stands where no key can be; check the indentation"),
    ("could not find expected ':'", "no ':' follows this key; add it, or check the indentation"),
    ("unexpected end of stream", "a quote is opened and never closed; close it"),
    ("expected <block end>", "the indentation does not fit the lines above; align it with them"),
    ("another document", "a second document begins ('---'); keep one"),
    ("'<document start>'", "the text before it has ended already; check brackets and quotes"),
    ("'<stream end>'", "a bracket is opened and never closed; close it"),
    ("expected ',' or", "a ',' or a closing bracket is missing; add it"),
    ("unknown escape", 'a backslash in "…" must be doubled; or use single quotes'),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the file: its line (from 1), the keys that lead there, what it is and what
    to do."""

    line: int
    path: Path
    message: str

    def told(self, filename: str) -> str:
        """Return ``FILE:LINE: key.path: message``."""
        return (
            f"{filename}:{self.line}: {': '.join(filter(None, (dotted(self.path), self.message)))}"
        )


@dataclass(slots=True)
class Document:
    """The data of one text, its places, and what was wrong with it as YAML.

    ``lines`` gives the line (from 1) of every path, ``written`` the text of every scalar, and
    ``quoted`` the paths of those that are in quotes.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    quoted: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, message: str) -> Problem:
        """Return a problem at this path; its line is that of the nearest parent if it has none."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(self.lines.get(known, 1), path, message)


def read(text: str) -> Document:
    """Read one YAML document. Never raises: what is wrong with the text is among the problems."""
    document = Document()
    node = _compose(text, document.problems)
    if node is not None:
        document.data = _plain(document, node, ())
    return document


def dotted(path: Path) -> str:
    """Return the path as people write it: ``triage.categories[2].label``."""
    keys = (f"[{key}]" if isinstance(key, int) else f".{_key(key)}" for key in path)
    return "".join(keys).removeprefix(".")


def shown(text: str) -> str:
    """Return foreign text in quotes, on one line, printable and short."""
    short = text if len(text) <= _SHOWN_LIMIT else text[:_SHOWN_LIMIT] + "…"
    return json.dumps(short, ensure_ascii=not short.isprintable())


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else shown(key)


class _Loader(yaml.SafeLoader):
    """Composes nodes, but refuses what a configuration has no use for."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        fault = None
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            fault = "anchors and aliases (&, *) are not used here; write it out, or quote it"
        elif event.tag is not None:
            fault = "tags (!) are not used here; take it away, or quote the value"
        elif self.depth == _DEPTH_LIMIT:
            fault = "is nested too deeply; see the example configuration"
        if fault:
            raise _Refused(None, None, fault, event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a configuration does not need."""


def _compose(text: str, problems: list[Problem]) -> yaml.Node | None:
    """Return the root node, or None: the document is empty, or the problems say what is wrong.

    An unquoted label that begins with ``@`` is reported, then read as if it were quoted: this is
    the most common slip, and people make it at every label at once.
    """
    for _ in range(_REPAIR_LIMIT):
        try:
            loader = _Loader(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            code = f"U+{ord(text[error.position]):04X}"
            problems.append(Problem(line, (), f"the character {code} cannot stand here; remove it"))
            return None
        try:
            return loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or loader.get_mark()
            unquoted = _unquoted(error, text, mark.index)
            if unquoted is None:
                problems.append(Problem(mark.line + 1, (), _explain(error)))
                return None
            message = f"a value cannot begin with {unquoted[0]} unless it is quoted; write "
            problems.append(Problem(mark.line + 1, (), message + f'"{unquoted}"'))
            text = f'{text[: mark.index]}"{unquoted}"{text[mark.index + len(unquoted) :]}'
        except (ValueError, OverflowError):  # PyYAML lets chr() and int() raise for \UFFFFFFFF
            line = loader.get_mark().line + 1
            problems.append(Problem(line, (), "a number or an escape is out of range; correct it"))
            return None
    return None


def _unquoted(error: yaml.MarkedYAMLError, text: str, index: int) -> str | None:
    """Return the words at ``index`` if the error is that they begin with ``@`` unquoted."""
    if "cannot start any token" not in (error.problem or ""):
        return None
    words = _UNQUOTED.match(text, index)
    return words[0].rstrip() if words else None


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "unknown"
    if isinstance(error, _Refused):
        return problem
    for symptom, explanation in _EXPLANATIONS:
        if symptom in problem:
            return explanation
    return f"is not YAML: {problem}; correct it, or put the value in quotes"


def _plain(document: Document, node: yaml.Node, path: Path) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(document, item, (*path, at)) for at, item in enumerate(node.value)]
    document.written[path] = node.value
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        document.quoted.add(path)
    return _scalar(node)


def _mapping(document: Document, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(
                Problem(line, path, "has a list or mapping as a key; quote it")
            )
            continue
        key: str = key_node.value
        below = (*path, key)
        if key in mapping:
            message = f"is given twice, first on line {document.lines[below]}; keep one"
            document.problems.append(Problem(line, below, message))
            continue
        document.lines[below] = line
        mapping[key] = _plain(document, value_node, below)
    return mapping


def _scalar(node: yaml.Node) -> Any:
    text: str = node.value
    try:
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text.lower() in ("yes", "true", "on")
            case "int":
                return int(text)
            case "float":
                return float(text)
    except ValueError:
        pass  # 0x10, 1:30, .nan: no JSON number
    return text
