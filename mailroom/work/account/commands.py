"""What people ask of a running account by commands: decisions, and what there is to see.

Every method returns a document as ``mailroom/schema`` describes it. It raises OrderRefused if the
request cannot be met, and other MailroomErrors if a server fails.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec

from mailroom.engine.journal import Log
from mailroom.engine.loop import Owner, both, give_way
from mailroom.errors import OrderRefused
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Change, Found, Plan, category_of
from mailroom.rules.screening.standing import Standing
from mailroom.rules.status.health import TriageView
from mailroom.rules.triage.history import before
from mailroom.rules.triage.orders import Order, read_address, read_category, read_subject
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.subject import Subject, SubjectKind
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.mail import MailClient
from mailroom.work.polling.poll import Poller
from mailroom.work.polling.preview import as_document, preview
from mailroom.work.polling.surveyor import Surveyor
from mailroom.work.screening.door import Door
from mailroom.work.screening.listing import Listing, row

Document = dict[str, Any]
P = ParamSpec("P")
Answering = Coroutine[Any, Any, Document]


def _of_the_account(
    command: "Callable[Concatenate[Commands, P], Answering]",
) -> "Callable[Concatenate[Commands, P], Answering]":
    """Whoever asks belongs to a socket; what they ask for ends with the account."""

    @wraps(command)
    async def run(self: "Commands", /, *args: P.args, **kwargs: P.kwargs) -> Document:
        return await self._owner.run(command(self, *args, **kwargs), command.__name__)

    return run


class Commands:
    """The commands of one account. ``ask`` requests a poll, which carries out the orders;
    ``recent`` gives the triages that the process remembers, newest last. If the account is closed,
    whoever waits for an answer gets :class:`~mailroom.engine.tasks.Cancelled`."""

    def __init__(
        self,
        owner: Owner,
        config: Config,
        mail: MailClient,
        contacts: Contacts,
        poller: Poller,
        ask: Callable[[], None],
        recent: Callable[[], tuple[TriageView, ...]],
    ) -> None:
        self._owner = owner
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._poller = poller
        self._ask = ask
        self._recent = recent
        self.listing = Listing(owner, mail)

    # Decisions

    @_of_the_account
    async def triage(self, document: Mapping[str, Any], by: str) -> Document:
        """Carry out a decision, and return when that is done; ``by`` is the user's name."""
        subject = read_subject(document, self._config)
        if "category" not in document:
            raise OrderRefused(HTTPStatus.BAD_REQUEST, "a category is needed, or null")
        category = read_category(document["category"], self._config)
        return await self._carry_out(Order(subject, category, by))

    @_of_the_account
    async def undo(self, document: Mapping[str, Any], by: str) -> Document:
        """Go back to the category before, which this process remembers, or else the note in
        Mailroom's contact tells."""
        subject = read_subject(document, self._config)
        found = await self._with_note(subject) if subject.kind is SubjectKind.ADDRESS else None
        current = category_of(found.groups, self._config) if found else None
        now = current.name if current else None
        earlier = before(subject, found, now, self._recent())
        if earlier is None:
            raise OrderRefused(
                HTTPStatus.NOT_FOUND,
                f"nothing tells where {subject.name} was before: choose with mailroom triage",
                is_unknown=True,
            )
        names = {category.name for category in self._config.triage.categories}
        wanted = earlier.category if earlier.category in names else None
        if earlier.category and wanted is None:
            raise OrderRefused(
                HTTPStatus.NOT_FOUND,
                f"{subject.name} was in {earlier.category}, which is no longer a category: choose "
                "another with mailroom triage",
            )
        return await self._carry_out(Order(subject, read_category(wanted, self._config), by))

    async def _carry_out(self, order: Order) -> Document:
        answer = self._poller.orders.place(order)
        self._ask()
        return await answer

    # What there is to see

    def categories(self) -> Document:
        triage = self._config.triage
        return {
            "categories": [
                {"name": each.name, "label": each.label, "parent": each.parent}
                for each in triage.categories
            ],
            "screener": triage.screener_mailbox,
        }

    @_of_the_account
    async def waiting(self, limit: int | None = None) -> Document:
        """Who waits, newest mail first; at most ``limit`` senders are listed."""
        found = await self.listing.senders(self._places().screener)
        return {
            "senders": sum(bool(each.address) for each in found),
            "mails": sum(each.mails for each in found),
            "oldest": min((each.since for each in found), default=None),
            "waiting": [row(each) for each in found[:limit]],
        }

    @_of_the_account
    async def mail(self, mail_id: str) -> Document:
        """The text of a mail that waits."""
        found = await self.listing.text(mail_id, self._places().screener)
        if found is None:
            raise OrderRefused(HTTPStatus.NOT_FOUND, f"no mail {mail_id} waits in Screener")
        return {
            "id": found.line.mail.id,
            "from": [asdict(each) for each in found.line.mail.senders],
            "to": [asdict(each) for each in found.recipients],
            "subject": found.line.subject,
            "received_at": found.line.received_at,
            "text": found.text,
            "is_truncated": found.is_truncated,
            "attachments": list(found.attachments),
        }

    @_of_the_account
    async def senders(self, category: str | None = None) -> Document:
        """Who is in which category; with ``category``, only those in it."""
        chosen = read_category(category, self._config)
        ours, decisions = await self._contacts.ours(), self._contacts.decisions
        await give_way(self._owner.loop)
        people = ((each, category_of(each.groups, self._config)) for each in ours)
        wanted = {chosen.name} if chosen else {each.name for each in self._config.triage.categories}
        return {
            "senders": [
                {**_person(found), "category": its.name, "since": _since(found, its.name)}
                for found, its in people
                if its is not None and its.name in wanted and found.addresses
            ],
            "domains": _wide("domain", decisions.domains, decisions.domain_days, wanted),
            "lists": _wide("list", decisions.lists, decisions.list_days, wanted),
        }

    @_of_the_account
    async def sender(self, text: str) -> Document:
        """One sender: the contact, what was decided, and where the next mail will go."""
        address = read_address(text)
        places, own = self._places(), await self._poller.surveyor.own_addresses()
        found, expected = await both(
            self._owner.loop,
            self._with_note(Subject(SubjectKind.ADDRESS, address)),
            self._poller.door.judge.expected([address], places, own),
        )
        waiting = await self.listing.senders(places.screener)
        addresses = {address, *(found.addresses if found else ())}
        category = category_of(found.groups, self._config) if found else None
        person = _person(found) if found else {"addresses": [address], "name": "", "is_ours": False}
        history = found.history if found else ()
        return {
            **person,
            "address": address,
            "category": category and category.name,
            "history": [{"category": name, "on": on} for name, on in history],
            "waiting": sum(each.mails for each in waiting if each.address in addresses),
            "next": self._next(expected.get(address)),
        }

    @_of_the_account
    async def plan(self) -> Document:
        """What the next poll would do."""
        running = self._poller
        self._places()
        place = self._owner.loop, self._config, self._mail, self._contacts
        door = Door(*place, Log(_quietly), may_write=False)
        door.state, door.since = running.door.state, running.door.since
        surveyor = Surveyor(*place, door)
        survey = await surveyor.survey()
        obstacles = await self._contacts.obstacles(survey.plan)
        failing = {who: each.reason for who, each in running.surveyor.failures.items()}
        rows = preview(survey, self._config, obstacles, failing)
        return as_document(rows, survey.crowd)

    def _places(self) -> Places:
        places = self._poller.surveyor.places
        if places is None:
            raise OrderRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "no poll has succeeded yet, so the mailboxes are not known: see mailroom status",
            )
        return places

    async def _with_note(self, subject: Subject) -> Found | None:
        """The contact with the history in its note: it is read as if for a release, which needs
        the whole card."""
        nobody: frozenset[str] = frozenset()

        def intend(found: Mapping[str, Found]) -> Plan:
            return Plan(
                tuple(Change(who, each, nobody, is_released=True) for who, each in found.items())
            )

        return (await self._contacts.find([subject.key], intend)).get(subject.key)

    def _next(self, standing: Standing | None) -> Document | None:
        if standing is None or self._config.screening.by == "off":
            return None
        category = standing.category
        if category:
            mailbox = category.destination_mailbox
        else:
            mailbox = self._config.triage.screener_mailbox if standing.waits else "Inbox"
        return {
            "outcome": str(standing.who),
            "category": category and category.name,
            "mailbox": mailbox,
        }


def _person(found: Found) -> Document:
    from_mailroom = found.provenance.value == "created"
    return {
        "address": found.addresses[0] if found.addresses else "",
        "addresses": list(found.addresses),
        "name": found.name,
        "is_ours": from_mailroom,
    }


def _since(found: Found, category: str) -> str | None:
    return found.noted_on if found.noted == category else None


def _wide(
    kind: str, decided: Mapping[str, str], days: Mapping[str, str], wanted: set[str]
) -> list[Document]:
    return [
        {kind: key, "category": category, "since": days.get(key)}
        for key, category in sorted(decided.items())
        if category in wanted
    ]


def _quietly(*_: object) -> bool:
    return True
