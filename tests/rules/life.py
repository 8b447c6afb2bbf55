"""A user's life with the service, made up at random: some things are so whatever is done, and when.

A life is a list of steps. Some are done when all is at rest, others around the next requests of the
service. Then the account comes to rest, and every sender is triaged once more: from wherever things
are by then, that ends where one label on one mail always ends.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from mailroom.engine.journal import Level
from mailroom.rules.contacts.roster import category_of
from tests.sandbox import CYRUS_3_10, Entry, Fault, Profile
from tests.world import BOOK, World

T = TypeVar("T")

SENDERS = (
    "Bob <bob@example.org>",
    "Carol <Carol@Example.org>",
    "Ann Ark <ann@example.org>",
    "Annie <annie@example.org>",
    "Bob Smith",
)
#: Nobody ever labels his mail.
STRANGER = "Fred <fred@example.org>"
LABELS = ("@ToFeed", "@ToJail", "@ToImbox", "@ToTruck", "@ToPerson", "@ToPaperTrail", "@ToScreener")
PLACES = ("Screener", "Inbox", "Archive", "Trash", "Holidays", "Feed", "Jail", "@ToFeed", "@ToJail")
GROUPS = ("Feed", "Jail", "Imbox", "Truck", "Mailroom")
#: Mailroom puts nothing there and takes nothing away; but Inbox, into which new mail may come.
FOREIGN = frozenset({"Inbox", "Archive", "Trash", "Holidays"})
MARKS = frozenset({"@MailroomError", "@MailroomWarning"})

_CARDS = {
    "ann": "FN:Ann Ark\nN:Ark;Ann;;;\nEMAIL:ann@example.org\nEMAIL;TYPE=HOME:Annie@example.org\n"
    "NOTE:met in Oslo\nX-FOREIGN:kept\n",
    "fred": "FN:Fred\nN:;;;;\nEMAIL:fred@example.org\n",
    "choir": "FN:Choir\nN:;;;;\nX-ADDRESSBOOKSERVER-KIND:group\n"
    "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:ann\n",
}
_MEMBER = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:"
_DAY = 86400.0


class Killed(Exception):
    """What kill -9 is to a process."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the user does, to what the numbers choose. ``at`` is 0, or around which
    request from now on; ``rest_seconds`` pass afterwards."""

    verb: str
    one: int
    two: int
    at: int = 0
    rest_seconds: float = 20.0


class Life:
    """One account, its service and its user; ``kept`` is where the user wants each mail besides
    what is Mailroom's matter, ``once`` where it has ever been so."""

    def __init__(self, profile: Profile = CYRUS_3_10, by: str = "carddav") -> None:
        self.world = World(profile, {**BOOK, "contacts": {"by": by}})
        self.sandbox = self.world.sandbox
        self.mails: dict[str, str] = {}
        self.kept: dict[str, set[str]] = {}
        self.once: dict[str, set[str]] = {}
        self._is_renamed = self._is_broken = False
        self._pending: list[tuple[int, Step]] = []
        self.sandbox.create_mailbox("Holidays")
        for uid, lines in _CARDS.items():
            self._put(uid, f"BEGIN:VCARD\nVERSION:3.0\nUID:{uid}\n{lines}END:VCARD\n")
        for number, sender in enumerate((*SENDERS, STRANGER)):
            self._receive(sender, PLACES[number % 3], _DAY)
            self._receive(sender, "Screener", _DAY)
        self._untouched = {uid: self._card(uid) for uid in ("fred", "choir")}
        self.sandbox.before(lambda entry, _: self._disturb(entry, 0))
        self.sandbox.after(lambda entry, *_: self._disturb(entry, 1))

    def live(self, steps: Sequence[Step], labels: Sequence[int]) -> None:
        """Do all of it, then demand what has to be so. ``labels`` are the last ones."""
        world = self.world
        world.start()
        self.sandbox.controls.delay_seconds = 0.05
        began, polls = world.clock.now(), world.polls
        self.act(steps)
        world.run_for(200.0)
        self._check()
        if {step.verb for step in steps} <= _UNDISTURBED:
            self._check_outcome()
        minutes = (world.clock.now() - began) / 60
        assert world.polls - polls <= 2 * minutes + 4 * len(steps) + 10
        self._check_last_labels(labels)

    # What the user does

    def act(self, steps: Sequence[Step]) -> None:
        """Do all of it, whatever comes of it."""
        for step in steps:
            if step.at and step.verb not in _AT_REST:
                self._pending.append((self.world.request_count + step.at, step))
            else:
                self._act(step)
                self._run_for(step.rest_seconds)
        self._catch_up()

    def _run_for(self, seconds: float) -> None:
        """Time passes, also when the process is killed meanwhile."""
        end = self.world.clock.now() + seconds
        while True:
            try:
                self.world.run_for(end - self.world.clock.now())
            except Killed:
                self._restart()
            else:
                return

    def _disturb(self, entry: Entry, moment: int) -> None:
        due = [
            (at, step)
            for at, step in self._pending
            if at == entry.number and step.two % 2 == moment and not entry.is_stream
        ]
        for each in due:
            self._pending.remove(each)
            if each[1].verb == "restart":
                raise Killed
            self._act(each[1])

    def _catch_up(self) -> None:
        for _, step in self._pending:
            self._act(step)
        self._pending.clear()
        if self._is_renamed:
            self._rename()
        self.sandbox.faults.clear()

    def _act(self, step: Step) -> None:
        acts: Mapping[str, Callable[[], None]] = {
            "label": lambda: self._label(self._mail(step.one), _pick(LABELS, step.two)),
            "unlabel": lambda: self._unlabel(self._mail(step.one)),
            "unlabel all": lambda: self._unlabel_all(_pick(SENDERS, step.one)),
            "move": lambda: self._move(self._mail(step.one), _pick(PLACES, step.two)),
            "add": lambda: self._add(self._mail(step.one), _pick(PLACES, step.two)),
            "deliver": lambda: self._receive(_pick((*SENDERS, STRANGER), step.one), "Screener"),
            "edit": lambda: self._edit(step.one, step.two),
            "delete card": lambda: self._delete(step.one),
            "write card": lambda: self._write(step.one),
            "join": lambda: self._join(step.one, _pick(GROUPS, step.two)),
            "leave": lambda: self._leave(step.one, _pick(GROUPS, step.two)),
            "rename": self._rename,
            "restart": self._restart,
            "break": lambda: self._break(step.one, step.two),
            "drop stream": self.sandbox.close_feeds,
            "forget tokens": self.sandbox.forget_sync_tokens,
            "renew session": self.sandbox.renew_session,
        }
        acts[step.verb]()

    def _mail(self, number: int) -> str:
        return _pick([mail for mail, sender in self.mails.items() if sender != STRANGER], number)

    def _receive(self, sender: str, place: str, age: float = 0.0) -> None:
        at = self.world.clock.wall() - age
        mail = self.sandbox.deliver(sender, mailbox=place, received_at=at)
        self.mails[mail] = sender
        self.kept[mail] = {place} & FOREIGN
        self.once[mail] = set(self.kept[mail])

    def _label(self, mail: str, label: str) -> None:
        self.sandbox.label(mail, label)

    def _unlabel(self, mail: str) -> None:
        places = self.sandbox.mailboxes_of(mail)
        for label in sorted(places.intersection(LABELS))[: len(places) - 1]:
            self.sandbox.unlabel(mail, label)

    def _unlabel_all(self, sender: str) -> None:
        for mail in self._mails_of(sender):
            if self.sandbox.mailboxes_of(mail) <= {*LABELS}:
                self.sandbox.label(mail, "Screener")
            self._unlabel(mail)

    def _move(self, mail: str, place: str) -> None:
        self.sandbox.move(mail, self._now_called(place))
        self.kept[mail] = {place} & FOREIGN
        self.once[mail] |= self.kept[mail]

    def _add(self, mail: str, place: str) -> None:
        self.sandbox.label(mail, self._now_called(place))
        self.kept[mail] |= {place} & FOREIGN
        self.once[mail] |= self.kept[mail]

    def _now_called(self, place: str) -> str:
        return "News" if self._is_renamed and place == "Feed" else place

    def _rename(self) -> None:
        self.sandbox.rename_mailbox(*(("News", "Feed") if self._is_renamed else ("Feed", "News")))
        self._is_renamed = not self._is_renamed

    def _break(self, number: int, way: int) -> None:
        """One of the next requests fails, before or after it has taken effect."""
        self._is_broken = True
        moment: Literal["before", "after"] = "after" if way % 2 else "before"
        self.sandbox.faults.add(Fault(nth=number % 8 + 1, breaks=moment))

    def _restart(self) -> None:
        self.world.boot()
        self.world.account.start()

    # The user's address book

    def contacts(self) -> dict[str, str]:
        """Unfolded cards by href, groups, the choir and the stranger left out."""
        return {
            href: text.replace("\r\n ", "")
            for href, text in self.sandbox.cards().items()
            if "KIND:GROUP" not in text.upper() and not href.endswith("/fred.vcf")
        }

    def _put(self, uid: str, text: str) -> None:
        self.sandbox.put_card(text.replace("\n", "\r\n"), f"{uid}.vcf")

    def _card(self, uid: str) -> str:
        return next(t for href, t in self.sandbox.cards().items() if href.endswith(f"/{uid}.vcf"))

    def _edit(self, number: int, way: int) -> None:
        if not (contacts := sorted(self.contacts().items())):
            return
        href, text = _pick(contacts, number)
        new = (
            text.replace("\r\nFN:", "\r\nFN:Dr. ", 1),
            text.replace("END:VCARD", "TEL:+47 12345\r\nEND:VCARD"),
            re.sub(r"\r\nNOTE([^:]*):", r"\r\nNOTE\1:mine\\n", text, count=1),
        )[way % 3]
        self.sandbox.put_card(new, href.rpartition("/")[2])

    def _delete(self, number: int) -> None:
        if contacts := sorted(self.contacts()):
            self.sandbox.delete_card(_pick(contacts, number))

    def _write(self, number: int) -> None:
        address = address_of(_pick(SENDERS, number)) or "nobody@example.org"
        uid = f"mine-{number % len(SENDERS)}"
        self._put(uid, f"BEGIN:VCARD\nVERSION:3.0\nUID:{uid}\nFN:Mine\nN:;Mine;;;\n"
                       f"EMAIL:{address}\nX-MINE:yes\nEND:VCARD\n")  # fmt: skip

    def _join(self, number: int, group: str) -> None:
        if contacts := sorted(self.contacts().values()):
            line = f"{_uid(_pick(contacts, number))}\r\n"
            self._edit_group(group, lambda text: text.replace("END:V", f"{_head(text)}{line}END:V"))

    def _leave(self, number: int, group: str) -> None:
        if contacts := sorted(self.contacts().values()):
            line = f"{_uid(_pick(contacts, number))}\r\n"
            self._edit_group(group, lambda text: text.replace(f"{_head(text)}{line}", ""))

    def _edit_group(self, name: str, change: Callable[[str], str]) -> None:
        for href, text in self.sandbox.cards().items():
            if f"\r\nFN:{name}\r\n" in text and "KIND:GROUP" in text.upper():
                self.sandbox.put_card(change(text), href.rpartition("/")[2])

    # What has to be so

    def _mails_of(self, sender: str) -> list[str]:
        return [mail for mail, its in self.mails.items() if its == sender]

    def _places(self, sender: str | None = None) -> dict[str, set[str]]:
        """KeyError where a mail is no more: nobody has deleted any."""
        return {
            mail: self.sandbox.mailboxes_of(mail)
            for mail, its in self.mails.items()
            if sender in (None, its)
        }

    def _check(self) -> None:
        """Whatever was done: nothing is lost, nothing of the user's is touched, all is at rest."""
        for mail, places in self._places().items():
            assert places, "in no mailbox"
            foreign = places & FOREIGN
            assert foreign >= self.kept[mail], "taken away from where the user has put it"
            assert foreign - {"Inbox"} <= self.once[mail], "put where it never was"
        for sender in SENDERS:
            self._check_marks(sender)
        for uid, text in self._untouched.items():
            assert self._card(uid) == text
        loud = [each for each in self.world.events if each[0] <= Level.WARNING]
        expected = _EXPECTED | (_BROKEN if self._is_broken else frozenset())
        assert {event for _, event, _ in loud} <= expected, loud
        self._check_rest()

    def _check_marks(self, sender: str) -> None:
        """Labels stay for a reason only, and so does the error label."""
        names = self._of_one_contact(sender)
        places = {mail: found for name in names for mail, found in self._places(name).items()}
        labels = {label for found in places.values() for label in found.intersection(LABELS)}
        addresses = {address_of(name) for name in names}
        if None in addresses:
            assert not labels
            return
        failing = {each["sender"] for each in self.world.status["failing_senders"]}
        assert len(labels) != 1 or addresses & failing, f"{names} still have {labels}"
        for found in places.values():
            is_in_conflict = len(labels) > 1 and bool(found.intersection(LABELS))
            assert ("@MailroomError" in found) is is_in_conflict, (sender, found, labels)

    def _check_rest(self) -> None:
        world = self.world
        number, polls = world.request_count, world.polls
        world.account.poll_now()
        world.run_for(125.0)
        requests = world.requests_since(number)
        assert world.polls - polls <= 4
        assert not [entry for entry in requests if entry.method in ("PUT", "DELETE")]
        sets = {"Email/set", "ContactCard/set"}
        assert not [entry for entry in requests if sets.intersection(entry.calls)]

    def _check_outcome(self) -> None:
        """Nobody but the service has changed a thing: who has no label any more is in the groups
        of one chain, as the note of a created contact says, and so is the mail."""
        triage = self.world.config.triage
        for sender in SENDERS[:-1]:
            places, cards = self._places(sender), self._cards_of(sender)
            # Ann and Annie have one contact: they are one sender.
            names = [its for its in SENDERS if its == sender or ("Ann" in sender and "Ann" in its)]
            found_with = [found for its in names for found in self._places(its).values()]
            if any(found.intersection(LABELS) for found in found_with):
                continue
            groups = [self._groups_of(_uid(card)) for card in cards]
            joined = set().union(*groups)
            assert all(found in (set(), joined) for found in groups), (sender, groups)
            notes = [name for card in cards for name in _TRIAGED.findall(card)]
            category = category_of(joined, self.world.config)
            chain = triage.chain(category) if category else ()
            assert joined == {each.contact_group for each in chain}
            screened = self.sandbox.group_members(triage.screened_group)
            waits = any(_uid(card) in screened for card in cards)
            assert not (waits and category)
            assert waits or not notes or (category is not None and category.name == notes[-1])
            homes = {each.destination_mailbox for each in chain} or {"Screener"}
            for found in places.values():
                managed = found.intersection({*triage.destinations, "Screener"})
                assert managed in (set(), homes), (sender, found, homes)

    def _check_last_labels(self, labels: Sequence[int]) -> None:
        """One label per sender, one after the other, and everything is where it says."""
        for number, sender in enumerate(SENDERS[:-1]):
            for each in self._of_one_contact(sender):
                self._unlabel_all(each)
            self.world.run_for(70.0)
            before, label = self._places(sender), _pick(LABELS, labels[number % len(labels)])
            mail = _pick(sorted(before), labels[0])
            self._label(mail, label)
            self.world.run_for(200.0)
            self._check_triaged(sender, mail, label, before)
        self._check()

    def _check_triaged(
        self, sender: str, tapped: str, label: str, before: Mapping[str, set[str]]
    ) -> None:
        triage = self.world.config.triage
        category = next((each for each in triage.categories if each.label == label), None)
        chain = triage.chain(category) if category else ()
        homes = {each.destination_mailbox for each in chain} or {"Screener"}
        scope = {*triage.destinations, "Screener"}
        for mail, found in self._places(sender).items():
            was, expected = before[mail], set(before[mail])
            if mail == tapped or was & scope:
                expected = was - scope | homes
                if category and category.add_to_inbox and "Screener" in was:
                    expected |= {"Inbox"}
            assert found - MARKS == expected - MARKS, (label, was, found)
        groups = {each.contact_group for each in chain}
        joined = [self._groups_of(_uid(card)) for card in self._cards_of(sender)]
        assert groups in joined or (not joined and not groups), (label, joined)

    def _of_one_contact(self, sender: str) -> list[str]:
        """The senders whose addresses are on a card of this one's: Ann and Annie are one sender,
        as long as they have one contact."""
        texts = [text.lower() for text in self._cards_of(sender)]
        return [
            each
            for each in SENDERS
            if each == sender or any(f":{address_of(each)}\r" in text for text in texts)
        ]

    def _cards_of(self, sender: str) -> list[str]:
        address = address_of(sender)
        return [card for card in self.contacts().values() if f":{address}\r" in card.lower()]

    def _groups_of(self, uid: str) -> set[str]:
        names = self.world.config.triage.groups
        return {name for name in names if uid in self.sandbox.group_members(name)}


def _head(group: str) -> str:
    """How a member begins: what JMAP has written is a vCard 4."""
    return "MEMBER:" if "VERSION:4.0" in group else _MEMBER


_TRIAGED = re.compile(r"riaged to (.+?) on \d{4}-")
# What is not done to mail or cards, but for a label.
_UNDISTURBED = frozenset(
    {"label", "restart", "break", "drop stream", "forget tokens", "renew session"}
)
# Tokens that are lost twice in one sync fail the poll.
_AT_REST = frozenset({"forget tokens"})
# Where requests break, polls fail.
_BROKEN = frozenset({"poll_failed"})
_EXPECTED = frozenset(
    {"name_mismatch", "sender_unusable", "conflict_detected", "mailboxes_missing",
     "eventsource_disconnected", "sender_failed"}
)  # fmt: skip


def address_of(sender: str) -> str | None:
    return sender.partition("<")[2].rstrip(">").lower() or None


def _uid(card: str) -> str:
    line = next(line for line in card.splitlines() if line.startswith("UID"))
    return line.partition(":")[2]


def _pick(things: Sequence[T], number: int) -> T:
    return things[number % len(things)]


VERBS: Sequence[tuple[str, int]] = (
    ("label", 12), ("unlabel", 2), ("unlabel all", 2), ("move", 4), ("add", 3), ("deliver", 4),
    ("edit", 2), ("delete card", 1), ("write card", 2), ("join", 2), ("leave", 1), ("rename", 1),
    ("restart", 2), ("break", 4), ("drop stream", 1), ("forget tokens", 1), ("renew session", 1),
)  # fmt: skip


def at_random(randint: Callable[[int, int], int], most: int) -> Iterator[Step]:
    """Steps that numbers choose; ``randint`` includes both bounds."""
    are_few = randint(0, 1)
    bag = [
        verb for verb, weight in VERBS for _ in range(weight) if not are_few or verb in _UNDISTURBED
    ]
    for _ in range(randint(1, most)):
        at = randint(1, 14) if randint(0, 1) else 0
        rest = (0.0, 0.4, 1.0, 20.0)[randint(0, 3)]
        yield Step(_pick(bag, randint(0, 999)), randint(0, 99), randint(0, 99), at, rest)
