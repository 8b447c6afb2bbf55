"""The house keeps its floors: who may import whom, read from the source (docs/architecture.md).

A floor imports from itself and from lower ones. The ground floor decides and parses: it touches
neither the kernel nor a clock, so that it can be tested by calling it.
"""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mailroom"
FLOORS = {"errors": 0, "schema": 0, "wire": 0, "rules": 0, "engine": 1, "work": 2, "terminal": 3}
TOP = 3  # as the service and the commands
# The rooms of work/, each of which may use those before it.
ROOMS = ("session", "mail", "contacts", "screening", "polling", "account", "setup")

# What the kernel, time, chance and the environment are reached by.
IMPURE = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "glob", "http.client", "io", "logging"),
    *("multiprocessing", "os", "pathlib", "pycurl", "queue", "random", "resource", "sdnotify"),
    *("secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys"),
    *("syslog", "tempfile", "threading", "urllib.request", "warnings"),
}
# Of these two only what computes with a given time.
TELLS_THE_TIME = {
    *("time.time", "time.monotonic", "time.clock_gettime", "time.perf_counter", "time.sleep"),
    *("time.localtime", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
}
NOT_OURS = {"asyncio", "concurrent", "multiprocessing", "queue", "threading", "_thread"}
# Loaded only in a child that ends, or for a person at a terminal (docs/performance.md).
HEAVY = (
    *("rich", "jsonschema", "yaml", "nameparser", "publicsuffix2", "asyncio", "dns"),
    "tests",
    *("argparse", "hashlib", "lzma", "shutil"),
)
# Loaded for who has contacts that way, has digests, or asks and watches by commands.
BY_CARDDAV = {
    "mailroom.work.contacts.cards",
    "mailroom.work.contacts.index",
    "mailroom.wire.dav",
    "xml",
}
BY_JMAP = {"mailroom.work.contacts.cardbook", "mailroom.rules.contacts.cardset"}
SELDOM = {
    *("mailroom.work.account.digest", "mailroom.rules.status.digest", "textwrap"),
    *(
        "mailroom.work.account.commands",
        "mailroom.work.screening.listing",
        "mailroom.work.polling.preview",
    ),
    *("mailroom.wire.previews", "mailroom.wire.htmltext", "html", "mailroom.work.account.watching"),
    *(
        "mailroom.work.setup.setup",
        "mailroom.work.setup.reset",
        "mailroom.work.setup.routing",
        "random",
    ),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(), str(path))


MODULES = dict(modules())
FLOOR_0 = [name for name in MODULES if FLOORS.get(name.partition(".")[2].split(".")[0]) == 0]


@functools.cache
def imports(name: str) -> set[str]:
    """Every module that ``name`` imports, wherever in its source."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            module = node.module or ""
            submodules = {f"{module}.{alias.name}" for alias in node.names}
            found |= (submodules & MODULES.keys()) or {module}
    return found


def floor(name: str) -> int:
    room = name.removeprefix("mailroom").removeprefix(".").split(".")[0]
    return FLOORS.get(room, 0 if not room else TOP)


def rooted(module: str, roots: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_its_own_floor_or_lower_ones(name: str) -> None:
    inside = {module for module in imports(name) if rooted(module, {"mailroom"})}
    assert {module: floor(module) for module in inside if floor(module) > floor(name)} == {}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("mailroom.work.")])
def test_a_room_of_work_uses_only_those_before_it(name: str) -> None:
    def order(module: str) -> int:
        return ROOMS.index(module.split(".")[2])

    others = {module for module in imports(name) if module.startswith("mailroom.work.")}
    assert {module for module in others if order(module) > order(name)} == set()


@pytest.mark.parametrize("name", MODULES)
def test_formats_know_nothing_of_decisions(name: str) -> None:
    if name.startswith("mailroom.wire"):
        assert not any(rooted(module, {"mailroom.rules"}) for module in imports(name))


@pytest.mark.parametrize("name", FLOOR_0)
def test_the_ground_floor_touches_neither_kernel_nor_clock(name: str) -> None:
    assert {module for module in imports(name) if rooted(module, IMPURE)} == set()
    calls = [node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)]
    called = {ast.unparse(function) for function in calls}
    assert {call for call in called if call.removeprefix("datetime.") in TELLS_THE_TIME} == set()
    assert called.isdisjoint({"open", "print", "input"})


@pytest.mark.parametrize("name", MODULES)
def test_nothing_of_the_service_knows_the_tests(name: str) -> None:
    assert not any(rooted(module, {"tests"}) for module in imports(name))


@pytest.mark.parametrize("name", MODULES)
def test_the_service_has_no_thread_and_no_second_loop(name: str) -> None:
    assert {module for module in imports(name) if rooted(module, NOT_OURS)} == set()


@pytest.mark.parametrize("name", MODULES)
def test_no_two_modules_import_each_other(name: str) -> None:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for module in imports(waiting.pop()) & MODULES.keys():
            assert module != name, f"{name} imports itself in a circle"
            if module not in reached:
                reached.add(module)
                waiting.append(module)


def test_the_running_service_loads_nothing_heavy() -> None:
    loaded = modules_after("import mailroom.cli, mailroom.service")
    assert "mailroom.service" in loaded
    assert {module for module in HEAVY if module in loaded} == set()


@pytest.mark.parametrize(
    ("used", "unused"),
    [
        ("mailroom.service", BY_CARDDAV | BY_JMAP | SELDOM),
        ("mailroom.service, mailroom.work.contacts.carddav", BY_JMAP | SELDOM),
        ("mailroom.service, mailroom.work.contacts.jmap_contacts", BY_CARDDAV | SELDOM),
    ],
)
def test_what_an_account_does_not_use_is_not_loaded(used: str, unused: set[str]) -> None:
    assert modules_after(f"import {used}") & unused == set()


def modules_after(script: str) -> set[str]:
    """All that a process has loaded that has done this."""
    telling = f"{script}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    child = subprocess.run(
        [sys.executable, "-c", telling],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return set(json.loads(child.stdout))


def test_every_room_has_a_floor() -> None:
    """So that a new folder is given one on purpose."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms <= FLOORS.keys()
