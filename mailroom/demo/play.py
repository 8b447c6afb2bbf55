"""Set the stage, play, clear up."""

import sys
import tempfile
import time
from pathlib import Path

from mailroom.demo import prompt, story
from mailroom.demo.child import Child
from mailroom.demo.interrupts import Interrupted, Interrupts
from mailroom.demo.phone import Phone
from mailroom.demo.screen import Screen
from mailroom.demo.stage import Stage
from mailroom.sandbox import Sandbox, serve

USER, PASSWORD = "alice", "secret"
_POLL_INTERVAL_SECONDS = 2.0
_INTERRUPTED = 130


def play(stay: bool) -> int:
    """Play the demo; returns the exit code (see :func:`mailroom.demo.demo`)."""
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
