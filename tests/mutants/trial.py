"""One mutant against its tests, in a child process: nothing on the disk is changed."""

import importlib
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, ModuleType

import pytest

from tests.mutants.mutations import Mutant, compiled
from tests.mutants.processes import in_child

# What takes long to load and is of others; the code under trial is loaded in the children only.
_PRELOADED = ("hypothesis", "radicale", "jsonschema", "yaml", "xdist", "pytest_timeout")
# How much longer than without the mutant a test may take before it counts as hanging, and what it
# takes to load them. On a busy machine the clock on the wall runs faster.
_PATIENCE = 4.0
_LOADING_SECONDS = 20.0
_WALL_PER_CPU = 10.0


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    HUNG = "hung"
    SURVIVED = "survived"
    UNREACHED = "not reached"
    SAME = "the same code"


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant of ``file`` (the module ``name``), and the tests to run, by stages: the first that
    fails ends it. ``seconds`` is what they take without it."""

    file: str
    name: str
    mutant: Mutant
    stages: tuple[tuple[str, ...], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended; ``by`` is the test that noticed."""

    trial: Trial
    fate: Fate
    by: str = ""

    @property
    def is_killed(self) -> bool:
        return self.fate in (Fate.KILLED, Fate.HUNG)


def preload() -> None:
    """To be called before any child is made, to save each of them half a second."""
    for name in _PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)


def carry_out(trial: Trial) -> Verdict:
    """Run the tests against the mutant."""
    code = compiled(Path(trial.file).read_text(), trial.mutant, str(Path(trial.file).resolve()))
    if code is None:
        return Verdict(trial, Fate.SAME)
    if not any(trial.stages):
        return Verdict(trial, Fate.UNREACHED)
    with TemporaryDirectory() as place:
        cpu = _LOADING_SECONDS + _PATIENCE * trial.seconds
        said = in_child(lambda: _run(trial, code, place), cpu, _WALL_PER_CPU * cpu)
    if said is None:
        return Verdict(trial, Fate.HUNG)
    failed = json.loads(said)
    return Verdict(trial, Fate.KILLED if failed else Fate.SURVIVED, failed)


def _run(trial: Trial, code: CodeType, place: str) -> str:
    """In the child: the first test that fails, or "", as JSON."""
    assert trial.name not in sys.modules, f"{trial.name} is loaded already, as it is"
    os.environ["TMPDIR"] = place
    sys.meta_path.insert(0, _Finder(trial.name, trial.file, code))
    for names in filter(None, trial.stages):
        stage = _Stage(names)
        options = ["-x", "--tb=no", "-p", "no:xdist", f"--basetemp={place}/pytest"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what was preloaded
        exit_code = pytest.main([*options, *stage.files], plugins=[stage])
        if exit_code != pytest.ExitCode.OK:
            return json.dumps(stage.failed or f"pytest ended with {exit_code!r}") + "\n"
    return json.dumps("") + "\n"


class _Stage:
    """Only these tests, in this order; Hypothesis tries the same every time, and keeps nothing."""

    def __init__(self, names: Sequence[str]) -> None:
        self.failed = ""
        self.files = list(dict.fromkeys(name.partition("::")[0] for name in names))
        self._rank = {name: number for number, name in enumerate(names)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        from hypothesis import Phase, settings  # noqa: PLC0415 - only in the child

        settings.register_profile(
            "mutants",
            settings(),
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
        )
        settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(chosen, key=lambda item: self._rank[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or f"{report.nodeid}, as it is loaded"


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, and gives it other code than its file has."""

    def __init__(self, name: str, file: str, code: CodeType) -> None:
        self._name = name
        self._file = str(Path(file).resolve())
        self._code = code

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._file, self._code)
        return importlib.util.spec_from_file_location(fullname, self._file, loader=loader)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, file: str, code: CodeType) -> None:
        super().__init__(name, file)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
