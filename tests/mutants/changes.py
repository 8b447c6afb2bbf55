"""What may be changed about one node of a syntax tree: the nodes that may take its place.

The changes are those that mistakes look like: a boundary off by one, a condition turned round or
forgotten, an effect left out. Strings stay: what is written on the wire, the contract tests tell.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
# A limit that is one more is none that a test should know; one that is twice as much is.
_SMALL = 10


@dataclass(frozen=True, slots=True)
class Change:
    """``new`` takes the place of the node; what a reader sees of it is before and after."""

    new: ast.AST
    before: str
    after: str = "(nothing)"


def changes(node: ast.AST) -> Iterator[Change]:
    """The changes to this one node, always in the same order."""
    match node:
        case ast.BoolOp():
            yield from _condition(node)
        case ast.If() | ast.While() | ast.IfExp():
            yield from _turned_round(node)
        case ast.ExceptHandler(type=ast.Tuple() as caught):
            for change in _shorter(caught, "elts"):
                yield Change(_with(node, "type", change.new), change.before)
        case ast.stmt():
            yield from _left_out(node)
        case _:
            yield from _with_less(node)
            for new in _expressions(node):
                yield Change(new, ast.unparse(node), ast.unparse(new))


def _with_less(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.comprehension():
            yield from _shorter(node, "ifs")
        case ast.Call():
            yield from _shorter(node, "keywords")
        case ast.List(ctx=ast.Load()) | ast.Set():
            yield from _shorter(node, "elts")
        case ast.Dict(keys=[_, _, *_]):
            yield from _smaller_dict(node)


def _left_out(node: ast.stmt) -> Iterator[Change]:
    match node:
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            yield Change(ast.Return(ast.Constant(None)), ast.unparse(node), "return None")
        case (
            ast.Return(value=None)
            | ast.Continue()
            | ast.Break()
            | ast.Expr()
            | ast.AugAssign()
            | ast.Delete()
            | ast.Raise()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_])
        ):
            yield Change(ast.Pass(), ast.unparse(node))


def _turned_round(node: ast.If | ast.While | ast.IfExp) -> Iterator[Change]:
    """The condition as a whole, where nothing else turns it round."""
    if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
        turned = ast.UnaryOp(ast.Not(), node.test)
        new = _with(node, "test", turned)
        yield Change(new, f"if {ast.unparse(node.test)}", f"if {ast.unparse(turned)}")


def _shorter(node: ast.AST, field: str) -> Iterator[Change]:
    """Without one of its conditions, keyword arguments, elements."""
    parts = getattr(node, field)
    for index, part in enumerate(parts):
        if not isinstance(part, ast.keyword) or part.arg is not None:
            rest = parts[:index] + parts[index + 1 :]
            yield Change(_with(node, field, rest), ast.unparse(part))


def _smaller_dict(node: ast.Dict) -> Iterator[Change]:
    for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
        keys = node.keys[:index] + node.keys[index + 1 :]
        new = ast.Dict(keys, node.values[:index] + node.values[index + 1 :])
        yield Change(new, ast.unparse(ast.Dict([key], [value])))


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            yield from _compare(node)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp():
            yield from _arithmetic(node)
        case ast.Constant(value=bool() | int() | float()):
            yield _constant(node)
        case ast.Name(id=name, ctx=ast.Load()) if name in _TWINS:
            yield ast.Name(_TWINS[name], ast.Load())


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for index, old in enumerate(node.ops):
        for new in _COMPARISONS[type(old)]:
            yield _with(node, "ops", [*node.ops[:index], new(), *node.ops[index + 1 :]])


def _condition(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    yield Change(other, ast.unparse(node), ast.unparse(other))
    for index, part in enumerate(node.values):
        rest = node.values[:index] + node.values[index + 1 :]
        new = rest[0] if len(rest) == 1 else _with(node, "values", rest)
        yield Change(new, ast.unparse(part))


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    sides = (node.left, node.right)
    if any(map(_is_sequence, sides)):
        return
    if isinstance(node.op, ast.BitOr | ast.BitAnd):
        yield from sides
    elif type(node.op) in _ARITHMETIC:
        yield _with(node, "op", _ARITHMETIC[type(node.op)]())


def _constant(node: ast.Constant) -> ast.AST:
    value = node.value
    if isinstance(value, bool):
        return ast.Constant(not value)
    assert isinstance(value, int | float)
    is_large = abs(value) >= _SMALL or (isinstance(value, float) and value)
    return ast.Constant(value * 2 if is_large else value + 1)


def _is_sequence(node: ast.AST) -> bool:
    """A text or a list: ``+`` joins it, and nothing else can be done with it."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes)
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def _with(node: ast.AST, field: str, value: object) -> ast.AST:
    changed = copy.copy(node)
    setattr(changed, field, value)
    return changed
