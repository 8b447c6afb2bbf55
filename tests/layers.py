"""The layers of ``make test``, each by its name: ``python3 -m tests.layers [LAYER ...]``.

A layer that cannot run here is told at the end, with the reason; REQUIRE_ALL=1 makes it a failure,
but for a layer that needs what nobody can be asked to have. The end also tells why single tests
did not run.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests import servers
from tests.say import say
from tests.system import prepare, root

Command = tuple[str, ...]

_LINT: tuple[Command, ...] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "mailroom", "tests", "packaging"),
    # On its own: in one run the package of the same name hides the launcher. Here the launcher
    # hides the package's __init__, so what is found in other files is not to be believed.
    ("mypy", "--scripts-are-modules", "--follow-imports=silent", "mailroom.py"),
)
# Whoever has done all that it was given takes from the others.
_EVENLY = ("--dist", "worksteal")
_CYRUS_ALONE = ("tests/system/test_contract.py", "tests/system/test_cyrus.py")
# One flow on the page and one host that dies; the rest of both are layers of their own.
_BROWSER_FLOW = "tests/browser/test_flow.py"
_FAIL_OVER = "tests/system/cluster/test_cluster.py::test_a_host_dies"
# First evenings on fresh hosts build on one another.
_EVENINGS = ("tests/system/test_secrets.py", "tests/system/test_first_evening.py")
# Minutes for what is near to what runs anyway: the first evening of root, and of every host a unit.
_LONG = (
    "tests/system/test_secrets.py",
    "tests/system/test_first_evening.py::test_a_user_has_it_as_well",
    "tests/system/test_first_evening.py::test_who_has_no_manager_is_told",
    "tests/system/test_first_evening.py::test_a_silent_name_server_costs_five_seconds_once",
)
# A host is mostly waiting, so two at a time: a file is all one worker's, for its tests share hosts,
# and what takes longest begins.
_SYSTEM = (
    *("pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
    *("-m", "system and not every", "--ignore-glob=*stalwart*"),
    *(f"--deselect={each}" for each in _LONG),
    *(_FAIL_OVER, _BROWSER_FLOW, *sorted(map(str, Path("tests/system").glob("test_*.py")))),
)
# Rules are mostly waiting.
_STALWART = (
    ("pytest", "-m", "system and not every", "tests/system/test_job_stalwart.py"),
    ("pytest", "-n", "5", "-m", "every", "tests/system/test_rules_stalwart.py"),
    ("pytest", "-n", "5", "-m", "every", "-k", "STALWART", "tests/system/test_digest.py"),
)
_CYRUS313 = (
    (
        *("pytest", "-n", "5", "-m", "every"),
        *("tests/system/test_rules_cyrus313.py", "tests/system/test_stream_cyrus313.py"),
    ),
    ("pytest", "-n", "5", "-m", "every", "-k", "CYRUS313", "tests/system/test_digest.py"),
)
_CYRUS_RULES = (
    *("pytest", "-n", "5", "-m", "every"),
    *("tests/system/test_rules.py", "tests/system/test_screening.py"),
)
# As ``pytest -rs`` tells it: with the number of tests and a place.
_SKIPPED = re.compile(r"SKIPPED \[\d+\] \S+: (.*)")
_UNIT = "not (sandbox or system or every)"


@dataclass(frozen=True, slots=True)
class Layer:
    """Modules to run in turn; ``obstacle`` says why they cannot run here, None where they can."""

    commands: tuple[Command, ...]
    obstacle: Callable[[], str | None] = lambda: None
    #: What it may take on two cores; more is told, and fails nothing.
    budget_seconds: int | None = None
    #: False: it need not run, even where all must.
    is_demanded: bool = True
    #: False: it runs only when named, and what fails in it is told and is nobody's fault here.
    is_ours: bool = True
    #: True: it runs only when named, because part of it runs in another layer anyway.
    is_extra: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """How a layer went: its last line, what failed in it, or why it did not run."""

    name: str
    verdict: str
    seconds: float
    line: str

    def __str__(self) -> str:
        budget = LAYERS[self.name].budget_seconds
        over = f" (over its budget of {budget} s)" if budget and self.seconds > budget else ""
        return f"{self.name:<13} {self.verdict:<8} {self.seconds:4.0f} s  {self.line}{over}"


def _system_obstacle() -> str | None:
    """Make the machine ready, and say what is in the way."""
    if os.geteuid() == 0 and prepare.main() != 0:
        return "the machine could not be made ready, see above"
    return prepare.obstacle()


def _forky_obstacle() -> str | None:
    return _system_obstacle() or prepare.forky_obstacle()


def _place_obstacle(variable: str) -> str | None:
    """Say that nobody has named the place of a server that the tests cannot get themselves."""
    return None if os.environ.get(variable) else f"{variable} names no server"


def _places(mark: str) -> tuple[str, ...]:
    """The files of tests that set this mark, and the folder whose conftest.py does: every worker
    reads all that it is given before it begins."""
    found = (path for path in Path("tests").rglob("*.py") if f"mark.{mark}" in path.read_text())
    return tuple(sorted(str(path.parent if path.name == "conftest.py" else path) for path in found))


LAYERS: Mapping[str, Layer] = {
    "lint": Layer(_LINT, budget_seconds=60),
    "test-unit": Layer((("pytest", *_EVENLY, "-n", "auto", "-m", _UNIT),), budget_seconds=240),
    # Mostly waiting for processes to start: more of them than cores.
    "test-sandbox": Layer(
        (("pytest", *_EVENLY, "-n", "4", "-m", "sandbox", *_places("sandbox")),),
        budget_seconds=180,
    ),
    "test-rules": Layer(
        (("pytest", *_EVENLY, "-n", "auto", "-m", "every", "tests/rules", "tests/screening"),),
        budget_seconds=150,
    ),
    "test-system": Layer((_SYSTEM, _CYRUS_RULES), _system_obstacle, budget_seconds=1260),
    # First evenings on fresh hosts, and secrets on all of them.
    "test-evening": Layer(
        (("pytest", "-m", "system", *_EVENINGS),),
        _system_obstacle,
        is_extra=True,
    ),
    "test-browser": Layer(
        (("pytest", "-m", "system", "tests/browser"),),
        _system_obstacle,
        is_extra=True,
    ),
    # Ten minutes of hosts that die and come back; the first is in make test.
    "test-cluster": Layer(
        (("pytest", "-m", "system", "tests/system/cluster"),),
        _system_obstacle,
        is_extra=True,
    ),
    # What it boots changes from day to day.
    "test-forky": Layer(
        (
            ("pytest", "-m", "system and not every", *_CYRUS_ALONE),
            _CYRUS_RULES,
        ),
        _forky_obstacle,
        is_demanded=False,
        is_ours=False,
        environment={"RELEASE": root.FORKY.release},
    ),
    **{
        f"test-{name.lower()}": Layer(
            (("pytest", "-m", "system", "-k", name, "tests/contract"), *further),
            partial(_place_obstacle, name),
            is_demanded=False,
        )
        for name, further in (("STALWART", _STALWART), ("CYRUS313", _CYRUS313))
    },
}


def main(names: Sequence[str]) -> int:
    """Run layers, all of ours without ``names``; 0 unless one of ours failed, or could not run and
    had to."""
    ours = [name for name, layer in LAYERS.items() if layer.is_ours and not layer.is_extra]
    with _table_of_servers():
        results = [_run(name, LAYERS[name]) for name in names or ours]
    say("")
    for result in results:
        say(str(result))
    must_run = os.environ.get("REQUIRE_ALL") == "1"
    return 1 if any(_is_bad(result, must_run=must_run) for result in results) else 0


@contextlib.contextmanager
def _table_of_servers() -> Iterator[None]:
    """With SERVERS=docs, what is run here on real servers goes into docs/servers.md; else no file
    of the project changes."""
    if os.environ.get("SERVERS") != "docs":
        yield
        return
    with tempfile.NamedTemporaryFile() as results:
        os.environ[servers.RESULTS] = results.name
        yield
        servers.draw(Path(results.name))


def _is_bad(result: Result, *, must_run: bool) -> bool:
    is_missed = result.verdict == "not run" and LAYERS[result.name].is_demanded
    is_failed = result.verdict == "failed" and LAYERS[result.name].is_ours
    return is_failed or (must_run and is_missed)


def _run(name: str, layer: Layer) -> Result:
    say(f"== {name}")
    began = time.monotonic()
    if reason := layer.obstacle():
        return Result(name, "not run", time.monotonic() - began, reason)
    outcomes = [run_command(command, layer.environment) for command in layer.commands]
    failures = [line for code, line in outcomes if code]
    verdict, lines = ("failed", failures) if failures else ("passed", [outcomes[-1][1]])
    return Result(name, verdict, time.monotonic() - began, "; ".join(lines))


def run_command(command: Command, more: Mapping[str, str]) -> tuple[int, str]:
    """Run a module, show what it prints; its exit code, and its last line with what skipped tests
    lack."""
    environment = {**os.environ, **more}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of six workers compiles all tests
    tells_skipped = ("-rs",) if command[0] == "pytest" else ()
    process = subprocess.Popen(
        [sys.executable, "-m", *command, *tells_skipped],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    line, missing = "", dict[str, None]()
    with process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if skipped := _SKIPPED.match(line):
                missing[skipped[1]] = None
    because = f" (skipped: {', '.join(missing)})" if missing else ""
    return process.returncode, line.rstrip("\n") + because


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
