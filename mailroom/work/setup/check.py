"""``mailroom check``: try everything that the service will need, and report each step."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mailroom.engine.loop import DeadlinePassed, Loop
from mailroom.errors import CredentialsRefused, LastingTrouble, MailroomError, TransientError
from mailroom.rules.configuration.config import EVIDENCE, Config
from mailroom.rules.contacts.roster import Provenance, managed_groups
from mailroom.rules.names import same_name
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.triage import queries
from mailroom.rules.triage.places import Places, find_places, require_groups, resolve, undecided
from mailroom.rules.words import count
from mailroom.wire.http import Request
from mailroom.wire.jmap import MethodError
from mailroom.wire.jmap_push import event_source_url
from mailroom.wire.urls import origin
from mailroom.work.account.clients import Clients
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.unindexed import unindexed
from mailroom.work.polling.glance import Glance
from mailroom.work.screening.sent import Sent

# Less than the service itself waits: a person is waiting for this answer.
_PUSH_SECONDS = 10.0
# Failures of the server or the log-in, which every request to it would meet.
_SERVER_FAILURES = (CredentialsRefused, TransientError)
_BY = {
    "server": "the server's rules decide, and mailroom corrects what they cannot know",
    "mailroom": "mailroom decides, no rules are needed",
}
_KNOWN = {
    "contacts": "your contacts",
    "written": "whom you have written to",
    "conversations": "who answers in your conversations",
}
_NOBODY = "nobody@mailroom-check.invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step: what was checked, what was found, and the error if the service cannot work that
    way. A finding that ``is_doubtful`` stops nothing, but may not be what the user wants."""

    what: str
    detail: str
    error: MailroomError | None = None
    is_doubtful: bool = False


class Doubt(MailroomError):
    """The service can work that way, but it may not be what the user wants."""


class Check:
    """The steps, ordered so that each makes the next possible."""

    def __init__(self, loop: Loop, config: Config, clients: Clients) -> None:
        self._loop = loop
        self._config = config
        self._clients = clients

    async def run(self, report: Callable[[Finding], None]) -> list[Finding]:
        """Run and report every step; those that depend on a failed one are left out."""
        findings: list[Finding] = []

        async def step(what: str, work: Coroutine[Any, Any, str]) -> bool:
            try:
                finding = Finding(what, await work)
            except Doubt as doubt:
                finding = Finding(what, str(doubt), is_doubtful=True)
            except MailroomError as error:
                finding = Finding(what, str(error), error)
            findings.append(finding)
            report(finding)
            return finding.error is None

        if await step("mail server", self._session()):
            if await step("mailboxes", self._mailboxes()):
                await step("searches", self._searches())
            await step("own addresses", self._own_addresses())
            await step("push", self._push())
        elif self._is_one_server and isinstance(findings[0].error, _SERVER_FAILURES):
            return findings  # the address book would only report the same again
        if await step("address book", self._address_book()):
            await step("contact groups", self._groups())
            await step("new mail", self._screening())
            await step("contacts", self._patterns())
        return findings

    @property
    def _is_one_server(self) -> bool:
        return origin(self._config.jmap.url) == origin(self._config.carddav.url)

    async def _session(self) -> str:
        session = await self._clients.mail.session()
        limits = session.limits
        return (
            f"{session.api_url}, account {session.account_id} "
            f"({count(limits.get, 'mail')} per request, "
            f"{count(limits.concurrent, 'request')} at a time)"
        )

    async def _mailboxes(self) -> str:
        reading = await self._clients.mail.take_reading(())
        find_places(self._config, reading.mailboxes)
        names = self._config.managed_mailboxes
        lacking = [name for name in names if not resolve(name, reading.mailboxes)]
        if lacking:
            advice = self._config.command("setup --apply")
            raise Doubt(f"no {' and no '.join(lacking)} yet: {advice} makes what is missing")
        return f"all {len(names)} are there"

    async def _searches(self) -> str:
        """Try everything that polls and triages ask: a server may refuse any of it."""
        mail, now = self._clients.mail, self._loop.clock.wall()
        is_dated = (await mail.session()).is_cyrus
        places = find_places(self._config, (await mail.take_reading(())).mailboxes)
        if self._config.screening.by == "off":
            labelled = queries.labelled(places)
            await mail.read([_NOBODY])
            await mail.take_reading([labelled, queries.newcomers(places, now, is_dated=is_dated)])
            await mail.update_and_read({}, [labelled])
        else:
            await self._door(places, now)
        results: list[object] = [*await mail.search(queries.sweeps(places, [_NOBODY], now))]
        if not is_dated:
            results.append(await self._unindexed(places))
        for result in results:
            if isinstance(result, MethodError):
                [whole] = await mail.search([queries.everything(places)])
                if isinstance(whole, MethodError):
                    raise whole
                raise Doubt(
                    f"the server cannot find mail by its sender ({result}): every triage looks at "
                    "all mail in Screener and the destinations, which is slower"
                )
        return "labelled mail, new mail and mail by its sender can be found"

    async def _door(self, places: Places, now: float) -> None:
        """Try what the door asks: what has changed, moved mail, and mails by their ids."""
        mail = self._clients.mail
        labelled, filters = [queries.labelled(places)], [queries.asking(places)]
        try:
            await mail.take_reading(filters)
        except MethodError:
            if not await mail.is_split():
                raise
            filters = labelled
        with suppress(MethodError):  # then every poll asks for all of it
            await Glance(self._loop, mail).ask(places)
        state = (await mail.take_reading(labelled)).states["Email"]
        await mail.take_reading(filters, state)
        await mail.update_and_read({}, filters, state)
        session, by = await mail.session(), self._config.screening.by
        unseen = queries.unseen(places, now, by=by, is_dated=session.is_cyrus)
        await all_ids(self._loop, mail, [*unseen, queries.waiting(places.screener)])
        await mail.arrivals([_NOBODY])
        await mail.read([_NOBODY])

    async def _unindexed(self, places: Places) -> MethodError | None:
        try:
            await unindexed(self._loop, self._clients.mail, queries.everything(places))
        except MethodError as error:
            return error
        return None

    async def _own_addresses(self) -> str:
        own = await own_addresses(self._config, self._clients.mail)
        if not own:
            raise Doubt(
                "none is known, so your own mail would be triaged like anybody else's: list yours "
                "in triage.own_addresses"
            )
        return str(own)

    async def _push(self) -> str:
        if trouble := await no_push(self._loop, self._clients):
            interval = f"{self._config.polling.poll_interval:g} s"
            return f"{trouble}: mailroom polls every {interval}"
        return "the event stream opens"

    async def _address_book(self) -> str:
        return await self._clients.contacts.describe()

    async def _groups(self) -> str:
        groups = await self._clients.contacts.groups()
        require_groups(self._config, groups)
        screened = self._config.triage.screened_group
        if not any(same_name(group.name, screened) for group in groups):
            advice = self._config.command("setup --apply")
            raise Doubt(f"no {screened} yet: {advice} makes it")
        return f"all {len(managed_groups(self._config))} are there"

    async def _screening(self) -> str:
        """Who decides about new mail, since when, and who counts as known."""
        if self._config.screening.by == "off":
            return "nobody decides about it (screening.by: off)"
        record = await self._clients.contacts.record()
        since = f"since {record.door}" if record and record.door else "from the first start on"
        told = f"{_BY[self._config.screening.by]}, {since}; {_known(self._config)}"
        doubts = [*await self._about_sent(), *_about_moving(self._config)]
        if doubts:
            raise Doubt("; but ".join([told, *doubts]))
        return told

    async def _about_sent(self) -> list[str]:
        """Why it cannot be known whom the user has written to, if that matters."""
        if not {"written", "conversations"} & set(self._config.screening.known):
            return []
        mail = self._clients.mail
        by_role = {box.role: box.id for box in (await mail.take_reading(())).mailboxes}
        if "sent" not in by_role:
            return ["the account has no mailbox for sent mail, so nobody counts as written to"]
        try:
            await Sent(self._loop, mail).ask(by_role["sent"], [_NOBODY], [])
        except MethodError as error:
            return [f"the server cannot search Sent, so new mail from strangers stays put: {error}"]
        return []

    async def _patterns(self) -> str:
        """The contacts with a ``*`` in an address. Earlier versions made such contacts, which is a
        fault; if the user wrote the ``*``, it may be meant."""
        ours = await self._clients.contacts.ours()
        patterns = [each for each in ours if each.patterns]
        made = [each for each in patterns if each.provenance is Provenance.CREATED]
        named = ", ".join(f"{each.name} ({', '.join(each.patterns)})" for each in made or patterns)
        meaning = "in the server's rules a * in a contact's address stands for any text"
        if made:
            raise LastingTrouble(f"{meaning}, so they file other people's mail: delete {named}")
        if patterns:
            raise Doubt(f"{meaning}, so they file mail from everyone that it fits: {named}")
        return count(len(ours), "triaged sender")


def _known(config: Config) -> str:
    """The senders whose mail comes to Inbox without a decision."""
    known = [_KNOWN[each] for each in EVIDENCE if each in config.screening.known]
    return f"known: {', '.join(known)}" if known else "nobody is known without a decision"


def _about_moving(config: Config) -> list[str]:
    """The destinations to which mail can be moved without deciding anything."""
    return [
        f"moving mail to {name} decides nothing: categories that form no chain share it"
        for name in undecided(config)
    ]


def worst(findings: list[Finding]) -> MailroomError | None:
    """The error that sets the exit code: refused credentials come before anything else."""
    errors = [finding.error for finding in findings if finding.error]
    order = (CredentialsRefused, LastingTrouble, TransientError, MailroomError)
    return next((error for kind in order for error in errors if isinstance(error, kind)), None)


async def no_push(loop: Loop, clients: Clients) -> str:
    """Why there is no push; empty if the event stream opens."""
    session = await clients.mail.session()
    if session.event_source_template is None:
        return "not offered here"
    url = event_source_url(session.event_source_template, session.url)
    clients.web.trust(url)
    request = Request("GET", url, {"Accept": "text/event-stream"})
    try:
        stream, head = await clients.web.stream(request, loop.now() + _PUSH_SECONDS)
    except DeadlinePassed:
        return f"no answer within {_PUSH_SECONDS:.0f} s"
    stream.close()
    return "" if head.status == HTTPStatus.OK else f"not offered here ({head.status})"


async def own_addresses(config: Config, mail: MailClient) -> OwnAddresses:
    """The user's own addresses: of the identities, the configuration and the user name."""
    username = (await mail.session()).username
    configured = config.triage.own_addresses
    return OwnAddresses((*await mail.identities(), *configured, username))
