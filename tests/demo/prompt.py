"""``--stay``: a prompt to play at, and the lines to try from another terminal."""

import json
import os
import shlex
import sys

from tests.demo import story
from tests.demo.interrupts import Interrupted
from tests.demo.phone import label_request
from tests.demo.stage import Sender, Stage, labels
from tests.sandbox import DEFAULT_CATEGORIES

_HELP = """\
   mail NAME           a mail of NAME comes in: bob, carol, parcel, anybody new
   tap NAME @ToFeed    that label, or another, on NAME's newest mail
   move NAME Feed      NAME's newest mail out of Screener, to Feed or another mailbox
   show [NAME]         what waits in Screener; or all about one sender
   push off|on         the server stops pushing, or does it again
   status              mailroom status
   help, quit"""

_WAIT_SECONDS = 0.2


def run(stage: Stage, url: str) -> None:
    """Do as told until ``quit``, Ctrl+D or Ctrl+C."""
    stage.screen.scene("Yours to play with")
    stage.screen.say(_HELP)
    stage.screen.say("\n   From another terminal:\n")
    stage.screen.say(_elsewhere(stage, url))
    try:
        _Prompt(stage).run()
    except Interrupted:
        stage.screen.end_prompt()
        stage.screen.say()


def _elsewhere(stage: Stage, url: str) -> str:
    """What can be pasted into another terminal; the last one is a phone's tap."""
    sender = story.CAROL
    request = label_request(
        stage.phone.user, stage.mails[sender][0], stage.sandbox.mailbox_id("@ToFeed")
    )
    watch = shlex.join([*stage.child.command("status"), "--watch"])
    curl = ("curl", "-s", "-H", f"Authorization: {stage.phone.authorization}")
    tap = ("-H", "Content-Type: application/json", "-d", json.dumps(request), f"{url}/jmap/")
    return "\n\n".join(
        [
            watch,
            f"curl -s --unix-socket {stage.child.socket} http://mailroom/status",
            f"# @ToFeed on a mail of {sender.address}\n{shlex.join([*curl, *tap])}",
        ]
    )


class _Prompt:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._screen = stage.screen

    def run(self) -> None:
        """Read commands; a file that ends leaves all running, a person's Ctrl+D ends it."""
        standard_input = sys.stdin.fileno()
        typed, is_open = b"", True
        self._screen.show_prompt()
        while True:
            if not self._stage.look([standard_input] if is_open else [], _WAIT_SECONDS):
                continue
            data = os.read(standard_input, 4096)
            is_open = bool(data)
            if not data and os.isatty(standard_input):
                self._screen.end_prompt()
                self._screen.say()
                return
            *lines, typed = (typed + data).split(b"\n")
            for line in lines:
                self._screen.end_prompt()
                words = line.decode("utf-8", "replace").split()
                if words == ["quit"]:
                    return
                self._obey(words)
            self._screen.show_prompt()

    def _obey(self, words: list[str]) -> None:
        match words:
            case []:
                pass
            case ["mail", name]:
                self._mail(self._sender(name))
            case ["tap", name, label]:
                self._tap(self._sender(name), label)
            case ["move", name, *mailbox]:
                self._move(self._sender(name), " ".join(mailbox))
            case ["show"]:
                story.show_screener(self._stage)
            case ["show", name]:
                story.show_sender(self._stage, self._sender(name))
            case ["push", "on" | "off" as way]:
                story.set_push(self._stage, is_on=way == "on")
            case ["status"]:
                story.show_status(self._stage)
            case _:
                self._screen.say(_HELP)

    def _sender(self, name: str) -> Sender:
        local_part = name.lower()
        known = {sender.address.partition("@")[0]: sender for sender in self._stage.mails}
        return known.get(local_part) or Sender(name.title(), f"{local_part}@example.org")

    def _mail(self, sender: Sender) -> None:
        number = len(self._stage.mails.get(sender, ())) + 1
        boxes = self._stage.deliver(sender, f"Mail number {number}")
        self._stage.act(f"a mail of {sender.address} comes in: {', '.join(sorted(boxes))}")

    def _tap(self, sender: Sender, label: str) -> None:
        stage = self._stage
        mails = stage.mails.get(sender)
        if not mails:
            self._screen.say(f"   no mail of {sender.address} yet")
        elif label not in labels():
            self._screen.say(f"   the labels are {', '.join(labels())}")
        else:
            seconds = story.tap(stage, mails[-1], label)
            self._screen.say(
                "   the label is still on" if seconds is None else f"   done in {seconds:.2f} s"
            )
            story.show_sender(stage, sender)

    def _move(self, sender: Sender, mailbox: str) -> None:
        stage = self._stage
        waiting = [mail for mail in stage.mails.get(sender, ()) if stage.is_waiting(mail)]
        if not waiting:
            self._screen.say(f"   no mail of {sender.address} waits")
        elif mailbox not in DEFAULT_CATEGORIES:
            self._screen.say(f"   the mailboxes are {', '.join(DEFAULT_CATEGORIES)}")
        else:
            seconds = story.drag(stage, waiting[-1], mailbox)
            self._screen.say(
                "   nothing has come of it" if seconds is None else f"   done in {seconds:.2f} s"
            )
            story.show_sender(stage, sender)
