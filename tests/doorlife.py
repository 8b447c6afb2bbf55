"""What may happen to mail at the door, made up at random, and what is so whatever happens.

Two kinds of senders: those whom nobody ever decides about here, whose mail only the door moves; and
those who are tapped and dragged. Of the mail of the first each move is the door's own, and counted.
"""

import random
from collections.abc import Callable, Mapping

from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Entry
from tests.world import World

FRIEND, BOB = "Anna <anna@friends.example>", "Bob <bob@example.org>"
LIST = "News <news@lists.example>"
STRANGERS = ("Eve <eve@strangers.example>", "Mal <mal@strangers.example>")
TAPPED = ("Tom <tom@tapped.example>", "Tina <tina@tapped.example>")
LEFT_ALONE = (FRIEND, BOB, LIST, *STRANGERS)
WAITING, PLACED = "mailroom-waiting", "mailroom-placed"
PLACES = ("Inbox", "Archive", "Screener")
DESTINATIONS = ("Feed", "Jail", "Person")
LABELS = ("@ToFeed", "@ToJail", "@ToPerson", "@ToScreener")
WAYS = [
    (by, profile, contacts)
    for by in ("server", "mailroom")
    for profile, contacts in ((CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap"))
]
_VERBS = {
    "deliver": 6, "move": 5, "drag": 2, "place": 3, "tap": 3, "see": 1, "filter": 2, "restart": 2,
    "forget": 1, "befriend": 1, "unfriend": 1, "drop stream": 1, "wait": 2,
}  # fmt: skip
_PAUSES = (0.0, 0.1, 0.4, 1.0, 4.0, 20.0)
_MOST_RETURNS = 3


class DoorLife:
    """One account and what happens to it.

    ``moved`` is the mail that the door has moved by itself, ``placed`` what the user has put where
    it is, the service looking on. ``touched`` is what others have moved since the door did, and
    ``unwatched`` what has been there since then when changes could not be told: of mail in both no
    one knows any more that it is not new (docs/behaviour.md, "The door").
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        by, profile, contacts = WAYS[seed % len(WAYS)]
        self.world = World(profile, {"screening": {"by": by}, "contacts": {"by": contacts}})
        self.sandbox = self.world.sandbox
        self.gate = "Inbox" if by == "mailroom" else "Screener"
        self.senders: dict[str, str] = {}
        self.moved: set[str] = set()
        self.placed: set[str] = set()
        self.touched: set[str] = set()
        self.unwatched: set[str] = set()
        # Where another program's filter sees mail, where it puts it, and how often it still does.
        self.filters: dict[str, tuple[str, str, int]] = {}
        self.told: list[str] = []
        self.sandbox.put_card(_card("anna", "anna@friends.example"), "anna.vcf")
        self.world.start().settle()
        self._triage_bob()
        self.sandbox.before_call(self._count)
        self.sandbox.after(lambda entry, *_: self._filter(entry))

    def live(self, steps: int) -> None:
        acts: Mapping[str, Callable[[], None]] = {
            "deliver": self._deliver,
            "move": self._move,
            "drag": self._drag,
            "place": self._place,
            "tap": self._tap,
            "see": self._see,
            "filter": self._set_filter,
            "restart": self._restart,
            "forget": self._forget,
            "befriend": lambda: self._befriend(self.chance.choice(STRANGERS)),
            "unfriend": self._unfriend,
            "drop stream": self.sandbox.close_feeds,
            "wait": lambda: self.world.run_for(70.0),
        }
        self._deliver()
        for verb in self.chance.choices([*_VERBS], [*_VERBS.values()], k=steps):
            self.told.append(verb)
            acts[verb]()
            self._pause()
            self._check()
        self.world.run_for(200.0)
        self._check()
        self._check_rest()

    # What happens

    def _triage_bob(self) -> None:
        mail = self.sandbox.deliver(BOB, mailbox=self.gate)
        self.world.settle()
        self.sandbox.label(mail, "@ToFeed")
        self.world.settle()

    def _pause(self) -> None:
        self.world.run_for(self.chance.choice(_PAUSES))

    def _deliver(self) -> None:
        sender = self.chance.choice((*LEFT_ALONE, *TAPPED))
        is_list = sender == LIST
        headers = {"List-Id": "<news.lists.example>"} if is_list else {}
        is_marked = self.gate == "Screener" and self.chance.random() < 0.5
        keywords = [WAITING] if is_marked else []
        mail = self.sandbox.deliver(sender, mailbox=self.gate, keywords=keywords, headers=headers)
        self.senders[mail] = sender
        self.told.append(f"{mail} from {sender}")

    def _some_mail(self) -> str:
        return self.chance.choice([*self.senders])

    def _goals(self, mail: str) -> tuple[str, ...]:
        return (*PLACES, *DESTINATIONS) if self.senders[mail] in TAPPED else PLACES

    def _move(self) -> None:
        mail = self._some_mail()
        goal = self.chance.choice(self._goals(mail))
        self.placed.discard(mail)
        self._put(mail, goal)

    def _put(self, mail: str, goal: str) -> None:
        self.told.append(f"{mail} to {goal}")
        self.touched.add(mail)
        self.sandbox.move(mail, goal)

    def _drag(self) -> None:
        mail = self._some_mail()
        source = min(self.sandbox.mailboxes_of(mail))
        if mail in self.filters or source != "Screener":
            return  # a copy that two programs fight about is deleted by one of them
        goals = [each for each in self._goals(mail) if each != source]
        goal = self.chance.choice(goals)
        self.placed.discard(mail)
        self.touched.add(mail)
        self.told.append(f"{mail} from {source} to {goal} in steps")
        for _ in self.sandbox.drag(mail, source, goal):
            self._pause()

    def _place(self) -> None:
        """What the user does to mail that lies still, while the service is there and looks on."""
        self.world.run_for(130.0)
        mail = self._some_mail()
        is_here = self.sandbox.mailboxes_of(mail)
        if self.senders[mail] in TAPPED or mail in self.filters:
            return
        waits = WAITING in self.sandbox.keywords_of(mail)
        if is_here == {"Screener"} and waits:
            goal = "Inbox"
        elif "Screener" not in is_here:
            goal = "Screener"
        else:
            return
        self._put(mail, goal)
        self.world.run_for(130.0)
        assert PLACED in self.sandbox.keywords_of(mail), "nobody has seen that it was placed"
        assert (WAITING in self.sandbox.keywords_of(mail)) is (goal == "Screener")
        self.placed.add(mail)

    def _tap(self) -> None:
        mails = [mail for mail, sender in self.senders.items() if sender in TAPPED]
        if mails:
            self.sandbox.label(self.chance.choice(mails), self.chance.choice(LABELS))

    def _see(self) -> None:
        self.sandbox.set_keywords(self._some_mail(), add=["$seen"])

    def _set_filter(self) -> None:
        mail = self._some_mail()
        if mail in self.placed:
            return
        sees, goal = self.chance.sample(self._goals(mail), 2)
        self.told.append(f"{mail} always from {sees} to {goal}")
        self.filters[mail] = (sees, goal, _MOST_RETURNS)

    def _filter(self, entry: Entry) -> None:
        """Another program acts whenever it sees the mail there; it sees what the service does."""
        for mail, (sees, goal, left) in list(self.filters.items()):
            if not entry.is_stream and sees in self.sandbox.mailboxes_of(mail):
                self._put(mail, goal)
                self.filters[mail] = (sees, goal, left - 1)
                if left == 1:
                    del self.filters[mail]

    def _forget(self) -> None:
        self.unwatched |= self.senders.keys()
        self.sandbox.forget_changes()

    def _restart(self) -> None:
        self.unwatched |= self.senders.keys()
        self.world.boot()
        self.world.account.start()

    def _befriend(self, sender: str) -> None:
        self.sandbox.put_card(_card("new-friend", sender.partition("<")[2][:-1]), "new.vcf")

    def _unfriend(self) -> None:
        for href in self.sandbox.cards():
            if href.endswith("/new.vcf"):
                self.sandbox.delete_card(href)

    # What has to be so

    def _count(self, name: str, arguments: Mapping[str, object]) -> None:
        """A move of a mail about whose sender nobody decides is the door's; but for what gives a
        move back to who has made it, and puts the mail nowhere new."""
        updates = arguments.get("update") if name == "Email/set" else None
        for mail, patch in updates.items() if isinstance(updates, dict) else ():
            here = {f"mailboxIds/{each}" for each in self.sandbox.mail(mail).mailbox_ids}
            there = {key for key, is_on in patch.items() if is_on and key.startswith("mailboxIds")}
            is_move = bool(there - here)
            if is_move and self.senders.get(mail, TAPPED[0]) in LEFT_ALONE:
                self.told.append(f"{mail} moved by the door: {patch}")
                is_as_new = mail in self.touched & self.unwatched
                assert mail not in self.placed, self.told
                assert mail not in self.moved or is_as_new, self.told
                self.moved.add(mail)
                self.touched.discard(mail)
                self.unwatched.discard(mail)

    def _check(self) -> None:
        for mail in self.senders:  # KeyError where one is no more
            assert self.sandbox.mailboxes_of(mail), "in no mailbox"

    def _check_rest(self) -> None:
        world = self.world
        number, polls = world.request_count, world.polls
        world.account.poll_now()
        world.run_for(125.0)
        requests = world.requests_since(number)
        assert world.polls - polls <= 4, self.told
        sets = {"Email/set", "ContactCard/set"}
        assert not [entry for entry in requests if sets.intersection(entry.calls)], self.told
        assert not [entry for entry in requests if entry.method in ("PUT", "DELETE")]


def _card(uid: str, address: str) -> str:
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{uid}", f"N:;{uid};;;",
             f"EMAIL:{address}", "END:VCARD", "")  # fmt: skip
    return "\r\n".join(lines)
