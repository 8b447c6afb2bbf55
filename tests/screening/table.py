"""The table of what becomes of new mail, as values; README.md beside this file describes the words.

Whoever tries it, the pure decision or a server's rules, makes of the account and the mail what it
needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mailroom.rules.configuration.config import Config, from_data
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.sieve import GROUP_CONDITIONS, ScriptInput, script
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage.places import find_places
from mailroom.wire.jmap import Mailbox

#: One that rules know nothing of.
OWN_GROUP = "Football"
_KEYS = frozenset({"rule", "configuration", "account", "mail", "is", "goes", "rules"})
_ACCOUNT = frozenset(
    {"contacts", "made", "groups", "lists", "domains", "written", "own", "without"}
)
_MAIL = frozenset({"from", "list", "headers", "return path", "bounce", "answers"})


@dataclass(frozen=True, slots=True)
class Card:
    """One contact: its addresses, who made it, and the groups that it is in."""

    addresses: tuple[str, ...]
    is_made: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """One rule, as it stands in the file."""

    given: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.given["rule"])

    @property
    def account(self) -> Mapping[str, Any]:
        return self.given.get("account") or {}

    @property
    def mail(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.given["mail"]
        return found

    @property
    def config(self) -> Config:
        return from_data(self.service_configuration("server"))

    def service_configuration(self, by: str) -> dict[str, Any]:
        """The configuration file of a service for this account."""
        given = self.given.get("configuration") or {}
        own = {"own_addresses": self.account.get("own", [])}
        return {
            **given,
            "triage": {**own, **given.get("triage", {})},
            "screening": {"by": by, **given.get("screening", {})},
        }

    @property
    def who(self) -> str:
        return str(self.given["is"])

    @property
    def goes(self) -> frozenset[str] | None:
        """Where the mail is in the end; None: it stays where it is."""
        return _places(self.given["goes"])

    @property
    def goes_by_rules(self) -> frozenset[str] | None:
        """Where the server's rules put it; None: where it is for the user to sort out."""
        return _places(self.given.get("rules", self.given["goes"]))

    @property
    def cards(self) -> list[Card]:
        """Each contact once."""
        account, groups = self.account, dict[tuple[str, ...], set[str]]()
        made = {_addresses(each) for each in account.get("made", ())}
        for each in (*account.get("contacts", ()), *account.get("made", ())):
            groups.setdefault(_addresses(each), set())
        for name, members in account.get("groups", {}).items():
            for each in members:
                groups.setdefault(_addresses(each), set()).add(name)
        return [Card(card, card in made, frozenset(names)) for card, names in groups.items()]

    @property
    def header(self) -> dict[str, str]:
        """The mail's header, but for the return path."""
        mail = self.mail
        found = dict(mail.get("headers", {}))
        if "from" in mail:
            found["From"] = mail["from"]
        if "list" in mail:
            found["List-Id"] = mail["list"]
        if mail.get("bounce"):
            found["Content-Type"] = 'multipart/report; report-type=delivery-status; boundary="x"'
        return found

    @property
    def return_path(self) -> str:
        """The envelope's sender, without brackets."""
        if self.mail.get("bounce"):
            return ""
        return str(self.mail.get("return path", "somebody@example.com"))


def cases() -> list[Case]:
    """All cases. A word that means nothing is an error."""
    text = Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8")
    found = [Case(given) for given in yaml.safe_load(text)]
    for case in found:
        unknown = (case.given.keys() - _KEYS) | (case.account.keys() - _ACCOUNT)
        unknown |= case.mail.keys() - _MAIL
        if unknown:
            raise ValueError(f"{case.name}: what is {', '.join(map(str, unknown))}?")
    return found


def address_book(case: Case) -> tuple[dict[str, str], dict[str, str]]:
    """The account's cards, contacts and groups, by the names of their files; and the UIDs of the
    groups that rules look at, by name."""
    triage, marks = case.config.triage, case.config.mailroom
    groups = (*triage.groups, triage.screened_group, marks.provenance_group, OWN_GROUP)
    members: dict[str, list[str]] = {name: [] for name in groups}
    cards = {}
    for number, card in enumerate(case.cards):
        uid = f"card-{number}"
        cards[f"{uid}.vcf"] = _vcard(uid, "Somebody", (f"EMAIL:{a}" for a in card.addresses))
        for name in card.groups:
            members[name].append(f"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:{uid}")
    uids = {name: f"group-{number}" for number, name in enumerate(groups)}
    for name, uid in uids.items():
        lines = ["X-ADDRESSBOOKSERVER-KIND:group", *members[name]]
        cards[f"{uid}.vcf"] = _vcard(uid, name, lines)
    return cards, {name: uids[name] for name in (*triage.groups, triage.screened_group)}


def script_of(case: Case, boxes: Sequence[Mailbox], group_uids: Mapping[str, str]) -> str:
    """What the server's rules would be, as Cyrus 3.10 takes them."""
    account, config = case.account, case.config
    decisions = Decisions(account.get("domains", {}), account.get("lists", {}))
    own = OwnAddresses(config.triage.own_addresses)
    source = ScriptInput(find_places(config, boxes), group_uids, own, decisions)
    return script(config, source, GROUP_CONDITIONS[0])


def _vcard(uid: str, name: str, lines: Iterable[str]) -> str:
    head = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}", f"N:{name};;;;"]
    return "\r\n".join([*head, *lines, "END:VCARD", ""])


def _places(told: str) -> frozenset[str] | None:
    return None if told == "stays" else frozenset(each.strip() for each in told.split(","))


def _addresses(told: str | Iterable[str]) -> tuple[str, ...]:
    return (told,) if isinstance(told, str) else tuple(told)
