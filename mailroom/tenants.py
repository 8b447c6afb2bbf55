"""The accounts of one process, by name: opened, replaced and closed as the configuration says, each
on its own.

No account affects another. A bug ends an account with a traceback in the log, and the account is
started again. Refused credentials end it until they may have changed. Only a single account, which
has no name, ends the process.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING

from mailroom.engine.accountsecrets import AccountSecrets, with_shared
from mailroom.engine.credentials import Credentials, Logins, logins
from mailroom.engine.journal import AccountLog, Log
from mailroom.engine.loop import Loop, Owner, Timer
from mailroom.engine.transfer import Transfer
from mailroom.errors import ConfigurationError, CredentialsRefused, OrderRefused
from mailroom.rules.configuration.config import Config, Limits, Tls
from mailroom.rules.configuration.fleet import SINGLE
from mailroom.rules.polling.backoff import Backoff
from mailroom.rules.status.fleethealth import Member, Sum
from mailroom.rules.status.health import Phase, Snapshot, Trouble, Vitals, unchanged_seconds
from mailroom.wire.urls import without_query
from mailroom.work.account.account import Account, Common
from mailroom.work.account.history import History
from mailroom.work.account.reporter import Audience

if TYPE_CHECKING:
    from mailroom.work.account.commands import Commands

# The first and the longest wait before a restart: a bug that comes again at once must not burn the
# processor.
_RESTART_SECONDS = 1.0, 300.0
# Nobody mends a refused password within minutes; a reload tries it at once.
_REFUSED_SECONDS = 3600.0
# One of many accounts does not ask for thousands of mails at once: reading such an answer takes a
# tenth of a second, in which all others wait, and costs the server even more.
_OBJECTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Shared:
    """What all accounts of the process share."""

    loop: Loop
    environ: Mapping[str, str]
    log: Log
    user_agent: str
    common: Common
    audience: Callable[[str], Audience]
    on_change: Callable[[], None]
    on_same: Callable[[], None]


class Tenant:
    """One account, while the process has it. ``problems`` say why its file or secrets were refused
    at the last reading; ``account`` is None if they were never good.

    ======= ================================== ==================== ============== ======
    phase   a good file                        a bug, refused       the wait over  close
                                               credentials
    ======= ================================== ==================== ============== ======
    empty   running                                                                closed
    running the same: goes on; else: reopened  ended, with a wait                  closed
    ended   running                            ignored              running        closed
    ======= ================================== ==================== ============== ======

    A bad file changes nothing but ``problems``. An error of an account that has been replaced or
    closed is only logged.
    """

    def __init__(self, name: str, shared: Shared, note_change: Callable[[str], None]) -> None:
        self.name = name
        self.account: Account | None = None
        self.problems: tuple[str, ...] = ()
        self._shared = shared
        self._log = AccountLog(shared.log, name) if name else shared.log
        clock = shared.loop.clock
        self._history = History(clock.wall(), clock.now())
        self._restarts = Backoff(shared.common.jitter, *_RESTART_SECONDS)
        self._restart: Timer | None = None
        self._at_work: tuple[Config, Logins] | None = None
        self._transfer: Transfer | None = None
        self._is_ended = False
        self._run = 0  # counts its accounts: an error of a former one does not end the current one
        self._opened_at = 0.0
        self._note_change = partial(note_change, name)

    def put_to_work(self, config: Config, who: Logins, transfer: Transfer) -> bool:
        """Run it with this configuration from now on; returns whether it was opened anew. If only
        what concerns the whole process differs, connections and address book are kept."""
        self.problems = ()
        self._note_change()
        before, self._at_work = self._at_work, (config, who)
        is_same = before is not None and before == (_with_process_of(config, before[0]), who)
        if is_same and not self._is_ended and transfer is self._transfer:
            return False
        self._restarts.reset()
        self._open(transfer)
        return True

    def use(self, transfer: Transfer) -> None:
        """Use this transfer from now on."""
        if self._at_work and transfer is not self._transfer:
            self._open(transfer)

    def refuse(self, problems: tuple[str, ...]) -> None:
        """Its new file is refused; it stays as it is."""
        self.problems = problems
        self._note_change()
        for problem in problems:
            kept = "the old configuration" if self.account else None
            self._log.error("config_refused", problem=problem, kept=kept)

    def close(self) -> None:
        self._run += 1
        if self._restart:
            self._restart.cancel()
        if self.account:
            self.account.close()

    def snapshot(self) -> Snapshot:
        """Its status. Raises OrderRefused if it never had a good configuration."""
        found = self._running().snapshot()
        return replace(found, phase=Phase.BACKING_OFF) if self._is_ended else found

    def member(self) -> Member:
        """Its status, as one of many."""
        return Member(self.name, self._vitals(), self.problems)

    def _vitals(self) -> Vitals | None:
        if self.account is None:
            return None
        found = self.account.vitals()
        return replace(found, phase=Phase.BACKING_OFF) if self._is_ended else found

    def commands(self) -> "Commands":
        """What a person can ask of it. Raises OrderRefused like :meth:`snapshot`."""
        return self._running().commands

    def poll_now(self) -> None:
        if self.account:
            self.account.poll_now()

    @property
    def polls(self) -> int:
        """How many polls there were since the start of the process."""
        return self._history.totals.poll_count

    @property
    def server(self) -> str:
        """Its server's URL, for the log."""
        return without_query(self._at_work[0].jmap.url) if self._at_work else ""

    @property
    def owners(self) -> tuple[str, ...]:
        """The users who may see it and decide for it."""
        return self._at_work[0].owners if self._at_work else ()

    def _running(self) -> Account:
        if self.account is None:
            why = self.problems[0] if self.problems else "nobody knows why"
            told = f"the account {self.name} does not run: {why}"
            raise OrderRefused(HTTPStatus.SERVICE_UNAVAILABLE, told)
        return self.account

    def _open(self, transfer: Transfer) -> None:
        assert self._at_work is not None
        config, who = self._at_work
        self.close()
        self._is_ended = False
        self._note_change()
        self._opened_at = self._shared.loop.now()
        on_error = None if self.name == SINGLE else partial(self._failed, self._run)
        owner = Owner(self._shared.loop, on_error)
        self.account = Account(
            owner, transfer, config, who, self._log, self._history, self._shared.common
        )
        self.account.on_change = self._changed
        self.account.on_same = self._polled
        self.account.reporter.audience = self._shared.audience(self.name)
        self._transfer = transfer
        self.account.start()

    def _open_again(self) -> None:
        assert self._transfer is not None
        self._open(self._transfer)

    def _failed(self, run: int, error: Exception) -> None:
        """The account has failed. The first error counts: others follow from it, or from its being
        closed."""
        if run != self._run:
            name, told = type(error).__name__, _traceback(error)
            self._log.error("account_failed", error=name, traceback=told, kept="nothing to end")
            return
        if self._is_ended:
            return
        self._is_ended = True
        now = self._shared.loop.clock.wall()
        if isinstance(error, CredentialsRefused):
            self._log.error("credentials_refused", error=str(error))
            trouble = Trouble(now, "credentials", str(error), is_lasting=True)
            wait = _REFUSED_SECONDS
        else:
            told = _traceback(error)
            self._log.error("account_failed", error=type(error).__name__, traceback=told)
            if self._shared.loop.now() - self._opened_at > _RESTART_SECONDS[1]:
                self._restarts.reset()
            reason = f"a bug of Mailroom's ({type(error).__name__}); the journal has the details"
            trouble, wait = Trouble(now, "bug", reason, is_lasting=True), self._restarts.fail()
        self._history.trouble = self._history.last_error = trouble
        assert self.account is not None
        self.account.close()
        loop = self._shared.loop
        self._restart = loop.call_at(loop.now() + wait, self._open_again)
        self._changed()

    def _changed(self) -> None:
        self._note_change()
        self._shared.on_change()

    def _polled(self) -> None:
        self._note_change()
        self._shared.on_same()


class Tenants:
    """All accounts of the process."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._all: dict[str, Tenant] = {}
        self._credentials: dict[str, Credentials | ConfigurationError] = {}
        self._account_secrets = AccountSecrets(shared.environ)
        self._transfer: Transfer | None = None
        self._transfers: dict[Tls, Transfer] = {}  # several only until a reading succeeds
        self._sum = Sum()
        self._changed: set[str] = set()  # since they were last added to the sum
        self._good_until: dict[str, float] = {}  # how long an account's part of the sum holds
        self._look_at: dict[str, float] = {}  # when to look at it again
        self._aging: list[tuple[float, str]] = []  # the heap of these

    def __iter__(self) -> Iterator[Tenant]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def get(self, name: str) -> Tenant | None:
        return self._all.get(name)

    def sum(self) -> Sum:
        """The status of all together. Only accounts that changed since the last call are computed
        anew."""
        now = self._shared.loop.now()
        while self._aging and self._aging[0][0] <= now:
            when, name = heapq.heappop(self._aging)
            if self._look_at.get(name) == when:
                del self._look_at[name]
                if self._good_until[name] > now:
                    self._expect(name, self._good_until[name])
                else:
                    self._changed.add(name)
        changed, self._changed = self._changed, set()
        for name in changed:
            if tenant := self._all.get(name):
                member = tenant.member()
                self._sum.put(member)
                if member.vitals:
                    self._expect(name, now + unchanged_seconds(member.vitals))
            else:
                self._sum.drop(name)
                self._good_until.pop(name, None)
                self._look_at.pop(name, None)
        return self._sum

    def _expect(self, name: str, due: float) -> None:
        """If nothing happens to it, its status holds until ``due``."""
        self._good_until[name] = due
        if due < self._look_at.get(name, inf):
            self._look_at[name] = due
            heapq.heappush(self._aging, (due, name))

    def check_secrets(self) -> None:
        """Raises ConfigurationError if the secrets of many accounts cannot be read at all."""
        self._account_secrets.lines  # noqa: B018 - read once

    def limit(self, limits: Limits) -> None:
        """How much all accounts together may ask of one server."""
        self._shared.common.servers.limit(limits.connections_per_server, limits.starts_per_second)

    def trust(self, tls: Tls) -> None:
        """Whom TLS trusts, for all accounts that are put to work from now on."""
        if tls not in self._transfers:
            self._transfers[tls] = Transfer(self._shared.loop, self._shared.user_agent, tls)
        self._transfer = self._transfers[tls]

    def put_to_work(self, name: str, config: Config, defaults: Config) -> bool:
        """Run the account with this configuration; returns whether it was opened anew. Raises
        ConfigurationError if its secrets are missing or malformed."""
        assert self._transfer is not None  # trust() comes first
        who = logins(config, self._secrets(name, config, defaults))
        self._shared.common.servers.objects_at_once = inf if name == SINGLE else _OBJECTS_AT_ONCE
        tenant = self._all.get(name) or self._tenant(name)
        return tenant.put_to_work(config, who, self._transfer)

    def refuse(self, name: str, problems: tuple[str, ...]) -> None:
        """The account's file is faulty: the account stays as it was, or does not run."""
        (self._all.get(name) or self._tenant(name)).refuse(problems)

    def keep_only(self, names: set[str]) -> list[str]:
        """Keep only these accounts: close the others, and return which. Those whose new file was
        refused get the new ``tls`` settings, too."""
        gone = sorted(self._all.keys() - names)
        for name in gone:
            self._all.pop(name).close()
            self._changed.add(name)
        if self._transfer:
            for tenant in self:
                tenant.use(self._transfer)
        others = [tls for tls, each in self._transfers.items() if each is not self._transfer]
        for tls in others:
            self._transfers.pop(tls).close()
        return gone

    def close(self) -> None:
        """End all accounts, and close all connections."""
        for tenant in self:
            tenant.close()
        for transfer in self._transfers.values():
            transfer.close()

    def _tenant(self, name: str) -> Tenant:
        return self._all.setdefault(name, Tenant(name, self._shared, self._changed_by))

    def _changed_by(self, name: str) -> None:
        self._changed.add(name)

    def _secrets(self, name: str, config: Config, defaults: Config) -> Credentials:
        """An account's secrets, read once: a reload reads none, however the process was started."""
        if name not in self._credentials:
            try:
                found: Credentials | ConfigurationError = self._account_secrets.of(name)
            except ConfigurationError as error:
                found = error
            self._credentials[name] = found
        known = self._credentials[name]
        if isinstance(known, ConfigurationError):
            raise known
        if name == SINGLE:
            return known
        of_all = partial(self._secrets, SINGLE, defaults, defaults)
        return with_shared(known, of_all, config, defaults)


def _with_process_of(config: Config, other: Config) -> Config:
    """The configuration, with what the other one says about the whole process."""
    return replace(config, logging=other.logging, limits=other.limits)


def _traceback(error: Exception) -> str:
    import traceback  # noqa: PLC0415 - 0.3 MiB for what should not happen

    return "".join(traceback.format_exception(error))
