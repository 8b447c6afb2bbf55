"""Mutants of a module: its syntax tree with one small change.

What cannot matter, or matters to nobody but a reader, is left alone: annotations, decorators, texts
(docstrings, f-strings, errors, what a log line says), asserts (they are for mypy), protocols,
``__slots__``, ``__repr__``.
"""

import ast
import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType

from tests.mutants.changes import Change, changes

# From the root of a tree to a node: field, and the index where the field is a list.
Path = tuple[tuple[str, int | None], ...]
_Function = ast.FunctionDef | ast.AsyncFunctionDef

_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_NOT_CODE = {"annotation", "returns", "decorator_list", "bases", "keywords", "type_params"}
_TEXTS = {"__repr__", "__str__"}
_LOG = {"debug", "info", "warning", "error"}
_LONGEST_TEXT = 60


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change within ``statement``.

    A test reaches it by running one of ``lines``: the statement's, or of a compound one its
    head's. ``is_early``: these run when the module is imported.
    """

    scope: str
    lines: range
    is_early: bool
    statement: str
    path: Path
    change: Change

    @property
    def key(self) -> str:
        """The same wherever in its module the function stands."""
        return f"{self.scope}|{self.statement}|{self.change.before}|{self.change.after}"

    def __str__(self) -> str:
        return f"{self.scope}: {_short(self.change.before)}  ->  {_short(self.change.after)}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement stands."""

    path: Path = ()
    names: tuple[str, ...] = ()
    is_in_function: bool = False


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its text."""
    yield from _in_block(ast.parse(source), _Place())


def compiled(source: str, mutant: Mutant, filename: str) -> CodeType | None:
    """The module with the change; None if it is the same code as without."""
    tree = ast.parse(source)
    original = compile(tree, filename, "exec", dont_inherit=True)
    parent: ast.AST = tree
    *way, (field, index) = mutant.path
    for step, number in way:
        child = getattr(parent, step)
        parent = child if number is None else child[number]
    replacement = copy.deepcopy(mutant.change.new)
    if index is None:
        setattr(parent, field, replacement)
    else:
        getattr(parent, field)[index] = replacement
    ast.fix_missing_locations(tree)
    code = compile(tree, filename, "exec", dont_inherit=True)
    return None if _is_same(code, original) else code


def _is_same(one: object, other: object) -> bool:
    """Whether both do the same, wherever their lines are."""
    if not (isinstance(one, CodeType) and isinstance(other, CodeType)):
        return repr(one) == repr(other)
    return (
        one.co_code == other.co_code
        and (one.co_names, one.co_varnames) == (other.co_names, other.co_varnames)
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_is_same, one.co_consts, other.co_consts))
    )


def _in_block(node: ast.AST, place: _Place) -> Iterator[Mutant]:
    for field in _BLOCKS:
        children = getattr(node, field, None) or []
        for index, child in enumerate(children):
            path = (*place.path, (field, index))
            yield from _in_statement(child, _Place(path, place.names, place.is_in_function))


def _in_statement(node: ast.AST, place: _Place) -> Iterator[Mutant]:
    if _matters_to_nobody(node):
        return
    names = place.names
    is_function = isinstance(node, _Function)
    if isinstance(node, _Function | ast.ClassDef):
        names = (*names, node.name)
    for path, change in _changed(node, place.path, is_in_init="__init__" in names):
        yield Mutant(
            scope=".".join(names) or "(module)",
            lines=_head(node),
            is_early=not place.is_in_function,
            statement=ast.unparse(_bare(node)),
            path=path,
            change=change,
        )
    yield from _in_block(node, _Place(place.path, names, place.is_in_function or is_function))


def _changed(node: ast.AST, path: Path, *, is_in_init: bool) -> Iterator[tuple[Path, Change]]:
    """The statement itself, and the expressions in it; a constructor that sets less would only
    raise AttributeError."""
    is_setting = isinstance(node, ast.Assign)
    if not (is_in_init and is_setting):
        for change in changes(node):
            yield path, change
    if isinstance(node, ast.Raise) or _is_report(node):
        return
    for where, child in _children(node, path):
        if where[-1][0] not in _BLOCKS:
            yield from _in_expression(child, where)


def _in_expression(node: ast.AST, path: Path) -> Iterator[tuple[Path, Change]]:
    if isinstance(node, ast.JoinedStr):
        return
    for change in changes(node):
        yield path, change
    for where, child in _children(node, path):
        yield from _in_expression(child, where)


def _children(node: ast.AST, path: Path) -> Iterator[tuple[Path, ast.AST]]:
    skipped = _NOT_CODE if isinstance(node, ast.stmt | ast.arg) else ()
    for field, value in ast.iter_fields(node):
        if field in skipped:
            continue
        if isinstance(value, ast.AST):
            yield (*path, (field, None)), value
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield (*path, (field, index)), each


def _matters_to_nobody(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef(name=name):
            return name in _TEXTS
        case ast.ClassDef(bases=bases):
            return "Protocol" in map(ast.unparse, bases)
        case ast.Assign(targets=[ast.Name(id=name)]):
            # A name of the module's own (__slots__, __all__), or of a type (Patch = Mapping[...]).
            return name.startswith("__") or (name.strip("_")[:1].isupper() and not name.isupper())
        case ast.If(test=test):
            return ast.unparse(test) == "TYPE_CHECKING"
        case ast.Expr(value=value):
            return isinstance(value, ast.Constant)
    return isinstance(node, ast.Assert)


def _is_report(node: ast.AST) -> bool:
    """A line for the log; taking all of it away is a mutant, what it says is not."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))):
            return name in _LOG
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name == "report"
    return False


def _head(node: ast.AST) -> range:
    """The lines of the statement before the block in it."""
    assert isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case)
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, node.body[0].lineno)
    blocks: Iterable[ast.stmt] = getattr(node, "body", ())
    end = next((each.lineno for each in blocks), (node.end_lineno or node.lineno) + 1)
    return range(node.lineno, max(end, node.lineno + 1))


def _bare(node: ast.AST) -> ast.AST:
    """Without the blocks in it."""
    if not (isinstance(node, ast.stmt) and hasattr(node, "body")):
        return node
    bare = copy.copy(node)
    bare.body = [ast.Pass()]
    for field in ("orelse", "handlers", "finalbody"):
        if hasattr(bare, field):
            setattr(bare, field, [])
    if isinstance(bare, ast.Try):
        bare.finalbody = [ast.Pass()]
    return bare


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"
