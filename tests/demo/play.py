"""Set the stage, play, clear up."""

import sys
import tempfile
import time
from pathlib import Path

from tests.demo import prompt, story
from tests.demo.child import Child
from tests.demo.interrupts import Interrupted, Interrupts
from tests.demo.phone import Phone
from tests.demo.screen import Screen
from tests.demo.stage import Stage
from tests.sandbox import Sandbox, serve

USER, PASSWORD = "alice", "secret"
_POLL_INTERVAL_SECONDS = 2.0
_INTERRUPTED = 130


def play(stay: bool) -> int:
    """Play the demo: 0 when all that it shows has happened, 1 when not, 130 after Ctrl+C.

    ``stay``: leave everything running at the end, with a prompt to play at.
    """
    screen = Screen(sys.stdout)
    began = time.monotonic()
    with Interrupts() as interrupts:
        try:
            _perform(screen, interrupts, stay)
        except Interrupted:
            screen.say("\nStopped.")
            return _INTERRUPTED
    return screen.verdict(time.monotonic() - began)


def _perform(screen: Screen, interrupts: Interrupts, stay: bool) -> None:
    sandbox = Sandbox(user=USER, password=PASSWORD)
    sandbox.standard_account()
    with tempfile.TemporaryDirectory(prefix="mailroom-demo-") as folder, serve(sandbox) as server:
        screen.title("Mailroom: one label on one mail files its sender for good")
        screen.say(f"A mail server in memory at {server.url}, and the real service on it.")
        with Child(Path(folder), server.url, USER, PASSWORD, _POLL_INTERVAL_SECONDS) as child:
            phone = Phone(server.url, USER, sandbox.authorization)
            stage = Stage(screen, interrupts, sandbox, child, phone)
            story.tell(stage)
            if stay:
                prompt.run(stage, server.url)
            story.stop(stage)
