"""The tool of ``make mutants``: what it changes and what not, and that it leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.__main__ import _among, _sample
from tests.mutants.mutations import compiled, mutants
from tests.mutants.processes import in_child

REPOSITORY = Path(__file__).resolve().parent.parent


def told(source: str) -> list[str]:
    """The mutants of a module of one function, what they have in common left out."""
    return [str(each).removeprefix("f: ") for each in mutants(source)]


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (
            "return a < b",
            ["return a < b  ->  return None", "a < b  ->  a <= b", "a < b  ->  a >= b"],
        ),
        ("x = a is None", ["a is None  ->  a is not None"]),
        ("x = a and b", ["a and b  ->  a or b", "a  ->  (nothing)", "b  ->  (nothing)"]),
        ("x = not a", ["not a  ->  a"]),
        ("x = True", ["True  ->  False"]),
        ("x = (0, 3, 60, 0.5)", ["0  ->  1", "3  ->  4", "60  ->  120", "0.5  ->  1.0"]),
        ("x = a + b", ["a + b  ->  a - b"]),
        ("x = a | b", ["a | b  ->  a", "a | b  ->  b"]),
        ("x = max(a)", ["max  ->  min"]),
        ("x = a(b, c=d)", ["c=d  ->  (nothing)"]),
        ("x = [a, b()]", ["a  ->  (nothing)", "b()  ->  (nothing)"]),
        ("x = {a: b, c: d}", ["{a: b}  ->  (nothing)", "{c: d}  ->  (nothing)"]),
        ("x = [a for a in b if c]", ["c  ->  (nothing)"]),
        ("if a: pass", ["if a  ->  if not a"]),
        ("a.b = c", ["a.b = c  ->  (nothing)"]),
        ("a()", ["a()  ->  (nothing)"]),
        ("await a()", ["await a()  ->  (nothing)"]),
        ("raise a", ["raise a  ->  (nothing)"]),
        ("for a in b: break", ["break  ->  (nothing)"]),
        ("try: pass\n  except (a, b): pass", ["a  ->  (nothing)", "b  ->  (nothing)"]),
    ],
)
def test_a_change_is_a_mistake_that_people_make(body: str, changes: list[str]) -> None:
    source = f"async def f(a, b, c, d):\n  {body}\n"
    assert told(source) == changes
    for each in mutants(source):
        assert compiled(source, each, "f.py") is not None


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""',
        "def f(a: int | None = None) -> list[int]: ...",
        "Names = Mapping[str, int | None]",
        "Number = int | float",
        "class C(Protocol):\n  def f(self) -> int:\n    return g()",
        "class C:\n  __slots__ = ['a', 'b']",
        "class C:\n  def __repr__(self):\n    return repr(1)",
        "class C:\n  def __init__(self):\n    self.a = b",
        "def f(a):\n  assert a is not None",
        "@dataclass(frozen=True, slots=True)\nclass C:\n  a: int",
        "def f(a):\n  x = f'{a + 1}'",
    ],
)
def test_what_matters_to_nobody_is_left_alone(source: str) -> None:
    assert told(source) == []


def test_of_an_error_and_of_a_log_line_only_the_whole_is_taken_away() -> None:
    source = "def f(log):\n  log.info('event', number=1)\n  raise E('text', 1 if log else 2)\n"
    assert [each.endswith("(nothing)") for each in told(source)] == [True, True]


def test_a_change_that_compiles_to_the_same_is_none() -> None:
    source = "def f(a):\n  a()\n  return\n"
    called, returned = mutants(source)
    assert compiled(source, called, "f.py") is not None
    assert compiled(source, returned, "f.py") is None


def test_tests_reach_a_mutant_by_the_lines_of_its_statement_or_of_its_head() -> None:
    source = "x = 0\ndef f(a=1):\n  while (\n    a\n  ):\n    g(\n      2,\n    )\n"
    assert [(each.lines, each.is_early) for each in mutants(source)] == [
        (range(1, 2), True),
        (range(2, 3), True),
        (range(3, 6), False),
        (range(6, 9), False),
        (range(6, 9), False),
    ]


def test_the_sample_of_a_seed_stays_the_same_where_the_code_does() -> None:
    old = "def f(a, b, c):\n  return [a < b, b < c, c < a, a is b, b is c, 1, 2, 3]\n"
    new = f"def g(a):\n  return a + 1\n\n\n{old}"
    before, after = ([("m.py", each) for each in mutants(source)] for source in (old, new))
    lots = {str(each) for _, each in _sample(before, 5, "1")}
    assert len(lots) == 5
    assert lots != {str(each) for _, each in _sample(before, 5, "2")}
    kept = {str(each) for _, each in _sample(after, len(after) - 3, "1")}
    assert lots <= kept
    assert [each for each in after if each in _sample(after, 6, "1")] == _sample(after, 6, "1")


def test_mutants_of_changed_lines_are_those_whose_statement_has_one() -> None:
    found = [("m.py", each) for each in mutants("a = 1\nb = [\n  2,\n]\nc = 3\n")]
    assert [str(each) for _, each in _among(found, {"m.py": {3, 5}, "n.py": {1}})] == [
        "(module): 2  ->  (nothing)",
        "(module): 2  ->  3",
        "(module): 3  ->  4",
    ]


def test_a_child_that_hangs_or_dies_says_nothing() -> None:
    def spin() -> str:
        while True:
            pass

    def pause() -> str:
        signal.pause()
        return ""

    def die() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    assert in_child(lambda: "done\n", 10, 60) == "done"
    assert in_child(spin, 0, 60) is None
    assert in_child(pause, 10, 0.1) is None
    assert in_child(die, 10, 60) is None


CODE = """
LIMIT = 3
SHELVES = 2


def is_full(count: int) -> bool:
    return count >= LIMIT


def doubled(count: int) -> int:
    return count * 2


def unknown(count: int) -> int:
    return count - 1
"""
TESTS = """
import subprocess
from pathlib import Path

from shop.till import SHELVES, doubled, is_full


def test_is_full():
    assert is_full(9)
    assert not is_full(0)


def test_shelves():
    assert SHELVES == 2


def test_doubled():
    if doubled(2) != 4:
        left = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path("left").write_text(str(left.pid))
        raise AssertionError
"""


def test_survivors_are_told_and_nothing_is_left_of_the_others(tmp_path: Path) -> None:
    for name, text in {
        "shop/__init__.py": "",
        "shop/till.py": CODE,
        "checks/test_till.py": TESTS,
        "pytest.ini": "[pytest]\naddopts = -q\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-m", "tests.mutants", "--jobs", "1", "--code", "shop"]
    done = subprocess.run(
        [*command, "--tests", "checks"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    survivors, files, score = done.stdout.split("\n\n")
    assert survivors.splitlines()[1:] == [
        "survived: shop/till.py:2 (module): 3  ->  4",
        "survived: shop/till.py:7 is_full: count >= LIMIT  ->  count > LIMIT",
        "not reached: shop/till.py:15 unknown: return count - 1  ->  return None",
        "not reached: shop/till.py:15 unknown: count - 1  ->  count + 1",
        "not reached: shop/till.py:15 unknown: 1  ->  2",
    ]
    assert files.split() == ["shop/till.py", "6", "of", "11", "killed"]
    assert score.startswith("6 of 11 mutants killed: 54.5 % (0 of them hung)")
    assert (tmp_path / "shop/till.py").read_text() == CODE
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "left").read_text()), 0)
