"""The tables of rules: files of cases that a user of the service can read, and how one is tried.

A case tells what is *given*, what the user does, and what *then* is so. What it does not mention
must be as it was: every mail in its mailboxes, every group's members, every line of every contact.
README.md beside this file describes the words.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mailroom.engine.journal import Level
from mailroom.rules.contacts.roster import managed_groups
from tests.rules.user import User, lines_of, listed
from tests.world import World

_KEYS = frozenset(
    {"rule", "not yet", "not by command", "servers", "configuration"}
    | {"mail", "cards", "groups", "when", "then"}
)
_THEN_KEYS = frozenset({"mail", "groups", "members", "contacts", "log"})
_DAY = 86400.0
# What servers write into a card by themselves.
_STAMPS = ("REV", "PRODID")
# What only JMAP writes, and the order in which CardDAV does.
_BY_JMAP = ("KIND", "X-ADDRESSBOOKSERVER-KIND:INDIVIDUAL", "CREATED", "JSPROP")
# With the order of a name's parts, and the two fields that RFC 9554 has added, empty.
_IN_ORDER = re.compile(r"^N;JSCOMPS=[^:]*:(.*);;$")
_ORDER = ("BEGIN", "VERSION", "UID", "FN", "ORG", "N", "EMAIL", "NOTE")
# What of a new card is the same for all, or told elsewhere (tests/test_contact.py).
_UNTOLD = ("BEGIN", "VERSION", "UID", "X-MAILROOM-CREATED", "END")


@dataclass(frozen=True, slots=True)
class Case:
    """One rule, as it stands in its file."""

    name: str
    given: Mapping[str, Any]

    @property
    def gap(self) -> str | None:
        """Why the rule is not kept yet."""
        return self.given.get("not yet")

    @property
    def only_by_label(self) -> str | None:
        """Why no command can do what the user does here."""
        return self.given.get("not by command")

    def concerns(self, server: str) -> bool:
        """Whether the rule speaks of this kind of server; most speak of all."""
        only = self.given.get("servers")
        return only is None or server in only

    def section(self, name: str) -> Mapping[str, Any]:
        return self.given.get(name) or {}

    def then(self, name: str) -> Mapping[str, Any]:
        return self.section("then").get(name) or {}


def cases() -> list[Case]:
    """All cases of all files. A word that means nothing is an error."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        for given in yaml.safe_load(path.read_text(encoding="utf-8")):
            case = Case(f"{path.stem}: {given['rule']}", given)
            unknown = (given.keys() - _KEYS) | (case.section("then").keys() - _THEN_KEYS)
            if unknown:
                raise ValueError(f"{case.name}: what is {', '.join(map(str, unknown))}?")
            found.append(case)
    return found


class Trial:
    """One case against one account, whose service is configured as the case says."""

    def __init__(
        self,
        case: Case,
        world: World,
        patience_seconds: float = 30.0,
        user: type[User] = User,
    ) -> None:
        self._case = case
        self._world = world
        self._user = user(world)
        self._patience_seconds = patience_seconds

    def run(self) -> None:
        """Do what the case says, and demand what it says; nothing else may have happened."""
        self._prepare()
        mails, groups, cards = self._mails(), self._groups(), self._world.sandbox.cards()
        self._world.start()
        for step in self._case.given.get("when") or ():
            for action in [step] if isinstance(step, str) else step:
                self._user.act(action)
            self._world.run_for(self._patience_seconds)
        told = {str(name): set(listed(found)) for name, found in self._case.then("mail").items()}
        assert self._mails() == mails | told
        self._check_groups(groups)
        self._check_cards(cards)
        self._check_log()
        if not self._world.named("sender_failed"):
            self._user.check_answers()
        self._check_rest()

    def _prepare(self) -> None:
        for path in ("Holidays", "Old Orders"):
            self._world.sandbox.create_mailbox(path)
        for name, card in self._case.section("cards").items():
            self._user.keep(name, card)
        for name, members in self._case.section("groups").items():
            self._user.fill_group(name, listed(members))
        for name, mail in self._case.section("mail").items():
            self._user.receive(str(name), mail, age_seconds=_DAY)

    def _mails(self) -> dict[str, set[str]]:
        """Where each mail is; one that is nowhere has been destroyed, and raises KeyError."""
        mailboxes_of = self._world.sandbox.mailboxes_of
        return {name: mailboxes_of(mail_id) for name, mail_id in self._user.mails.items()}

    def _groups(self) -> dict[str, set[str]]:
        names = managed_groups(self._world.config)
        return {name: self._world.sandbox.group_members(name) for name in names}

    def _check_groups(self, before: Mapping[str, set[str]]) -> None:
        told = {
            name: {self._user.uid_of(member) for member in listed(members)}
            for name, members in self._case.then("groups").items()
        }
        assert self._groups() == {**before, **told}
        spelled = self._case.then("members")
        assert {name: self._user.members_of(name) for name in spelled} == {
            name: listed(members) for name, members in spelled.items()
        }

    def _check_cards(self, before: Mapping[str, str]) -> None:
        name_of = self._user.name_of
        changes = {
            name_of(href, card): change
            for href, card in self._user.contacts().items()
            if (change := _change(before.get(href), card))
        }
        gone = before.keys() - self._world.sandbox.cards().keys()
        changes |= {name_of(href, before[href]): "deleted" for href in gone}
        told = {
            name: changes.get(name, "nothing") if change == "new" else self._told(change)
            for name, change in self._case.then("contacts").items()
        }
        assert changes == told

    def _told(self, change: str) -> str:
        today = datetime.fromtimestamp(self._world.clock.wall(), UTC).astimezone()
        dated = change.strip().replace("TODAY", f"{today:%Y-%m-%d}")
        return "\n".join(line.strip() for line in dated.split("\n"))

    def _check_log(self) -> None:
        """Warnings and errors must be told; what was triaged, if the case speaks of the log."""
        log = self._case.section("then").get("log")
        told = [_event(event) for event in log or ()]
        happened = [
            (event, fields)
            for level, event, fields in self._world.events
            if level <= Level.WARNING or (log is not None and event.startswith("sender_"))
        ]
        shown = [
            (event, {name: _shown(fields.get(name)) for name in expected})
            for (event, fields), (_, expected) in zip(happened, told, strict=False)
        ]
        assert shown == told, happened
        assert len(happened) == len(told), happened

    def _check_rest(self) -> None:
        """The account has come to rest: whatever is polled now changes nothing."""
        world = self._world
        number = world.request_count
        world.account.poll_now()
        world.run_for(125.0)
        requests = world.requests_since(number)
        assert not [entry for entry in requests if entry.method in ("PUT", "DELETE")]
        sets = {"Email/set", "ContactCard/set"}
        assert not [entry for entry in requests if sets.intersection(entry.calls)]


def _change(before: str | None, after: str) -> str:
    """Lines that went and lines that came; of a new card those that tell something."""
    old, new = _own_lines(before or ""), _own_lines(after)
    gone = [f"- {line}" for line in old if line not in new]
    came = [f"+ {line}" for line in new if line not in old]
    if before is None:
        came = [line for line in came if not line.removeprefix("+ ").startswith(_UNTOLD)]
    return "\n".join(gone + came)


def _own_lines(card: str) -> list[str]:
    lines = lines_of(card)
    if any(";PROP-ID=" in line for line in lines):
        lines = _as_by_carddav(lines)
    return [line for line in lines if not line.startswith(_STAMPS)]


def _as_by_carddav(lines: Iterable[str]) -> list[str]:
    """A card that was made by JMAP, as Mailroom would have made it by CardDAV."""
    known = [re.sub(r";PROP-ID=[^:;]*", "", line) for line in lines]
    known = [re.sub(r"^EMAIL:", "EMAIL;TYPE=INTERNET:", line) for line in known]
    known = [re.sub(_IN_ORDER, r"N:\1", line) for line in known]
    known = [re.sub(r"^[\w-]+\.ORG:", "ORG:", line) for line in known]
    known = [line for line in known if not line.startswith(_BY_JMAP)]
    if not any(line.startswith("N:") for line in known):
        known.append("N:;;;;")
    return sorted(known, key=_place)


def _place(line: str) -> int:
    """In which order a new contact has its lines."""
    name = re.split("[:;]", line)[0]
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _shown(value: object) -> object:
    return value if isinstance(value, int | list | None) else str(value)


def _event(told: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """``NAME``, or ``NAME: {FIELD: VALUE, ...}``."""
    if isinstance(told, str):
        return told, {}
    ((event, fields),) = told.items()
    return event, fields
