"""Classes of values: told from the standard library's dataclasses by nothing that Mailroom uses."""

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

import pytest

from mailroom import valueclass


def classes(by: Any) -> dict[str, Any]:
    """The same classes, as that module makes them."""

    @by.dataclass(frozen=True, slots=True)
    class Plain:
        """Said of it."""

        name: str
        size: int = 7
        kind: ClassVar[str] = "plain"

        @property
        def twice(self) -> int:
            return self.size * 2

    @by.dataclass(frozen=True, slots=True)
    class Longer(Plain):
        tail: tuple[str, ...] = ()

    @by.dataclass(slots=True)
    class Open:
        found: dict[str, Any] = by.field(default_factory=dict)
        parts: list[Any] = by.field(default_factory=list)

    @by.dataclass(frozen=True, slots=True)
    class Secret:
        user: str
        password: str = by.field(repr=False)
        source: str = by.field(default="", compare=False)

    @by.dataclass(frozen=True, slots=True, order=True)
    class Version:
        major: int
        minor: int = 0

    @by.dataclass(frozen=True, slots=True)
    class Single:
        only: Any

    @by.dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    @by.dataclass(frozen=True, slots=True)
    class Own:
        name: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "its own"

    found = (Plain, Longer, Open, Secret, Version, Single, Nothing, Own)
    return {each.__name__: each for each in found}


BOTH: Mapping[str, ModuleType] = {"ours": valueclass, "standard": dataclasses}


# What is asked of both. Each answers or fails alike.
EXPRESSIONS = """
Plain('a')
Plain('a', 1)
Plain(size=1, name='a')
Plain('a').twice
Plain.kind
Plain.__doc__
Plain.__qualname__
Plain.__module__
Plain.__slots__
Plain.__match_args__
hasattr(Plain('a'), '__dict__')
Plain()
Plain('a', 1, 2)
Plain('a', name='b')
Plain('a', colour='b')
Plain('a') == Plain('a', 7)
Plain('a') == Plain('b')
Plain('a') == ('a', 7)
Plain('a') < Plain('b')
len({Plain('a'), Plain('a', 7), Plain('b')})
Longer('a', 1, ('b',))
Longer('a') == Plain('a')
Longer.__match_args__
Longer.__slots__
Longer('a').twice
isinstance(Longer('a'), Plain)
Longer(tail=(), name='a') == Longer('a')
Open()
Open().found is Open().found
Open({1: 2}) == Open({1: 2})
hash(Open())
setattr(Open(), 'found', 1)
setattr(Open(), 'strange', 1)
Open([], parts=1)
Secret('me', 'hidden')
Secret('me', 'hidden', 'here') == Secret('me', 'hidden')
Secret('me', 'hidden') == Secret('me', 'other')
Secret('me')
sorted([Version(2), Version(1, 3), Version(1)])
Version(1) < (1, 0)
Version(1, 1) >= Version(1, 1)
Version(1) > Version(1, 1)
Version(1) <= Version(1)
Single(Single(1))
Single(1) == Single(1)
Single(1) == Single(2)
Single(1) == 1
Nothing()
Nothing() == Nothing()
Nothing(1)
len({Nothing(), Nothing()})
Own('a')
Own('a') == Own('b')
len({Own('a'), Own('b')})
setattr(Plain('a'), 'name', 'b')
delattr(Plain('a'), 'name')
Plain.name.__get__(Plain('a'))
replace(Plain('a'), size=2)
replace(Plain('a'), colour=2)
replace(Longer('a'), name='b')
replace(Secret('me', 'hidden'), user='you').password
replace(Open(parts=[1]))
asdict(Plain('a'))
asdict(Single([Plain('a'), (Plain('b'), 1)]))
asdict(Single({'a': Plain('a'), 'b': {'c': Version(1)}}))
asdict(Nothing())
[each.name for each in fields(Longer)]
[each.compare for each in fields(Secret('a', 'b'))]
"""


@pytest.mark.parametrize("expression", EXPRESSIONS.strip().splitlines())
def test_they_behave_as_dataclasses_do(expression: str) -> None:
    def outcome(by: ModuleType) -> object:
        names = {each: getattr(by, each) for each in ("replace", "asdict", "fields")}
        try:
            return repr(eval(expression, {**names, **classes(by)}))
        except (TypeError, AttributeError) as error:
            # The standard one says FrozenInstanceError, which is an AttributeError.
            return TypeError if isinstance(error, TypeError) else AttributeError

    ours, standard = (outcome(by) for by in BOTH.values())
    assert ours == standard


def test_a_field_that_is_missing_unknown_or_given_twice_is_named() -> None:
    plain = classes(valueclass)["Plain"]
    for values, named, told in (
        ((), {}, "Plain lacks, or does not have, name"),
        (("a",), {"colour": 1}, "Plain lacks, or does not have, colour"),
        (("a",), {"name": "b"}, "Plain was given twice: name"),
        (("a", 1, 2), {}, "Plain has 2 fields, not 3"),
    ):
        with pytest.raises(TypeError) as refused:
            plain(*values, **named)
        assert str(refused.value) == told


def test_no_two_values_share_a_default_that_changes() -> None:
    with pytest.raises(TypeError, match="all Shared would share one default of parts"):

        @valueclass.dataclass(slots=True)
        class Shared:
            parts: list[str] = []  # noqa: RUF012 - which is what is refused


def test_the_standard_library_takes_them_for_dataclasses() -> None:
    made = classes(valueclass)
    secret: Any = made["Secret"]("me", "hidden")
    plain: Any = made["Plain"]("a")
    assert dataclasses.is_dataclass(type(plain))
    assert dataclasses.replace(plain, size=1) == made["Plain"]("a", 1)
    assert dataclasses.asdict(secret) == {"user": "me", "password": "hidden", "source": ""}
    assert dataclasses.astuple(plain) == ("a", 7)
    assert [each.repr for each in dataclasses.fields(secret)] == [True, False, True]


def test_nothing_of_what_dataclasses_bring_is_loaded_for_them() -> None:
    code = (
        "import sys; from mailroom.values import dataclass\n"
        "dataclass(frozen=True, slots=True)(type('A', (), {'__annotations__': {'b': int}}))(1)\n"
        "print({'dataclasses', 'inspect'} & sys.modules.keys())\n"
    )
    child = [sys.executable, "-S", "-c", code]
    assert subprocess.run(child, capture_output=True, text=True, check=True).stdout == "set()\n"
