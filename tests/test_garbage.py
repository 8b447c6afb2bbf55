"""What holds itself and waits for Python to look for it: nothing that the service does all day
leaves any, and to look does not hold the accounts up."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType, MethodType

import pytest

from mailroom.engine.garbage import GarbageCollection
from mailroom.engine.loop import Loop
from tests.peer import always, answer
from tests.process import ROOT
from tests.test_door import house
from tests.test_endpoint import GET, Client, Service
from tests.test_transfer import Wire
from tests.virtual import VirtualClock


def _name(thing: object) -> str:
    """Where it comes from: its class, and of a function, a method or a frame the code."""
    if isinstance(thing, FrameType):
        return f"{thing.f_globals.get('__name__')}.{thing.f_code.co_qualname}"
    named = thing if isinstance(thing, FunctionType | MethodType) else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


@contextmanager
def finding() -> Iterator[Callable[[], set[str]]]:
    """What of ours has been left to the collector since; it does not look before that."""
    gc.freeze()  # what other tests have left is not ours
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)

    def found() -> set[str]:
        gc.collect()
        return {name for name in map(_name, gc.garbage) if name.startswith("mailroom.")}

    try:
        yield found
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


def test_arrivals_and_taps_leave_no_garbage() -> None:
    world = house("mailroom")
    with finding() as found:
        mail = world.sandbox.deliver("Bob <bob@example.org>", mailbox="Inbox")
        world.run_for(10)
        world.sandbox.label(mail, "@ToFeed")
        world.run_for(130)  # two polls that find nothing, too
        assert world.sandbox.mails_in("Feed") == {mail}
        # What Python 3.13's iterparse leaves; without the body that was read (tests/test_dav.py).
        assert found() <= {"mailroom.wire.dav._Pieces"}


def test_answers_leave_no_garbage(tmp_path: Path) -> None:
    with finding() as found:
        service = Service(tmp_path / "socket")
        client = Client(service)
        client.send(GET)
        assert client.answer()[0] == 200
        client.hang_up()
        service.loop.turn()
        assert service.client_count == 0
        assert found() == set()
    service.endpoint.drain(0)
    service.loop.close()


def test_requests_leave_no_garbage() -> None:
    wire = Wire()
    with finding() as found:
        assert wire.ask(always(answer(b"hello"))).body == b"hello"
        wire.settle()
        assert found() == set()
    wire.close()


class _Held:
    """What can be seen to go."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop(VirtualClock())
    yield loop
    loop.close()


@pytest.fixture
def collection(loop: Loop) -> Iterator[GarbageCollection]:
    gc.collect()
    thresholds = gc.get_threshold()
    collection = GarbageCollection(loop)
    yield collection
    collection.stop()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_it_is_looked_for_every_ten_minutes_when_there_is_nothing_else_to_do(
    loop: Loop, collection: GarbageCollection
) -> None:
    circle: list[object] = [_Held()]
    circle.append(circle)
    held = weakref.ref(circle[0])
    del circle
    clock = loop.now()
    while loop.now() < clock + 590:
        loop.call_at(loop.now() + 60, lambda: None)
        loop.turn()
    assert held() is not None
    loop.call_soon(lambda: None)
    loop.call_at(loop.now() + 60, lambda: None)
    loop.turn()
    assert held() is not None
    loop.turn()
    loop.call_at(loop.now() + 60, lambda: None)
    loop.turn()
    assert held() is None


def test_what_takes_long_to_look_at_is_looked_at_once(collection: GarbageCollection) -> None:
    many: list[list[int]] = [[] for _ in range(500_000)]
    gc.collect()
    assert gc.get_freeze_count() > len(many) // 2
    collection.collect_all_again()
    assert gc.get_freeze_count() == 0


def test_nothing_is_looked_for_while_the_service_is_imported(tmp_path: Path) -> None:
    code = (
        "import gc, os, sys\n"
        "from mailroom.cli import main\n"
        "def end(code): print(begun, gc.isenabled(), 'mailroom.service' in sys.modules)\n"
        "begun, os._exit = [], end\n"
        "gc.collect()\n"
        "def watch(phase, info): begun.append('mailroom.service' in sys.modules)\n"
        "gc.callbacks.append(watch)\n"
        f"main(['run', '--config', {str(tmp_path / 'missing.yaml')!r}])\n"
    )
    child = [sys.executable, "-c", code]
    told = subprocess.run(child, capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.stdout == "[] True True\n", told.stderr[-500:]
