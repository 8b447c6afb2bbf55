"""``mailroom check --live``: makes and times one tap, as a person would, on the user's own account.

It puts a test mail from an invented sender into Screener and labels it; the running service does
the rest. At the end, whatever the outcome, the test mail, the contact and its group entries are
removed. No other mail and no other contact is touched: the sender's address is random, so nobody
else has it.
"""

import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mailroom.engine.loop import Loop
from mailroom.errors import MailroomError
from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Change, Plan
from mailroom.rules.polling.backoff import Jitter
from mailroom.rules.polling.push import NO_PUSH
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.rules.triage.places import Places, find_places
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.jmap import MethodError
from mailroom.work.account.clients import Clients
from mailroom.work.setup.check import Finding

Document = Mapping[str, Any]
Report = Callable[[Finding], None]

_LOOK_SECONDS = 0.05
# How long to wait for the poll that the new mail causes, so that the label gets its own poll.
_SETTLE_SECONDS = 3.0
# How long a running poll may still write.
_LINGER_SECONDS = 30.0
# How far back to search for the test mail by its sender.
_AGE_SECONDS = 3600.0
_TRIES = 4
_POLLING = "polling"
_CONNECTED, _UNAVAILABLE = "connected", "unavailable"
# How long a service that has just started may need for its first poll and for push.
_BEGINNING_SECONDS = 5.0


class LiveFailed(MailroomError):
    """The service did not triage the test mail, or not as it should."""


class Interrupted(MailroomError):
    """The user has interrupted the test."""


class Live:
    """One test. ``ask`` gives the running service's ``/status``."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        clients: Clients,
        ask: Callable[[], Document],
        jitter: Jitter = random.random,
    ) -> None:
        self.sender = f"mailroom-check-{secrets.token_hex(8)}@live-check.invalid"
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._ask = ask
        self._jitter = jitter
        self._marks = () if config.screening.by == "off" else (WAITING, PLACED)
        self._is_interrupted = False
        self._has_begun = False

    def interrupt(self) -> None:
        """Stop as soon as possible, and clean up."""
        self._is_interrupted = True

    async def run(self, within_seconds: float | None, report: Report) -> list[Finding]:
        """Run the test; every step is reported and returned. A step with an error means that the
        service was not told by push, was not done within ``within_seconds``, or failed."""
        findings: list[Finding] = []

        def tell(finding: Finding) -> None:
            findings.append(finding)
            report(finding)

        try:
            await self._test(within_seconds, tell)
        except MailroomError as error:
            tell(Finding("test", str(error), error))
        if self._has_begun:
            tell(await self._clean_up())
        return findings

    async def _test(self, within_seconds: float | None, tell: Report) -> None:
        before = await self._await_start()
        tell(self._service(before))
        places = find_places(self._config, (await self._mail.take_reading(())).mailboxes)
        category = _category(self._config)
        mail_id = await self._make_mail(places)
        tell(Finding("test mail", f"from {self.sender}, in {self._config.triage.screener_mailbox}"))
        await self._await_poll(before["poll_count"])
        # People tap at any moment. Without this pause the tap would always come just after the
        # server's tick (Cyrus looks for changes once a second).
        await self._loop.sleep_until(self._loop.now() + self._jitter())
        labelled_at = self._loop.clock.wall()
        await self._label(mail_id, category, places)
        has_push = before["eventsource"]["error"] != NO_PUSH
        within = before["poll_interval_seconds"]
        wait = "" if has_push else f", which is seen within {within:g} s: {NO_PUSH}"
        tell(Finding("label", f"{category.label}{wait}"))
        triage = await self._await_triage(2 * before["poll_interval_seconds"] + _LINGER_SECONDS)
        seconds = datetime.fromisoformat(triage["at"]).timestamp() - labelled_at
        tell(_timing(triage["trigger"], seconds, within_seconds, has_push=has_push))
        tell(await self._filing(mail_id, category, places))
        tell(await self._enrolment(category))

    async def _await_start(self) -> Document:
        """The status of the service once it has polled: just after a start it does not know yet
        whether there is push."""

        def has_begun(document: Document) -> bool:
            push = document["eventsource"]["status"]
            return document["poll_count"] > 0 and push in (_CONNECTED, _UNAVAILABLE)

        await self._watch(has_begun, _BEGINNING_SECONDS)
        return self._ask()

    def _service(self, document: Document) -> Finding:
        account = self._config.account
        if document["account"] != account:
            raise LiveFailed(
                f"the service that was asked works for {document['account']}, not for {account}: "
                "name the socket of the right one with --socket"
            )
        push = document["eventsource"]["status"]
        return Finding("service", f"pid {document['pid']}, {document['phase']}, push {push}")

    async def _make_mail(self, places: Places) -> str:
        """Create the test mail. It is marked as read, so that no program announces it, and as put
        into Screener by the user, so that the door leaves it alone."""
        self._raise_if_interrupted()
        self._has_begun = True
        text = "mailroom check --live made this mail, and will remove it."
        made = await self._mail.create("Email", {"test": {
            "mailboxIds": {places.screener: True},
            "keywords": dict.fromkeys(["$seen", *self._marks], True),
            "from": [{"name": "Mailroom Check", "email": self.sender}],
            "subject": "Mailroom checks itself",
            "textBody": [{"partId": "1", "type": "text/plain"}],
            "bodyValues": {"1": {"value": text}},
        }})  # fmt: skip
        for error in made.refused.values():
            raise error
        return made.ids["test"]

    async def _label(self, mail_id: str, category: Category, places: Places) -> None:
        self._raise_if_interrupted()
        [label_id] = [key for key, value in places.labels.items() if value == category]
        written = await self._mail.update({mail_id: {f"mailboxIds/{label_id}": True}})
        for error in written.refused.values():
            raise error

    async def _await_poll(self, poll_count: int) -> None:
        def is_over(document: Document) -> bool:
            return bool(document["poll_count"] > poll_count and document["phase"] != _POLLING)

        await self._watch(is_over, _SETTLE_SECONDS)

    async def _await_triage(self, seconds: float) -> Document:
        triages: list[Document] = []

        def is_done(document: Document) -> bool:
            for failing in document["failing_senders"]:
                if failing["sender"] == self.sender:
                    raise LiveFailed(f"the service could not triage it: {failing['reason']}")
            triages.extend(
                each for each in document["recent_triages"] if each["sender"] == self.sender
            )
            return bool(triages)

        if not await self._watch(is_done, seconds):
            raise LiveFailed(f"the service has not triaged it within {seconds:.0f} s")
        return triages[0]

    async def _watch(self, is_reached: Callable[[Document], bool], seconds: float) -> bool:
        """Ask for the status until ``is_reached``, for at most so many seconds; returns whether it
        was."""
        end = self._loop.now() + seconds
        while self._loop.now() < end:
            self._raise_if_interrupted()
            if is_reached(self._ask()):
                return True
            await self._loop.sleep_until(self._loop.now() + _LOOK_SECONDS)
        return False

    def _raise_if_interrupted(self) -> None:
        if self._is_interrupted:
            raise Interrupted("interrupted")

    async def _filing(self, mail_id: str, category: Category, places: Places) -> Finding:
        chain = self._config.triage.chain(category)
        names = " and ".join(each.destination_mailbox for each in chain)
        found = await self._mail.read([mail_id])
        managed = {*places.labels, *places.scope, places.error}
        if [mail.mailbox_ids & managed for mail in found] != [set(places.chains[category.name])]:
            raise LiveFailed(f"the mail is not in {names} alone")
        if left := sorted({WAITING, PLACED} & found[0].keywords):
            raise LiveFailed(f"the mail still has {' and '.join(left)}")
        return Finding("mail", f"in {names}, label off")

    async def _enrolment(self, category: Category) -> Finding:
        await self._contacts.refresh()
        contact = (await self._contacts.find([self.sender])).get(self.sender)
        if contact is None:
            raise LiveFailed("there is no contact")
        names = [each.contact_group for each in self._config.triage.chain(category)]
        for name in names:
            if name not in contact.groups:
                raise LiveFailed(f"the contact is not in the group {name}")
        return Finding("contact", f"made, in the group {' and '.join(names)}")

    # Afterwards

    async def _clean_up(self) -> Finding:
        """Remove every trace, in several tries; the finding names what may be left."""
        for attempt in range(_TRIES):
            try:
                await self._remove_mail()
                await self._await_idle()
                await self._remove_contact()
            except MailroomError as error:
                failure = error
            else:
                return Finding("traces", "all removed")
            await self._loop.sleep_until(self._loop.now() + 2.0**attempt)
        left = f"mail and contact of {self.sender} may be left: {failure}"
        return Finding("traces", left, LiveFailed(left))

    async def _remove_mail(self) -> None:
        """Delete the test mail, found by its sender: the answer with its id may have been lost."""
        since = datetime.fromtimestamp(self._loop.clock.wall() - _AGE_SECONDS, UTC)
        query = {"after": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        [found] = await self._mail.search([query])
        if isinstance(found, MethodError):
            raise found
        ids = [mail.id for mail in found if sender_of(mail) == self.sender]
        refused = await self._mail.destroy(ids) if ids else {}
        for error in refused.values():
            raise error

    async def _await_idle(self) -> None:
        """Wait for the running poll: if it has seen the label, it may still write a contact."""
        end = self._loop.now() + _LINGER_SECONDS
        while self._loop.now() < end and self._is_polling():
            await self._loop.sleep_until(self._loop.now() + _LOOK_SECONDS)

    def _is_polling(self) -> bool:
        try:
            return bool(self._ask()["phase"] == _POLLING)
        except MailroomError:
            return False  # a service that does not answer does not poll

    async def _remove_contact(self) -> None:
        """Take the contact out of its groups, then delete it, so that nothing is left that names
        it."""
        for _ in range(_TRIES):
            await self._contacts.refresh()
            contact = (await self._contacts.find([self.sender])).get(self.sender)
            if contact is None:
                return
            change = Change(self.sender, contact, managed=contact.groups, is_released=True)
            failed = await self._contacts.apply(Plan((change,)))
            for error in failed.values():
                raise error
        raise LiveFailed(f"the contact is still there after {_TRIES} tries")


def _category(config: Config) -> Category:
    """A category whose mail does not come to Inbox, if possible: nobody has to see the test."""
    categories = config.triage.categories
    return next((each for each in categories if not each.add_to_inbox), categories[0])


def _timing(
    trigger: str, seconds: float, within_seconds: float | None, *, has_push: bool
) -> Finding:
    detail = f"by {trigger}, {seconds:.2f} s from the label to done"
    fault = ""
    if trigger != "push" and has_push:
        fault = "the service was not told by push: see mailroom status"
    elif within_seconds is not None and seconds > within_seconds:
        fault = f"more than {within_seconds:g} s"
    if fault:
        return Finding("triage", f"{detail}: {fault}", LiveFailed(f"{detail}: {fault}"))
    return Finding("triage", detail)
