"""The story that the demo tells, scene by scene; what it says, it checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.demo.stage import Sender, Stage, label_of
from tests.sandbox import Fault, Response
from tests.sandbox.account import PROVENANCE_GROUP
from tests.sandbox.session import EVENT_PATH

BOB: Final = Sender("Bob's Tools", "bob@tools.example")
CAROL: Final = Sender("Carol Winter", "carol@example.net")
PARCEL: Final = Sender("Parcel Post", "parcel@post.example")
FRIEND: Final = Sender("Dora Lind", "dora@lind.example")
WEEKLY: Final = Sender("The Weekly", "news@weekly.example")

_MAILS: Final = (
    (BOB, "The autumn catalogue"),
    (CAROL, "Lunch on Thursday?"),
    (BOB, "A saw that sings"),
    (PARCEL, "Your parcel is on its way"),
    (BOB, "Twelve planes, one price"),
    (CAROL, "The photos of Sunday"),
)
_READING_SECONDS = 1.2
_OUTAGE: Final = Fault(path=EVENT_PATH, answer=Response(503))
_STOP_LIMIT_SECONDS = 1.0
_NEWS = 2
_TRIAGES, _MAILS_FILED = 5, 11  # Bob's three mails are filed twice


@dataclass(frozen=True, slots=True)
class Triage:
    """What a tap must lead to. ``chain``: the category and its ancestors."""

    sender: Sender
    chain: tuple[str, ...]
    verb: str = "Triaged"
    trigger: str = "push"
    also_in: str = ""

    @property
    def category(self) -> str:
        return self.chain[0]

    @property
    def mailboxes(self) -> set[str]:
        return {*self.chain, self.also_in} - {""}


def tell(stage: Stage) -> None:
    """Play everything up to the stop; what did not happen ends it, as the rest rests on it."""
    for scene in _SCENES:
        scene(stage)
        if stage.screen.failures:
            return
        stage.pause(_READING_SECONDS)


def stop(stage: Stage) -> None:
    """End the service, as systemd would."""
    stage.screen.scene("A clean stop")
    stage.act("SIGTERM")
    seconds = stage.child.stop()
    stage.show_log()
    stage.screen.claim(
        f"the service was gone {seconds * 1000:.0f} ms later, exit code {stage.child.exit_code}",
        stage.child.exit_code == 0 and seconds < _STOP_LIMIT_SECONDS,
    )


def tap(stage: Stage, mail_id: str, label: str) -> float | None:
    """Put a label on, and return the seconds until it was off; None if never."""
    count = _last_triage(stage)["number"]
    stage.tap(mail_id, label)
    if not stage.wait(lambda: label not in stage.sandbox.mailboxes_of(mail_id)):
        return None
    seconds = stage.seconds()
    stage.wait(lambda: _last_triage(stage)["number"] > count)
    return seconds


def drag(stage: Stage, mail_id: str, mailbox: str) -> float | None:
    """Move a mail, and return the seconds until its sender was triaged; None if never."""
    count = _last_triage(stage)["number"]
    stage.move(mail_id, mailbox)
    is_done = stage.wait(lambda: _last_triage(stage)["number"] > count)
    return stage.seconds() if is_done else None


def set_push(stage: Stage, is_on: bool) -> None:
    """Let the server push, or have it cut every stream and refuse new ones."""
    if is_on:
        stage.act("the server pushes again")
        stage.sandbox.faults.clear()
    else:
        stage.act("the server cuts push and refuses it from now on")
        stage.sandbox.faults.add(_OUTAGE)
        stage.sandbox.close_feeds()


def show_screener(stage: Stage) -> None:
    """Print what waits."""
    rows = [(sender.header, subject) for sender, subject in stage.waiting()]
    if rows:
        stage.screen.table(("From", "Subject"), rows)
    else:
        stage.screen.say("   nothing waits in Screener")


def show_sender(stage: Stage, sender: Sender) -> None:
    """Print where a sender's mail, contact and groups are now."""
    mails = [
        f"{subject:<28}{', '.join(sorted(boxes))}"
        for subject, boxes in stage.mailboxes(sender).items()
    ]
    groups = ", ".join(sorted(stage.groups(sender))) or "none"
    note = stage.note(sender) or ["no contact"]
    stage.screen.facts([("mail", mails), ("groups", [groups]), ("NOTE", note)])


def show_status(stage: Stage) -> None:
    """Print what ``mailroom status`` prints."""
    stage.screen.output(stage.child.run("status", stage.screen.environ))


def _open(stage: Stage) -> None:
    stage.write(FRIEND, "Are you in town?")
    for sender, subject in _MAILS:
        stage.deliver(sender, subject)
    stage.screen.scene("Mail of unknown senders waits in Screener")
    show_screener(stage)
    stage.act("the service starts")
    is_up = stage.wait(lambda: stage.child.is_listening and stage.status()["poll_count"] > 0)
    push = stage.status()["eventsource"]
    stage.screen.claim("push is connected, and one poll is done", is_up and push["connected"])


def _friend(stage: Stage) -> None:
    stage.screen.scene("A friend writes: her mail does not wait")
    stage.settle()
    stage.deliver(FRIEND, "Re: Are you in town?")
    stage.act(f"a mail of {FRIEND.address} comes in; you wrote to her last week")
    mail_id = stage.mails[FRIEND][0]
    is_in = stage.wait(lambda: stage.sandbox.mailboxes_of(mail_id) == {"Inbox"})
    seconds = stage.seconds()
    stage.wait(lambda: _arrivals(stage, "written") == 1)
    stage.screen.claim(f"it was in Inbox after {seconds:.2f} s", is_in)
    stage.screen.claim(
        "no contact, no decision: that you have written to her is enough",
        not stage.note(FRIEND) and not stage.groups(FRIEND),
    )


def _first_triage(stage: Stage) -> None:
    stage.screen.scene("On the phone: one label on one mail of the sender")
    _tap_and_check(stage, Triage(BOB, ("Feed",)))


def _change_of_mind(stage: Stage) -> None:
    stage.screen.scene("A change of mind: another label, on any of the sender's mails")
    _tap_and_check(stage, Triage(BOB, ("Billboard", "Paper Trail"), verb="Re-triaged"))


def _outage(stage: Stage) -> None:
    stage.screen.scene("Push fails: polls find the label")
    set_push(stage, is_on=False)
    is_lost = stage.wait(lambda: not stage.status()["eventsource"]["connected"])
    stage.screen.claim("the service knows that push is lost", is_lost)
    interval = stage.status()["poll_interval_seconds"]
    stage.screen.say(f"   (it polls every {interval:g} s here, 60 s by default)")
    _tap_and_check(stage, Triage(CAROL, ("Imbox",), trigger="fallback", also_in="Inbox"))


def _recovery(stage: Stage) -> None:
    stage.screen.scene("Push comes back")
    set_push(stage, is_on=True)
    is_back = stage.wait(lambda: bool(stage.status()["totals"]["polls"].get("reconnect")))
    stage.screen.claim("push is connected, and one poll has looked for what was missed", is_back)
    _tap_and_check(stage, Triage(PARCEL, ("Truck", "Paper Trail")))


def _drag(stage: Stage) -> None:
    stage.screen.scene("Without a label: one mail is moved, in any mail program")
    for subject in ("Week 47", "Week 48"):
        stage.deliver(WEEKLY, subject)
    first, second = stage.mails[WEEKLY]
    stage.wait(lambda: _arrivals(stage, "unknown") == _NEWS)
    show_screener(stage)
    seconds = drag(stage, first, "Feed")
    stage.screen.say()
    show_sender(stage, WEEKLY)
    stage.screen.say()
    after = "" if seconds is None else f" after {seconds:.2f} s"
    followed = stage.sandbox.mailboxes_of(second) == {"Feed"}
    stage.screen.claim(f"the other mail had followed{after}", seconds is not None and followed)
    triage = Triage(WEEKLY, ("Feed",))
    stage.screen.claim("contact, group and NOTE are as after a label", _is_done(stage, triage))


def _status(stage: Stage) -> None:
    stage.screen.scene("mailroom status")
    show_status(stage)
    totals = stage.status()["totals"]
    stage.screen.say()
    stage.screen.claim(
        "five triages, eleven mails filed (Bob's three twice), no error",
        sum(totals["senders_triaged"].values()) == _TRIAGES
        and totals["mails_filed"] == _MAILS_FILED
        and not sum(totals["errors"].values()),
    )


def _tap_and_check(stage: Stage, triage: Triage) -> None:
    """Tap, wait until the label is off, and look at everything that should have come of it."""
    if triage.trigger == "push":
        stage.settle()
    screen, sender = stage.screen, triage.sender
    seconds = tap(stage, stage.mails[sender][0], label_of(triage.category))
    screen.say()
    show_sender(stage, sender)
    screen.say()
    after = "" if seconds is None else f" after {seconds:.2f} s"
    screen.claim(f"the label was off{after}", seconds is not None)
    trigger = _last_triage(stage)["trigger"]
    screen.claim(f"the poll that saw it: trigger {triage.trigger}", trigger == triage.trigger)
    screen.claim("mail, contact groups and NOTE are as they should be", _is_done(stage, triage))


def _is_done(stage: Stage, triage: Triage) -> bool:
    note = stage.note(triage.sender)
    return (
        all(boxes == triage.mailboxes for boxes in stage.mailboxes(triage.sender).values())
        and stage.groups(triage.sender) == {*triage.chain, PROVENANCE_GROUP}
        and bool(note)
        and note[-1].startswith(f"{triage.verb} to {triage.category} on ")
    )


def _arrivals(stage: Stage, outcome: str) -> int:
    """Return for how much new mail that has been decided."""
    number: int = stage.status()["totals"]["arrivals"].get(outcome, 0)
    return number


def _last_triage(stage: Stage) -> Mapping[str, Any]:
    """Return the newest triage of the service's status; number 0 when there was none."""
    none = {"number": 0, "trigger": None}
    return next(reversed(stage.status()["recent_triages"]), none)


_SCENES: Final = (
    *(_open, _friend, _first_triage, _change_of_mind, _outage, _recovery, _drag, _status),
)
