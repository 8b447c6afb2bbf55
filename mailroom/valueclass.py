"""Classes of values: what :mod:`mailroom.values` has at run time instead of ``dataclasses``.

Here no class's methods are written as source and compiled: those of all classes are the same few
functions, which go by the names of the fields. It is what the standard library's decorator makes of
slotted classes, as far as Mailroom asks for it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter, ge, gt, le, lt
from typing import Any, ClassVar, TypeVar, get_origin

T = TypeVar("T")

_NOTHING: Any = object()
_FIELDS = "__value_fields__"


class Field:
    """What is declared of one field; ``name`` is known once the class is made."""

    __slots__ = ("compare", "default", "default_factory", "name", "repr")

    def __init__(
        self, default: Any, default_factory: Callable[[], Any] | None, repr: bool, compare: bool
    ) -> None:
        self.name = ""
        self.default = default
        self.default_factory = default_factory
        self.repr = repr
        self.compare = compare


def field(
    *,
    default: Any = _NOTHING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,
    compare: bool = True,
) -> Any:
    """Say more of a field than its type, as ``dataclasses.field`` does."""
    return Field(default, default_factory, repr, compare)


def dataclass(
    *, slots: bool, frozen: bool = False, order: bool = False, kw_only: bool = False
) -> Callable[[type[T]], type[T]]:
    """Make a class of values of one that declares fields, as ``dataclasses.dataclass`` does. That
    ``kw_only`` fields are given by name is for the type checker to see to."""
    assert slots, "every value has slots"

    def made(declared: type[T]) -> type[T]:
        own = {each.name: each for each in _declared(declared)}
        every = {**getattr(declared, _FIELDS, {}), **own}
        slotted = _slotted(declared, own)
        methods = {
            _FIELDS: every,
            "__dataclass_fields__": _StandardFields(),
            "__match_args__": () if kw_only else (*every,),
            "__init__": _initialiser(slotted, every),
            "__repr__": _told,
            **_comparisons(every, order),
            **({"__setattr__": _refuse, "__delattr__": _refuse} if frozen else {"__hash__": None}),
        }
        for name in methods.keys() - declared.__dict__.keys():
            setattr(slotted, name, methods[name])
        return slotted

    return made


def fields(kind: Any) -> tuple[Field, ...]:
    """The fields of a class of values, or of a value."""
    return tuple(getattr(kind, _FIELDS).values())


def replace(value: T, /, **changes: Any) -> T:
    """The value with these fields changed. Raises TypeError where it has no such field."""
    unchanged = {name: getattr(value, name) for name in getattr(value, _FIELDS)}
    return type(value)(**{**unchanged, **changes})


def asdict(value: Any) -> dict[str, Any]:
    """The value as a dict, and all values within it, too."""
    return {name: _plain(getattr(value, name)) for name in getattr(value, _FIELDS)}


def _plain(value: Any) -> Any:
    if hasattr(value, _FIELDS):
        return asdict(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _declared(declared: type) -> Iterable[Field]:
    """The fields that the class itself declares."""
    annotations: dict[str, Any] = declared.__annotations__
    for name, annotation in annotations.items():
        if get_origin(annotation) is ClassVar:
            continue
        given = declared.__dict__.get(name, _NOTHING)
        found = given if isinstance(given, Field) else Field(given, None, True, True)
        if isinstance(found.default, list | dict | set):
            raise TypeError(f"all {declared.__name__} would share one default of {name}")
        found.name = name
        yield found


def _slotted(declared: type[T], own: Mapping[str, Field]) -> type[T]:
    """The same class with slots for its fields: no class can be given them later."""
    gone = {*own, "__dict__", "__weakref__"}
    namespace = {name: each for name, each in declared.__dict__.items() if name not in gone}
    namespace["__slots__"] = (*own,)
    kind: Any = type(declared)
    slotted: type[T] = kind(declared.__name__, declared.__bases__, namespace)
    slotted.__qualname__ = declared.__qualname__
    return slotted


def _initialiser(slotted: type, every: Mapping[str, Field]) -> Callable[..., None]:
    names = (*every,)
    puts = tuple(getattr(slotted, name).__set__ for name in names)  # not refused when frozen
    given = {each.name: each.default for each in every.values() if each.default is not _NOTHING}
    makers = [(each.name, each.default_factory) for each in every.values() if each.default_factory]

    def complete(values: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """All fields in their order. Raises TypeError where these are not what the class takes."""
        if len(values) > len(names):
            raise TypeError(f"{slotted.__name__} has {len(names)} fields, not {len(values)}")
        placed = dict(zip(names, values, strict=False))
        if twice := placed.keys() & named.keys():
            raise TypeError(f"{slotted.__name__} was given twice: {', '.join(sorted(twice))}")
        filled = {**given, **placed, **named}
        for name, make in makers:
            if name not in filled:
                filled[name] = make()
        if filled.keys() != every.keys():
            told = ", ".join(sorted(filled.keys() ^ every.keys()))
            raise TypeError(f"{slotted.__name__} lacks, or does not have, {told}")
        return [filled[name] for name in names]

    def initialise(self: Any, /, *values: Any, **named: Any) -> None:
        if named or len(values) != len(puts):
            values = (*complete(values, named),)
        for put, value in zip(puts, values, strict=True):
            put(self, value)

    return initialise


class _StandardFields:
    """What the functions of the standard library's module look for, should anybody call them."""

    def __get__(self, _value: object, kind: type) -> Any:
        return _standard_fields(kind)


@cache
def _standard_fields(kind: type) -> Any:
    import dataclasses  # noqa: PLC0415 - the service itself never asks

    declared = [
        (each.name, object, dataclasses.field(default=None, repr=each.repr, compare=each.compare))
        for each in fields(kind)
    ]
    standard: Any = dataclasses.make_dataclass(kind.__name__, declared)
    return standard.__dataclass_fields__


def _comparisons(every: Mapping[str, Field], order: bool) -> dict[str, Any]:
    key = _key([each.name for each in every.values() if each.compare])

    def equal(self: Any, other: object) -> Any:
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(key(self))

    def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, object], Any]:
        def method(self: Any, other: object) -> Any:
            of_one_kind = other.__class__ is self.__class__
            return compare(key(self), key(other)) if of_one_kind else NotImplemented

        return method

    found = {"__eq__": equal, "__hash__": hashed}
    names = {"__lt__": lt, "__le__": le, "__gt__": gt, "__ge__": ge} if order else {}
    return {**found, **{name: ordered(compare) for name, compare in names.items()}}


def _key(names: list[str]) -> Callable[[Any], Any]:
    """What two values are compared by."""
    return attrgetter(*names) if names else lambda _value: ()


def _told(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, _value: Any = None) -> None:
    raise AttributeError(f"{name} of {type(self).__name__} is frozen")
