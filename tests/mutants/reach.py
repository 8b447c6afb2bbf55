"""Which tests reach which lines: the quick tests are run once, each under a tracer.

As a plugin (``-p tests.mutants.reach --reach=FOLDER``) it writes, per process, what its tests ran.
Tests that fail, be it only because tracing is slow, tell nothing about mutants: they are left out.
Of a test that starts other processes only what it runs itself counts.
"""

import ast
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from tests.mutants.processes import die_with_parent

_Local = Callable[[FrameType, str, Any], Any]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a test ran: seconds of CPU, and by file its lines, line n as bit n."""

    seconds: float
    lines: Mapping[str, int]


@dataclass(slots=True)
class Reach:
    """All tests by their ids, and the ids of those that failed."""

    tests: dict[str, Ran] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def of_lines(self, file: str, lines: range) -> Iterator[str]:
        """The tests that run one of the lines."""
        mask = sum(1 << line for line in lines)
        return (name for name, ran in self.tests.items() if ran.lines.get(file, 0) & mask)

    def of_module(self, file: str, module: str) -> Iterator[str]:
        """The tests that run anything of it after its import, or stand in a file that imports it:
        what was made when it was loaded they may look at."""
        for name, ran in self.tests.items():
            if file in ran.lines or module in _imports(name.partition("::")[0]):
                yield name


def measure(folders: Sequence[str], tests: Sequence[str], jobs: int) -> Reach:
    """Run the tests that pytest's arguments ``tests`` choose, and note what of the code in
    ``folders`` they reach. Raises RuntimeError where none could be run."""
    reach = Reach()
    with TemporaryDirectory() as place:
        options = ["-p", "tests.mutants.reach", f"--reach={place}"]
        options += [f"--reach-of={folder}" for folder in folders]
        command = [sys.executable, "-m", "pytest", "--tb=no", "-n", str(jobs), *options, *tests]
        done = subprocess.run(
            [*command, "--dist=worksteal"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent,
        )
        for path in sorted(Path(place).iterdir()):
            part: Reach = pickle.loads(path.read_bytes())
            reach.tests |= part.tests
            reach.failed |= part.failed
    if done.returncode not in (0, 1) or not reach.tests:
        raise RuntimeError(f"the tests cannot be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    for name in reach.failed:
        reach.tests.pop(name, None)
    return reach


@cache
def _imports(file: str) -> frozenset[str]:
    """The modules that a file of tests names."""
    nodes = list(ast.walk(ast.parse(Path(file).read_bytes())))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in froms]
    return frozenset(
        names + [f"{node.module}.{each.name}" for node in froms for each in node.names]
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reach", help="the folder to write to")
    parser.addoption("--reach-of", action="append", help="a folder of code")


def pytest_configure(config: pytest.Config) -> None:
    folders = [str(Path(each).resolve()) + os.sep for each in config.getoption("--reach-of")]
    config.pluginmanager.register(_Recorder(config.getoption("--reach"), tuple(folders)))


class _Recorder:
    """Traces the code of each test: its fixtures, itself, and what it leaves to be torn down."""

    def __init__(self, place: str, folders: tuple[str, ...]) -> None:
        self._place = place
        self._folders = folders
        self._reach = Reach()
        self._lines: dict[str, set[int]] = {}
        # By the file name of the code: what follows its lines; None where it is not of interest.
        self._locals: dict[str, _Local | None] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._lines.clear()
        self._locals.clear()
        began = time.process_time()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            seconds = time.process_time() - began
            lines = {
                os.path.relpath(name): sum(1 << line for line in found)
                for name, found in self._lines.items()
            }
            self._reach.tests[item.nodeid] = Ran(seconds, lines)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reach.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        Path(self._place, str(os.getpid())).write_bytes(pickle.dumps(self._reach))

    def _trace(self, frame: FrameType, event: str, arg: object) -> _Local | None:
        name = frame.f_code.co_filename
        try:
            return self._locals[name]
        except KeyError:
            follow = self._follow(name) if name.startswith(self._folders) else None
            self._locals[name] = follow
            return follow

    def _follow(self, name: str) -> _Local:
        add = self._lines.setdefault(name, set()).add

        def follow(frame: FrameType, event: str, arg: object) -> _Local:
            if event == "line":
                add(frame.f_lineno)
            return follow

        return follow
