"""Routing rules on the server: one Sieve script over JMAP (RFC 9661), or what can be seen of rules.

Only the script ``mailroom`` is ever written. A user's own active script stays active and unchanged.
Ours could include it, but then mail that it discards or files would come to Screener as well: on
Cyrus 3.10.2 a ``stop`` in an included script does not stop the including one (seen).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import LastingTrouble, MailroomError
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Acquaintance
from mailroom.rules.names import normal_name
from mailroom.rules.screening.evidence import weigh
from mailroom.rules.screening.scripts import (
    SCRIPT_NAME,
    ScriptPlan,
    UserScript,
    advice_to_include,
    decide,
)
from mailroom.rules.screening.sieve import GROUP_CONDITIONS, REQUIRED, ScriptInput, script
from mailroom.rules.screening.standing import Facts, Standing, standing
from mailroom.rules.triage.places import find_places, require_groups
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire import jmap, sieve
from mailroom.wire.filters import all_of, in_any
from mailroom.wire.jmap import Answers, Call, Mail, MethodError
from mailroom.wire.sieve import string
from mailroom.work.account.clients import Clients
from mailroom.work.setup.check import Finding, own_addresses

_WHAT = "routing rules"
_SET = "SieveScript/set"
# How to deactivate the active script: by RFC 9661 §2.4; as Cyrus 3.10.2 wants it (seen); and as
# Cyrus 3.13.7 spells it (its source).
_DEACTIVATING: tuple[dict[str, object], ...] = (
    {"onSuccessDeactivateScript": True},
    {"onSuccessActivateScript": None},
    {"onSuccessDeactivatescript": True},
)
# How far back mail counts as evidence: a fault that was mended must not show for ever.
_EVIDENCE_SECONDS = 30 * 24 * 3600.0


class NoSieve(LastingTrouble):
    """The server does not let clients write rules by JMAP, or only claims to."""


class Unroutable(NoSieve):
    """The server lets clients write rules, but lacks an extension that ours need."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The script, and what was or would be done about it."""

    text: str
    decision: ScriptPlan


class Routing:
    """The rules of one account."""

    def __init__(self, loop: Loop, config: Config, clients: Clients) -> None:
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._capability = ""

    async def plan(self) -> Routed:
        """What ``apply`` would do. Raises NoSieve, also if the server refuses the script;
        LastingTrouble if the account is not set up."""
        await self._require_extensions()
        source, scripts = await both(self._loop, self._survey(), self._scripts())
        texts = [script(self._config, source, condition) for condition in GROUP_CONDITIONS]
        decision = decide(scripts, texts)
        if not decision.is_written:
            return Routed(next(each.text for each in scripts if each.name == SCRIPT_NAME), decision)
        return Routed(await self._valid(texts), decision)

    async def apply(self) -> Routed:
        """Write the script and activate it, as far as needed."""
        routed = await self.plan()
        decision = routed.decision
        if decision.is_written or decision.is_activated:
            await self._write(routed.text, decision)
        return routed

    async def offer(self) -> str | None:
        """Try whether rules could be written; returns the name of the user's active script, if it
        is not ours. Raises NoSieve."""
        await self._require_extensions()
        scripts = await self._scripts()
        await self._valid([f"require [{', '.join(map(string, REQUIRED))}];\nkeep;\n"])
        active = (each.name for each in scripts if each.is_active and each.name != SCRIPT_NAME)
        return next(active, None)

    async def _require_extensions(self) -> None:
        """Raise Unroutable if an extension is missing. A validator may accept any extension, and
        the script fails when mail comes (Stalwart 0.15.5, seen); the account's capability lists
        what there is."""
        told = (await self._mail.session()).sieve_extensions
        missing = [] if told is None else [name for name in REQUIRED if name not in told]
        if missing:
            raise Unroutable(
                f"the server's Sieve has no {', '.join(missing)}, which Mailroom's rules need: "
                "let it sort new mail itself (screening.by: mailroom)"
            )

    async def is_there(self) -> bool:
        """Whether our script exists. Raises NoSieve; LastingTrouble if the user's active script
        includes it, which would fail without ours."""
        scripts = await self._scripts()
        decision = decide(scripts, ())
        active = next((each.name for each in scripts if each.is_active), SCRIPT_NAME)
        if active not in (SCRIPT_NAME, decision.users_active) and decision.replaces:
            raise LastingTrouble(
                f"your script {active!r} includes {SCRIPT_NAME!r}: take the include out of it first"
            )
        return decision.replaces is not None

    async def remove(self) -> None:
        """Deactivate our script and destroy it."""
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
        """Whether the rules are active: by the script itself, or else by where mail has gone."""
        try:
            if self._config.screening.by != "server":
                return await self._check_without()
            return self._told((await self.plan()).decision)
        except Unroutable as error:
            return Finding(_WHAT, str(error), error)
        except NoSieve:
            return await self._judge()
        except MailroomError as error:
            return Finding(_WHAT, str(error), error)

    async def _check_without(self) -> Finding:
        """The finding if the server needs no rules of ours. Raises NoSieve if scripts cannot be
        seen."""
        by = self._config.screening.by
        if await self.is_there():
            told = (
                f"the script {SCRIPT_NAME} is still there, and screening.by is {by}: "
                f"{self._config.command('setup --apply --rules')} removes it"
            )
            return Finding(_WHAT, told, is_doubtful=True)
        if by == "off":
            return Finding(_WHAT, "none of Mailroom's (screening.by: off)")
        return await self._judge()

    def _told(self, decision: ScriptPlan) -> Finding:
        advice = f"run {self._config.command('setup --apply --rules')}"
        name = f"the script {SCRIPT_NAME}"
        if decision.users_active:
            fault = "\n  ".join(advice_to_include(decision.users_active))
        elif decision.is_old:
            fault = f"{name} is from an earlier version, which makes people you know wait: {advice}"
        elif decision.is_activated or (decision.is_written and not decision.is_behind):
            fault = f"{name} is not what the configuration asks for, or not active: {advice}"
        else:
            under = f", where your script {decision.under!r} says so" if decision.under else ""
            if not decision.is_behind:
                return Finding(_WHAT, f"{name} is active and up to date{under}")
            change = "decisions for domains or lists have changed since it was written"
            return Finding(_WHAT, f"{name} is active{under}; {change}: {advice}", is_doubtful=True)
        return Finding(_WHAT, fault, LastingTrouble(fault))

    async def lift(self, *, apply: bool) -> bool:
        """Whether our script exists although none is needed; ``apply`` removes it."""
        try:
            is_there = await self.is_there()
        except NoSieve:
            return False
        if is_there and apply:
            await self.remove()
        return is_there

    async def _survey(self) -> ScriptInput:
        """What the script is made from: mailboxes, groups, own addresses and decisions."""
        reading, _ = await both(self._loop, self._mail.take_reading(()), self._contacts.refresh())
        own = await own_addresses(self._config, self._mail)
        places = find_places(self._config, reading.mailboxes)
        groups = await self._contacts.groups()
        require_groups(self._config, groups)
        uids = {normal_name(group.name): group.uid for group in reversed(groups)}
        names = (*self._config.triage.groups, self._config.triage.screened_group)
        wanted = {name: uids[name] for name in names if name in uids}
        return ScriptInput(places, wanted, own, self._contacts.decisions)

    async def _scripts(self) -> list[UserScript]:
        """All scripts with their texts. A server may advertise scripts without having them (seen:
        Cyrus 3.10.2 without the methods, and without a directory for scripts)."""
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

        async def owned(found: sieve.Script) -> UserScript:
            text = await self._mail.download(found.blob_id, sieve.MEDIA_TYPE)
            return UserScript(found.id, found.name, text.decode(errors="replace"), found.is_active)

        return await together(self._loop, [owned(found) for found in scripts])

    async def _valid(self, texts: list[str]) -> str:
        """The first of the texts that the server accepts. Raises NoSieve if it refuses them all."""
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

    async def _write(self, text: str, decision: ScriptPlan) -> None:
        """Create or replace the script, and activate it in the same call, so that it is never
        active half-written."""
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
        source, record = await self._survey(), await self._contacts.record()
        door = datetime.fromisoformat(record.door).timestamp() if record and record.door else 0.0
        after = max(self._loop.clock.wall() - _EVIDENCE_SECONDS, door)
        since = datetime.fromtimestamp(after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        [found] = await self._mail.search(
            [all_of(in_any(sorted(source.places.scope)), {"after": since})]
        )
        if isinstance(found, MethodError):
            return Finding(_WHAT, str(found), found)
        standing_of = await self._judgement(found, source)
        evidence = weigh(found, standing_of, source.places, has_door=door > 0)
        if faults := evidence.faults():
            return Finding(_WHAT, "\n  ".join(faults), LastingTrouble("\n  ".join(faults)))
        seen = ", ".join(f"{count} in {name}" for name, count in sorted(evidence.routed.items()))
        if not seen:
            return Finding(_WHAT, "there is no mail from a triaged sender yet to judge by")
        return Finding(_WHAT, f"the last 30 days' mail from triaged senders is in place ({seen})")

    async def _judgement(
        self, mails: Iterable[Mail], source: ScriptInput
    ) -> Callable[[str], Standing | None]:
        """Gives the decision about a sender, as far as it needs neither Sent nor the mail."""
        senders = {sender for mail in mails if (sender := sender_of(mail))}
        book = await self._contacts.acquainted(senders)

        def standing_of(sender: str) -> Standing | None:
            known = book.get(sender, Acquaintance())
            facts = Facts(
                is_own=sender in source.own,
                groups=known.groups,
                is_in_book=known.is_in_book,
                by_domain=source.decisions.of_domain(sender),
            )
            return standing(facts, self._config)

        return standing_of
