"""A seeded selection of the table that ``make chaos`` tries in full, and that rows can fail."""

import gc
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import clients, crash, endurance, fleet, fleetmonth, streams
from tests.chaos.__main__ import exit_code, main
from tests.chaos.kept import BusyError, Kept, fingerprint
from tests.chaos.rows import ROWS
from tests.chaos.table import Case, Measured, Result, Row, run, told
from tests.chaos.troubles import EVERYTHING

# A process that is killed tells nobody what it was about to do; a test's process lives on.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_SEED = 6
# How many of a row's cases are tried here; the others take too long each, or are tried below.
_SELECTED = {"fault": 4, "random": 2, "mail": 4, "card": 4}
_SMALL = ["a new sender", "an adopted contact", "a conflict resolved", "taken back"]


@pytest.fixture(autouse=True, scope="module")
def _bury() -> Iterator[None]:
    """Nothing of the killed is to be heard of in other tests."""
    yield
    gc.collect()


def tried(row: Row, cases: list[Case]) -> Result:
    *_, result = run(row, cases)
    return result


@pytest.mark.parametrize("name", _SELECTED)
def test_a_selection_of_the_row_is_kept(name: str) -> None:
    cases = random.Random(_SEED).sample(list(ROWS[name].cases()), _SELECTED[name])
    result = tried(ROWS[name], cases)
    assert result.failures == []
    assert result.count == len(cases)


def test_kills_in_small_scenarios_change_nothing() -> None:
    begins = [(name, crash.SCENARIOS[name].begin) for name in _SMALL]
    cases = random.Random(_SEED).sample(list(crash.cases(begins)), 6)
    assert tried(ROWS["kill"], cases).failures == []


def test_of_many_accounts_those_without_trouble_are_served_as_if_alone() -> None:
    assert fleet.in_all_ways(_SEED, 8) <= ROWS["many-fault"].limit


def test_of_many_accounts_none_loses_anything_by_a_kill() -> None:
    assert fleet.killed(_SEED, 6) == 0.0


def test_accounts_that_come_and_go_by_hup_leave_nothing_behind() -> None:
    assert fleetmonth.live(4, 10) <= ROWS["many-month"].limit


def test_many_accounts_are_done_soon_after_their_server_is_back() -> None:
    assert fleet.outage(EVERYTHING, _SEED, 5) <= ROWS["many-outage"].limit


@pytest.mark.parametrize("name", ["10 MiB of one id", "retry: 0, and closes", "says nothing"])
def test_a_hostile_stream_is_endured(name: str) -> None:
    [case] = [each for each in streams.cases() if each.name == name]
    assert tried(ROWS["stream"], [case]).failures == []


@pytest.mark.parametrize(
    "what", ["send noise", "hang up at once", "ask for what takes time and hang up"]
)
def test_a_crowd_of_rude_clients_keeps_nobody_waiting(what: str) -> None:
    assert clients.crowd(clients.RUDENESS[what], 100) <= ROWS["client"].limit


def test_a_crowd_of_readers_who_do_not_read_keeps_nobody_waiting() -> None:
    assert clients.readers(100) <= ROWS["client"].limit


def test_a_night_and_a_morning_pass_without_a_missed_label() -> None:
    endurance.live(9, "America/St_Johns")


def test_a_row_fails_by_an_error_or_by_what_it_measures() -> None:
    def broken() -> float:
        raise KeyError("M1")

    row = Row("row", "what", list, "things", 2)
    cases = [Case("fine", lambda: 2.0), Case("too much", lambda: 3.0), Case("broken", broken)]
    result = tried(row, cases)
    assert (result.count, result.worst) == (3, 3.0)
    much, error = result.failures
    assert much == "row: too much: 3 things"
    assert "KeyError: 'M1'" in error
    assert "2 FAILED" in str(result)


def test_a_row_that_cannot_be_tried_says_why_and_fails_only_where_all_are_required() -> None:
    row = Row("row", "what", list, "things", 2)
    hindered = [Result(row), Result(row, "needs root")]
    assert str(hindered[1]).endswith("not run: needs root")
    assert exit_code(hindered, {}) == 0
    assert exit_code(hindered, {"REQUIRE_ALL": "1"}) == 1
    assert exit_code(hindered[:1], {"REQUIRE_ALL": "1"}) == 0
    spared = replace(row, is_demanded=False)
    assert exit_code([Result(spared, "STALWART names no server")], {"REQUIRE_ALL": "1"}) == 0
    assert exit_code([Result(row, failures=["broken"])], {}) == 1


class Trials:
    """Cases that count how often they are tried, of a row whose results are kept in a folder."""

    def __init__(self, folder: Path, names: str = "abc") -> None:
        self.folder = folder
        self.row = Row("row", "what", list, "things", 2, environment=("MAILROOM_TRIAL",))
        self.tried: list[str] = []
        self.cases = [Case(name, self._case(name)) for name in names]

    def _case(self, name: str) -> Callable[[], float]:
        def case() -> float:
            self.tried.append(name)
            return float(ord(name) - ord("a"))

        return case

    def work(self, count: int | None = None, code: str = "1", is_fresh: bool = False) -> Result:
        """Try so many cases, all without a number; ``tried`` are those that were not known."""
        self.tried.clear()
        with Kept(self.row, code, self.folder, is_fresh) as kept:
            *_, result = run(self.row, self.cases[:count], kept)
        return result


def test_a_row_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    assert trials.work(2).count == 2
    result = trials.work()
    assert trials.tried == ["c"]
    assert (result.count, result.worst) == (3, 2.0)
    assert trials.work().seconds == pytest.approx(result.seconds)
    assert trials.tried == []


def test_what_was_killed_while_it_wrote_goes_on_before_the_half_line(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.work()
    path = tmp_path / "row.jsonl"
    path.write_text(path.read_text()[:-5])
    assert trials.work().count == 3
    assert trials.tried == ["c"]
    trials.work()
    assert trials.tried == []


def test_other_code_another_environment_or_who_wants_it_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = Trials(tmp_path)
    trials.work()
    trials.work(code="2")
    assert trials.tried == ["a", "b", "c"]
    trials.work(code="2", is_fresh=True)
    assert trials.tried == ["a", "b", "c"]
    monkeypatch.setenv("MAILROOM_TRIAL", "another server")
    trials.work(code="2")
    assert trials.tried == ["a", "b", "c"]


def test_a_case_that_is_another_now_and_all_after_it_are_tried(tmp_path: Path) -> None:
    Trials(tmp_path).work()
    others = Trials(tmp_path, "adc")
    assert others.work().count == 3
    assert others.tried == ["d", "c"]
    others.work()
    assert others.tried == []


def test_a_failure_is_kept_and_told_again(tmp_path: Path) -> None:
    trials = Trials(tmp_path, "ad")
    failures = trials.work().failures
    assert failures == ["row: d: 3 things"]
    assert trials.work().failures == failures
    assert trials.tried == []


def test_a_row_that_is_done_is_told_as_it_was(tmp_path: Path) -> None:
    row = Row("row", "what", list, "things", 2)
    case = Case("a", lambda: Measured(1.0, {"moves lost": 2}))
    with Kept(row, "1", tmp_path) as kept:
        [first] = run(row, [case], kept)
        assert kept.finished is None
        kept.finish("today")
    with Kept(row, "1", tmp_path) as kept:
        assert kept.finished == "today"
        result = told(row, kept.tried)
    assert str(result) == str(first)
    assert "1 things (at most 2)" in str(result)
    assert "2 moves lost" in str(result)


def test_two_runs_at_once_do_not_share_a_row(tmp_path: Path) -> None:
    row = Row("row", "what", list)
    with Kept(row, "1", tmp_path), pytest.raises(BusyError, match="is locked"):
        Kept(row, "1", tmp_path)


def test_code_is_the_same_until_a_file_of_it_is_another(tmp_path: Path) -> None:
    (tmp_path / "mailroom").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]")
    code = tmp_path / "mailroom" / "loop.py"
    code.write_text("turn()")
    before = fingerprint(tmp_path)
    (tmp_path / "tests" / "test_loop.py").write_text("a test of pytest's alone")
    (tmp_path / "README.md").write_text("a document")
    assert fingerprint(tmp_path) == before
    code.write_text("turn(2)")
    changed = fingerprint(tmp_path)
    assert changed != before
    code.rename(tmp_path / "mailroom" / "ring.py")
    assert fingerprint(tmp_path) not in (before, changed)


def test_a_mail_that_is_destroyed_is_noticed() -> None:
    job = crash.SCENARIOS["a new sender"].begin()
    world = job.world
    store = world.sandbox._store

    def lose(*_: object) -> None:
        del store.mails[world.mails[-1]]

    world.sandbox.before(lose)
    with pytest.raises(KeyError):
        job.work()


def test_a_row_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    assert main(["quakes"]) == 2
    assert "there is no row quakes: kill, command, fault" in capsys.readouterr().err
    assert sys.unraisablehook is hook
