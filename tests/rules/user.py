"""What users do, in the words of the tables: every public method is a verb, its text the rest."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mailroom.errors import OrderRefused
from tests.world import World, as_new_group


class User:
    """One user with a phone, a mail program and an address book.

    ``mails`` are ids by the names that a case gives them, ``cards`` the names of its cards.
    """

    def __init__(self, world: World) -> None:
        self.mails: dict[str, str] = {}
        self.cards: set[str] = set()
        self._world = world
        self._sandbox = world.sandbox

    def act(self, action: str) -> None:
        """Do what one line of ``when`` says."""
        verb, _, rest = action.partition(" ")
        getattr(self, verb)(rest)

    def label(self, text: str) -> None:
        mail, label = text.split(maxsplit=1)
        self._sandbox.label(self.mails[mail], label)

    def unlabel(self, text: str) -> None:
        mail, label = text.split(maxsplit=1)
        self._sandbox.unlabel(self.mails[mail], label)

    def move(self, text: str) -> None:
        mail, places = text.split(" to ")
        self._sandbox.move(self.mails[mail], *listed(places))

    def deliver(self, text: str) -> None:
        name, mail = text.split(": ", 1)
        self.receive(name, mail, age_seconds=0.0)

    def rename(self, text: str) -> None:
        self._sandbox.rename_mailbox(*text.split(" to "))

    def create(self, text: str) -> None:
        self._sandbox.create_mailbox(text)

    def destroy(self, text: str) -> None:
        self._sandbox.destroy_mailbox(text)

    def edit(self, text: str) -> None:
        """``CARD OLD to NEW``"""
        name, change = text.split(maxsplit=1)
        old, new = change.split(" to ")
        href = self.href_of(name)
        card = self._sandbox.cards()[href]
        # What JMAP has made has ids at its properties.
        pattern = re.escape(old).replace(":", "((?:;PROP-ID=[^:]*)?):", 1)
        edited, count = re.subn(pattern, lambda found: _with_id(found, new), card)
        assert count, f"{old} is not in {card}"
        self._sandbox.put_card(edited, href.rpartition("/")[2])

    def delete(self, text: str) -> None:
        self._sandbox.delete_card(self.href_of(text))

    def restart(self, _text: str) -> None:
        self._world.boot()
        self._world.start()

    def wait(self, text: str) -> None:
        minutes, _unit = text.split()
        self._world.run_for(60.0 * float(minutes))

    def check_answers(self) -> None:
        """Nobody has told the user that something could not be done."""

    # What a case starts with

    def receive(self, name: str, mail: str | Mapping[str, Any], age_seconds: float) -> None:
        """A mail, as ``FROM in MAILBOXES``, or as a mapping of the two."""
        if isinstance(mail, str):
            sender, _, places = mail.rpartition(" in ")
        else:
            sender, places = mail["from"], mail["in"]
        received_at = self._world.clock.wall() - age_seconds
        self.mails[name] = self._sandbox.deliver(
            sender, f"mail {name}", listed(places), received_at
        )

    def keep(self, name: str, text: str) -> None:
        """A card; one that is not given whole is a vCard 3.0 with its name for UID."""
        is_whole = text.startswith("BEGIN")
        card = text if is_whole else f"BEGIN:VCARD\nVERSION:3.0\nUID:{name}\n{text}END:VCARD\n"
        self.cards.add(name)
        if self._world.knows_new_groups_alone:
            card = as_new_group(card)
        self._sandbox.put_card(card.replace("\n", "\r\n"), f"{name}.vcf")

    def fill_group(self, name: str, members: Iterable[str]) -> None:
        href, text = self._group(name)
        head = "MEMBER:" if "VERSION:4.0" in text else "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:"
        lines = [f"{head}{uid}\r\n" for uid in members]
        self._sandbox.put_card(text.replace("END:VCARD", "".join(lines) + "END:VCARD"), href)

    def members_of(self, name: str) -> list[str]:
        """The UIDs that a rule on the group compares those of cards with: what a MEMBER has, and
        what an Apple member has after its first prefix (a MEMBER that begins with one is shown
        there in quotes by Cyrus 3.13.7)."""
        members = (line.partition(":") for line in lines_of(self._group(name)[1]))
        return [
            uid if head == "MEMBER" else uid.removeprefix("urn:uuid:").strip('"')
            for head, _, uid in members
            if head.endswith("MEMBER")
        ]

    def _group(self, name: str) -> tuple[str, str]:
        href = f"group-{name.lower().replace(' ', '-')}.vcf"
        text = next(t for h, t in self._sandbox.cards().items() if h.endswith(f"/{href}"))
        return href, text

    # How the cards are called

    def contacts(self) -> dict[str, str]:
        """The cards by href, groups left out."""
        cards = self._sandbox.cards().items()
        return {href: text for href, text in cards if "KIND:GROUP" not in text.upper()}

    def name_of(self, href: str, card: str) -> str:
        """The name that a case gave the card, or the address of a new one."""
        last = href.rpartition("/")[2].removesuffix(".vcf")
        if last in self.cards:
            return last
        return next(line.partition(":")[2] for line in lines_of(card) if line.startswith("EMAIL"))

    def href_of(self, name: str) -> str:
        return {self.name_of(href, card): href for href, card in self.contacts().items()}[name]

    def uid_of(self, name: str) -> str:
        card = self._sandbox.cards()[self.href_of(name)]
        uid = next(line for line in lines_of(card) if line.upper().startswith("UID"))
        return uid.partition(":")[2].removeprefix("urn:uuid:")


class Commander(User):
    """One who types commands where others put labels on mail."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._waiting = 0
        self._refusals: list[OrderRefused] = []

    def label(self, text: str) -> None:
        mail, label = text.split(maxsplit=1)
        config = self._world.config
        names = {each.label: each.name for each in config.triage.categories}
        category = None if label == config.mailroom.label_unscreen else names[label]
        senders = self._sandbox.mail(self.mails[mail]).senders
        document = {"address": senders[0].email if senders else "", "category": category}
        self._waiting += 1
        self._world.loop.spawn(self._triage(document), f"triage {text}")

    async def _triage(self, document: Mapping[str, Any]) -> None:
        try:
            await self._world.account.commands.triage(document, "anna")
        except OrderRefused as refused:
            self._refusals.append(refused)
        self._waiting -= 1

    def check_answers(self) -> None:
        assert (self._waiting, self._refusals) == (0, [])


def _with_id(found: re.Match[str], new: str) -> str:
    return new.replace(":", f"{found[1]}:", 1) if found.groups() else new


def listed(names: str | Iterable[str] | None) -> list[str]:
    """Names from a text with commas, or from a list."""
    if not names:
        return []
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def lines_of(card: str) -> list[str]:
    """The unfolded lines."""
    return card.replace("\r", "").replace("\n ", "").splitlines()
