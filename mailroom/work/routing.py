"""Routing rules on the server: one Sieve script over JMAP (RFC 9661), or what can be seen of them.

Only the script ``mailroom`` is ever written. A user's own active script stays active and as it
is. It could be included in ours, but then what it discards or files would come to Screener as
well: on Cyrus 3.10 a ``stop`` in an included script does not stop the one that includes it (seen).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import LastingTrouble, MailroomError
from mailroom.rules.config import Config
from mailroom.rules.evidence import weigh
from mailroom.rules.names import normal_name
from mailroom.rules.places import Places, find_places, require_groups
from mailroom.rules.roster import category_of
from mailroom.rules.sieve import (
    GROUP_CONDITIONS,
    REQUIRED,
    SCRIPT_NAME,
    Decision,
    Owned,
    advice_to_include,
    decide,
    script,
)
from mailroom.rules.triage import sender_of
from mailroom.wire import jmap, sieve
from mailroom.wire.filters import all_of, in_any
from mailroom.wire.jmap import Answers, Call, MethodError
from mailroom.work.check import Finding
from mailroom.work.conversations import Conversations

_WHAT = "routing rules"
_SET = "SieveScript/set"
# How no script is active any more: RFC 9661 §2.4; what Cyrus takes instead (3.10.2, seen); and
# how a later Cyrus spells it (by the source of 3.13.7).
_DEACTIVATING: tuple[dict[str, object], ...] = (
    {"onSuccessDeactivateScript": True},
    {"onSuccessActivateScript": None},
    {"onSuccessDeactivatescript": True},
)
_EVIDENCE_SECONDS = 30 * 24 * 3600.0


class NoSieve(LastingTrouble):
    """The server lets nobody write rules by JMAP, or says that it does and cannot."""


class Unroutable(NoSieve):
    """The server lets people write rules, and none of them could do what is needed."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The script and what is, or would be, done about it."""

    text: str
    decision: Decision


class Routing:
    """The rules of one account."""

    def __init__(self, loop: Loop, config: Config, talks: Conversations) -> None:
        self._loop = loop
        self._config = config
        self._mail = talks.mail
        self._contacts = talks.contacts
        self._capability = ""

    async def plan(self) -> Routed:
        """What ``apply`` would do. Raises NoSieve; LastingTrouble where the account is not set
        up or the server refuses the script."""
        await self._require_extensions()
        (places, group_uids), scripts = await both(self._loop, self._survey(), self._scripts())
        texts = [
            script(self._config, places, group_uids, condition) for condition in GROUP_CONDITIONS
        ]
        decision = decide(scripts, texts)
        if not decision.is_written:
            return Routed(next(each.text for each in scripts if each.name == SCRIPT_NAME), decision)
        return Routed(await self._valid(texts), decision)

    async def apply(self) -> Routed:
        """Write the script and make it active, as far as it is not so."""
        routed = await self.plan()
        decision = routed.decision
        if decision.is_written or decision.is_activated:
            await self._write(routed.text, decision)
        return routed

    async def _require_extensions(self) -> None:
        """Raises Unroutable. A validator may take whatever a script requires, which fails only when
        mail comes (Stalwart 0.15.5, seen); what there is, the account's capability tells."""
        told = (await self._mail.session()).sieve_extensions
        missing = [] if told is None else [name for name in REQUIRED if name not in told]
        if missing:
            raise Unroutable(
                f"the server's Sieve has no {', '.join(missing)}, which Mailroom's rules need to "
                "look at contact groups"
            )

    async def is_there(self) -> bool:
        """Whether there is a script of ours. Raises NoSieve; LastingTrouble where the user's own
        active script runs it, which would fail without it."""
        scripts = await self._scripts()
        decision = decide(scripts, ())
        active = next((each.name for each in scripts if each.is_active), SCRIPT_NAME)
        if active not in (SCRIPT_NAME, decision.beside) and decision.replaces:
            raise LastingTrouble(
                f"your script {active!r} includes {SCRIPT_NAME!r}: take the include out of it first"
            )
        return decision.replaces is not None

    async def remove(self) -> None:
        """Switch our script off and destroy it."""
        for ours in [each for each in await self._scripts() if each.name == SCRIPT_NAME]:
            if ours.is_active:
                await self._deactivate()
            answer = (await self._call(_SET, {"destroy": [ours.id]}))["0"]
            for error in jmap.read_undestroyed(answer, _SET).values():
                raise error

    async def _deactivate(self) -> None:
        for way in _DEACTIVATING:
            try:
                (await self._call(_SET, way))["0"]
            except MethodError as error:
                if error.type != "invalidArguments" or way is _DEACTIVATING[-1]:
                    raise
            else:
                return

    async def check(self) -> Finding:
        """Whether the rules are at work: by the script itself, else by where mail has come to."""
        try:
            decision = (await self.plan()).decision
        except Unroutable as error:
            return Finding(_WHAT, str(error), error)
        except NoSieve:
            return await self._judge()
        except MailroomError as error:
            return Finding(_WHAT, str(error), error)
        if decision.beside:
            fault = "\n  ".join(advice_to_include(decision.beside))
        elif decision.is_written or decision.is_activated:
            fault = (
                f"the script {SCRIPT_NAME} is not what the configuration asks for, or not active: "
                f"run {self._config.command('setup --apply --rules')}"
            )
        else:
            under = f", where your script {decision.under!r} says so" if decision.under else ""
            return Finding(_WHAT, f"the script {SCRIPT_NAME} is at work and up to date{under}")
        return Finding(_WHAT, fault, LastingTrouble(fault))

    async def _survey(self) -> tuple[Places, dict[str, str]]:
        """Where everything is; and the groups' UIDs by name."""
        reading, _ = await both(self._loop, self._mail.open(()), self._contacts.refresh())
        places = find_places(self._config, reading.mailboxes)
        groups = await self._contacts.groups()
        require_groups(self._config, groups)
        uids = {normal_name(group.name): group.uid for group in reversed(groups)}
        return places, {name: uids[name] for name in self._config.triage.groups}

    async def _scripts(self) -> list[Owned]:
        """All scripts with their texts. A server may advertise what it does not have (seen: Cyrus
        without the methods, and without a directory for scripts)."""
        session = await self._mail.session()
        offered = [name for name in sieve.CAPABILITIES if name in session.capabilities]
        if not offered:
            raise NoSieve("the server offers no Sieve scripts by JMAP")
        self._capability = offered[0]
        try:
            answers = await self._call("SieveScript/get", {"ids": None})
            scripts = sieve.read_scripts(answers["0"])
        except MethodError as error:
            raise NoSieve(f"the server offers Sieve scripts by JMAP, but {error}") from error

        async def owned(found: sieve.Script) -> Owned:
            text = await self._mail.download(found.blob_id, sieve.MEDIA_TYPE)
            return Owned(found.id, found.name, text.decode(errors="replace"), found.is_active)

        return await together(self._loop, [owned(found) for found in scripts])

    async def _valid(self, texts: list[str]) -> str:
        """The first of the texts that the server finds no fault with."""
        faults = []
        for text in texts:
            blob_id = await self._mail.upload(text.encode(), sieve.MEDIA_TYPE)
            fault = sieve.read_fault(
                (await self._call("SieveScript/validate", {"blobId": blob_id}))["0"]
            )
            if fault is None:
                return text
            faults.append(fault)
        raise NoSieve(f"the server's Sieve cannot look at contact groups ({faults[0]})")

    async def _write(self, text: str, decision: Decision) -> None:
        """Create or replace the script; activated in the same call, so that it is never at work
        half-written."""
        changes: dict[str, object] = {}
        key = decision.replaces or "#ours"
        if decision.is_written:
            blob_id = await self._mail.upload(text.encode(), sieve.MEDIA_TYPE)
            if decision.replaces:
                changes["update"] = {decision.replaces: {"blobId": blob_id}}
            else:
                changes["create"] = {"ours": {"name": SCRIPT_NAME, "blobId": blob_id}}
        if decision.is_activated:
            changes["onSuccessActivateScript"] = key
        answer = (await self._call(_SET, changes))["0"]
        if decision.is_written and decision.replaces:
            refused = jmap.read_refusals(answer, [key], _SET)
        elif decision.is_written:
            refused = dict(jmap.read_created(answer, _SET, ["ours"]).refused)
        else:
            refused = {}
        for error in refused.values():
            raise error

    async def _call(self, method: str, arguments: dict[str, object]) -> Answers:
        return await self._mail.call([Call(method, arguments, "0", self._capability)])

    async def _judge(self) -> Finding:
        places, _ = await self._survey()
        since = datetime.fromtimestamp(self._loop.clock.wall() - _EVIDENCE_SECONDS, UTC)
        query = all_of(
            in_any(sorted(places.scope)), {"after": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )
        [found] = await self._mail.search([query])
        if isinstance(found, MethodError):
            return Finding(_WHAT, str(found), found)
        senders = {sender for mail in found if (sender := sender_of(mail))}
        contacts = await self._contacts.find(senders)
        categories = {
            sender: category_of(contact.groups, self._config)
            for sender, contact in contacts.items()
        }
        evidence = weigh(found, categories.get, self._config, places)
        if faults := evidence.faults():
            return Finding(_WHAT, "\n  ".join(faults), LastingTrouble("\n  ".join(faults)))
        seen = ", ".join(f"{count} in {name}" for name, count in sorted(evidence.routed.items()))
        if not seen:
            return Finding(_WHAT, "no mail of a triaged sender yet to tell by")
        return Finding(_WHAT, f"the last 30 days' mail of triaged senders is in place ({seen})")
