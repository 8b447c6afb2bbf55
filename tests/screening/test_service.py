"""The table on the running service: what it makes of new mail, on every kind of server.

By ``server`` the mail has come to Screener, as by rules that know nobody, and without our keyword;
by ``mailroom`` it has come to Inbox. On Cyrus 3.10 alone where it is to be quick.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from mailroom.engine.credentials import Basic, Bearer, Logins
from mailroom.rules.status.health import Totals
from mailroom.rules.triage.drags import WAITING
from mailroom.work.account.clients import build_clients
from tests.rules.user import User
from tests.sandbox import CYRUS_3_10, PROFILES, Profile
from tests.screening.table import OWN_GROUP, Card, Case, cases
from tests.world import BOOK, World

GROUP = "FN:{}\nN:{};;;;\nX-ADDRESSBOOKSERVER-KIND:group\n"


class Trial:
    """A case's account with the service at work, where one mail comes in."""

    def __init__(self, case: Case, profile: Profile, way: str, by: str) -> None:
        self._case = case
        configuration = {**BOOK, **case.service_configuration(by), "contacts": {"by": way}}
        self.world = World(profile, configuration)
        self._user = User(self.world)
        self._patience = 10.0 if profile.push == "available" else 65.0
        self._gate = "Inbox" if by == "mailroom" else "Screener"
        if without := case.account.get("without"):
            self.world.sandbox.destroy_mailbox(without)
        self._keep()
        self._decide()
        self.world.run_for(profile.search_lag_seconds)  # what was sent can be found
        self.world.start()
        self._make()
        self.world.run_for(self._patience)

    def _keep(self) -> None:
        """What the user's address book has, and whom the user has written to."""
        for name in (self.world.config.triage.screened_group, OWN_GROUP):
            file = f"group-{name.lower().replace(' ', '-')}"
            if not any(f"UID:{file}" in card for card in self.world.sandbox.cards().values()):
                self._user.keep(file, GROUP.format(name, name))
        for number, card in enumerate(self._case.cards):
            if not card.is_made:
                self._add(f"card-{number}", card)
        for address in self._case.account.get("written", ()):
            self.world.sandbox.send(f"Somebody <{address}>")

    def _add(self, name: str, card: Card) -> None:
        lines = "".join(f"EMAIL:{address}\n" for address in card.addresses)
        self._user.keep(name, f"FN:Somebody\nN:Somebody;;;;\n{lines}")
        for group in card.groups:
            self._user.fill_group(group, [name])

    def _decide(self) -> None:
        """What was decided for whole domains and lists, by a process of an earlier day."""
        world, account = self.world, self._case.account
        password = Basic("alice", "secret")
        is_bearer = world.sandbox.profile.jmap_authentication == "Bearer"
        who = Logins(Bearer("alice-token") if is_bearer else password, password)
        contacts = build_clients(
            world.loop.root, world.new_http(), world.config, who, Totals()
        ).contacts

        async def decide() -> None:
            await contacts.refresh()
            for key, category in account.get("domains", {}).items():
                await contacts.decide(key, category, is_list=False)
            for key, category in account.get("lists", {}).items():
                await contacts.decide(key, category, is_list=True)

        if account.keys() & {"domains", "lists"}:
            task = world.loop.spawn(decide(), "decisions")
            world.run_until(lambda: task.done)
            task.result()

    def _make(self) -> None:
        """Contacts that Mailroom has made, and that somebody has taken out of their groups. (By
        CardDAV the service looks at the address book anew only now and then: it starts again.)"""
        sandbox = self.world.sandbox
        made = [card for card in self._case.cards if card.is_made]
        for address in (each for card in made for each in card.addresses):
            groups = {h: c for h, c in sandbox.cards().items() if "KIND:group" in c}
            self.world.tap(sandbox.deliver(address), "@ToFeed")
            self.world.run_for(self._patience)
            for href, card in groups.items():
                sandbox.put_card(card, href.rpartition("/")[2])
            self.world.boot()
            self.world.start()

    def come(self) -> tuple[set[str], set[str]]:
        """Have the mail come in; where it is in the end, and its keywords."""
        sandbox, header = self.world.sandbox, self._case.header
        sender = header.pop("From", None)
        head: dict[str, Any] = {"subject": "Hello"}
        if self._case.mail.get("answers"):
            sent = sandbox.mail(sandbox.send("Ann <ann@elsewhere.example>", "a trip"))
            self.world.run_for(self._patience)
            head = {"subject": "Re: a trip", "in_reply_to": sent.message_id}
        header["Return-Path"] = f"<{self._case.return_path}>"
        mail_id = sandbox.deliver(sender, mailbox=self._gate, headers=header, **head)
        self.world.run_for(self._patience)
        return sandbox.mailboxes_of(mail_id), sandbox.keywords_of(mail_id)


def _trials() -> Iterator[ParameterSet]:
    for case in cases():
        for name, profile in PROFILES.items():
            ways = ("carddav", "jmap") if profile.has_jmap_contacts else ("carddav",)
            for way in ways:
                for by in ("server", "mailroom"):
                    is_quick = name == CYRUS_3_10.name
                    marks = [] if is_quick else [pytest.mark.every]
                    told = f"{case.name} ({name} by {way}, screened by {by})"
                    yield pytest.param(case, profile, way, by, id=told, marks=marks)


@pytest.mark.parametrize(("case", "profile", "way", "by"), list(_trials()))
def test_where_new_mail_goes(case: Case, profile: Profile, way: str, by: str) -> None:
    trial = Trial(case, profile, way, by)
    places, keywords = trial.come()
    gate = "Inbox" if by == "mailroom" else "Screener"
    assert places == (case.goes or {gate, "@MailroomWarning"})
    assert keywords == ({WAITING} if "Screener" in places else set())
