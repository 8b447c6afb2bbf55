"""The service: one loop, one account or many, two sockets, and systemd on the other side.

This module wires everything together and decides nothing. It is safe to stop at any instant
(docs/architecture.md: the mail server is the only database), so a stop only answers pending clients
and ends.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mailroom import __version__
from mailroom.engine.accountfiles import AccountFile, AccountFiles, account_names
from mailroom.engine.accountfolder import ignored_files
from mailroom.engine.broadcast import Broadcast
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import PendingConfig
from mailroom.engine.endpoint import Endpoint
from mailroom.engine.garbage import GarbageCollection
from mailroom.engine.journal import Level, Log, choose_sink
from mailroom.engine.loop import Loop
from mailroom.engine.notify import Notify, Watchdog, watchdog_interval
from mailroom.engine.shards import shard_socket
from mailroom.engine.sockets import CONTROL, groups, inherited, listen_on_both, unlisten
from mailroom.engine.unit import usual_sockets
from mailroom.errors import (
    EXIT_BUG,
    EXIT_CONFIGURATION,
    EXIT_CREDENTIALS,
    ConfigurationError,
    CredentialsRefused,
    MailroomError,
)
from mailroom.fleetroutes import FleetRoutes
from mailroom.routes import Commands
from mailroom.rules.configuration.config import Config
from mailroom.rules.configuration.fleet import SINGLE, sharing
from mailroom.rules.configuration.shard import Shard
from mailroom.rules.status import fleethealth
from mailroom.rules.status.events import ServiceEvent, reload
from mailroom.rules.status.fleethealth import Fleet, Sum
from mailroom.rules.status.health import RefusedReload, Snapshot
from mailroom.rules.status.ring import Ring
from mailroom.rules.status.statusline import status_line
from mailroom.tenants import Shared, Tenant, Tenants
from mailroom.work.account.account import Common
from mailroom.work.account.reporter import Audience

USER_AGENT = f"Mailroom/{__version__}"

# What changes in this time is one status line: if a server ends the event stream, it is open again
# a second later, and a poll follows.
_TELLING_SECONDS = 1.5

# How long a stop waits for pending clients.
_DRAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's options for a run. None: use the usual places, and serve all accounts."""

    config: str | None = None
    socket: Path | None = None
    shard: Shard | None = None


class Service:
    """One process. ``environ`` has systemd's variables and the credentials. ``reading`` is the
    configuration if it is being read already; ``loop`` is one with a clock of its own."""

    def __init__(
        self,
        options: Options,
        environ: Mapping[str, str],
        reading: PendingConfig | None = None,
        loop: Loop | None = None,
    ) -> None:
        self._options = options
        self._environ = environ
        self._reading = reading
        self._loop = loop or Loop(BoottimeClock())
        self._notify = Notify()
        self._log = Log(choose_sink(environ))
        self._started_at, self._started = self._loop.clock.wall(), self._loop.now()
        # The start in milliseconds tells this process from those that clients spoke to before.
        ring = Ring(f"{int(self._started_at * 1000):x}")
        self._broadcast = Broadcast(self._loop, ring, self._on_watched)
        self._tenants = Tenants(
            Shared(
                self._loop,
                environ,
                self._log,
                USER_AGENT,
                Common(),
                self._audience,
                self._tell_systemd_soon,
                self._tell_systemd_again,
            )
        )
        self._is_fleet = self._will_tell = self._is_ready = self._is_listening = False
        self._refused: RefusedReload | None = None
        self._is_outdated = False
        self._defaults: Config | None = None
        self._garbage = GarbageCollection(self._loop)
        self._at_end = contextlib.ExitStack()
        self._at_end.callback(self._garbage.stop)

    def run(self) -> int:
        """Serve until a signal asks to stop; returns the exit code."""
        try:
            self._handle_signals()
            self._configuring = self._loop.spawn(self._start(), "start")
            self._loop.run()
        except ConfigurationError as error:
            code = self._refuse(EXIT_CONFIGURATION, "config_refused", "problem", *error.problems)
        except CredentialsRefused as error:
            code = self._refuse(EXIT_CREDENTIALS, "credentials_refused", "error", str(error))
        except MailroomError as error:
            code = self._refuse(1, "start_refused", "problem", str(error))
        except Exception as error:  # noqa: BLE001 - systemd restarts us, the journal has the details
            sys.excepthook(type(error), error, error.__traceback__)
            code = self._refuse(EXIT_BUG, "bug", "problem", "the traceback is in the journal")
        else:
            code = 0
        self._stop()
        return code

    async def _start(self) -> None:
        first = self._reading or PendingConfig(self._options.config, self._environ)
        self._reading = None
        await self._read_configuration(first)
        self._garbage.ignore_all()
        self._report_ready()
        if self._is_outdated:
            await self._reload()

    def _listen(self) -> None:
        """Serve both sockets until the end, when pending clients get their answers. Only the first
        call does anything.

        If systemd hands over only one of the sockets, the other is not wanted.
        """
        if self._is_listening:
            return
        self._is_listening = True
        given = inherited(self._environ, os.getpid())
        listeners = given or self._listeners()
        routes = FleetRoutes(self, self._broadcast)
        endpoints = [
            Endpoint(self._loop, each, routes.answerer(has_control=name == CONTROL))
            for name, each in listeners.items()
        ]
        self._at_end.callback(_drain, endpoints)
        self._at_end.callback(self._broadcast.close)
        if not given:
            for listener in listeners.values():
                self._at_end.callback(unlisten, listener)

    def _listeners(self) -> dict[str, socket.socket]:
        """Our own sockets. A shard's get the groups that socket units would give them."""
        path, shard = self._options.socket, self._options.shard
        if shard is None:
            return listen_on_both(path or usual_sockets(self._environ)[0])
        if path is None:
            path = shard_socket(shard, self._environ)
            with contextlib.suppress(OSError):  # listening will say why
                path.parents[1].mkdir(exist_ok=True)
        return listen_on_both(path, groups())

    def _stop(self) -> None:
        self._at_end.close()
        self._log.info("service_stopped", polls=sum(each.polls for each in self._tenants))

    async def _read_configuration(self, reading: PendingConfig) -> None:
        """Read the configuration and put it to work while the loop turns: clients get answers, and
        signals are handled. Raises ConfigurationError with all problems if it cannot be used."""
        self._is_outdated = False
        config = await reading.result(self._loop)
        # Unchanged parts stay the same objects, which all accounts share.
        config = sharing(config, self._defaults or config)
        if ignored := ignored_files(reading.path):
            self._log.warning("account_ignored", problem="; ".join(ignored))
        names, shard = account_names(reading.path, self._options.shard), self._options.shard
        if names or shard:
            self._tenants.check_secrets()
            self._tenants.trust(config.tls)
            self._govern(config)
            self._is_fleet = True  # also while their files are read
            self._listen()
            try:
                files = AccountFiles(reading.path, names, config, shard)
                await self._read_accounts(files, config)
            finally:
                self._is_fleet = self._tenants.get(SINGLE) is None
        else:
            self._tenants.trust(config.tls)
            self._tenants.put_to_work(SINGLE, config, config)
            self._tenants.keep_only({SINGLE})
            self._govern(config)
            self._is_fleet = False
            self._listen()

    def _govern(self, config: Config) -> None:
        """What the configuration says about the process itself is in effect from now on."""
        self._defaults = config
        self._log.threshold = Level[config.logging.level.upper()]
        self._log.sink = choose_sink(self._environ, config.logging.format)
        self._tenants.limit(config.limits)

    async def _read_accounts(self, files: AccountFiles, defaults: Config) -> None:
        """Put each account to work as it is read. One with a faulty file stays as it was. A shard
        may have no accounts now: later ones may fall to it."""
        names: set[str] = set()

        def take(told: AccountFile) -> None:
            names.add(told.name)
            if told.config is None:
                self._tenants.refuse(told.name, told.problems)
                return
            try:
                self._tenants.put_to_work(told.name, told.config, defaults)
            except ConfigurationError as error:
                self._tenants.refuse(told.name, error.problems)
            else:
                self._report_ready()

        await files.each(self._loop, take)
        read = [tenant for name in names if (tenant := self._tenants.get(name))]
        has_none = self._options.shard is not None and not read
        if not has_none and not any(each.account for each in read):
            gone = "the files of all accounts have gone while they were read; try again"
            problems = [problem for each in read for problem in each.problems]
            raise ConfigurationError(problems or [gone])
        self._tenants.keep_only(names)

    def _report_ready(self) -> None:
        """There is something to serve now. Only the first call, at the start, does anything. From
        now on systemd's watchdog counts, though the files of thousands of accounts are still read.
        """
        if not self._is_ready:
            self._is_ready = True
            self._notify.ready()
            interval = watchdog_interval(self._environ, os.getpid())
            if interval is not None:
                Watchdog(self._loop, self._notify, interval)
            self._log.info("service_started", version=__version__, account=self._told_account())
            self._tell_systemd()

    def _told_account(self) -> str | None:
        single = self._tenants.get(SINGLE)
        return single.server if single else None

    def _audience(self, name: str) -> Audience:
        def publish(event: ServiceEvent) -> None:
            self._broadcast.publish(replace(event, document={"account": name, **event.document}))

        told = publish if name else self._broadcast.publish
        return Audience(told, lambda: self._broadcast.control.has_readers)

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, partial(self._stop_for, number))
        self._loop.on_signal(signal.SIGHUP, self._reload_soon)
        self._loop.on_signal(signal.SIGUSR1, self.poll_now)

    def _stop_for(self, number: signal.Signals) -> None:
        self._log.info("shutdown_signal_received", signal=number.name)
        self._notify.stopping()
        for further in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self._loop.on_signal(further, _nothing)
        self._configuring.cancel()
        if len(self._tenants):
            self._tenants.close()
            self._tell_systemd()
        self._loop.stop()

    def _reload_soon(self) -> None:
        """Read once at a time: however many requests come meanwhile, one more reading follows."""
        self._is_outdated = True
        if self._configuring.done:
            self._configuring = self._loop.spawn(self._reload(), "reload")

    async def _reload(self) -> None:
        """Read the configuration again; report a bad one and keep the old one.

        systemctl takes READY=1 for success in any case (seen: systemd 252 and 257), so a refusal
        stays in the status until it is mended.
        """
        self._notify.reloading()
        while self._is_outdated:
            try:
                await self._read_configuration(PendingConfig(self._options.config, self._environ))
            except ConfigurationError as error:
                self._refused = RefusedReload(self._loop.clock.wall(), error.problems)
                self._broadcast.publish(reload(self._loop.clock.wall(), error.problems))
                for problem in error.problems:
                    self._log.error("config_refused", problem=problem, kept="the old configuration")
            else:
                self._refused = None
                self._garbage.collect_all_again()
                self._log.info("config_reloaded")
                self._broadcast.publish(reload(self._loop.clock.wall(), ()))
        self._notify.ready()
        self._tell_systemd()

    def _on_watched(self) -> None:
        for tenant in self._tenants:
            if tenant.account:
                tenant.account.reporter.watched()

    def poll_now(self) -> None:
        for tenant in self._tenants:
            tenant.poll_now()

    def snapshot(self) -> Snapshot:
        """The only account's."""
        return replace(self._single().snapshot(), refused_reload=self._refused)

    def commands(self) -> Commands:
        """The only account's."""
        return self._single().commands()

    @property
    def is_fleet(self) -> bool:
        """Whether the process has many accounts, with names."""
        return self._is_fleet

    def sum(self) -> Sum:
        """The status of all accounts together."""
        return self._tenants.sum()

    def names(self) -> list[str]:
        """The names of all accounts."""
        return [each.name for each in self._tenants]

    def fleet(self) -> Fleet:
        """The status of each account."""
        return Fleet(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_seconds=self._loop.now() - self._started,
            members=[each.member() for each in self._tenants],
            refused_reload=self._refused,
        )

    def snapshots(self) -> dict[str, Snapshot]:
        """Those of all running accounts, by their names."""
        return {each.name: each.snapshot() for each in self._tenants if each.account}

    def account(self, name: str) -> Tenant | None:
        return self._tenants.get(name)

    def _single(self) -> Tenant:
        tenant = self._tenants.get(SINGLE)
        assert tenant is not None  # no client is accepted before the account exists
        return tenant

    def _tell_systemd_soon(self) -> None:
        if not self._will_tell:
            self._will_tell = True
            self._loop.call_at(self._loop.now() + _TELLING_SECONDS, self._tell_systemd)

    def _tell_systemd_again(self) -> None:
        """A poll has found all as it was: nothing new of the only account. Of many, one may have
        gone stale meanwhile."""
        if self._is_fleet or self._notify.is_behind:
            self._tell_systemd_soon()

    def _tell_systemd(self) -> None:
        self._will_tell = False
        if self._is_fleet:
            self._notify.status(fleethealth.status_line(self.sum(), self._refused))
        elif self._tenants.get(SINGLE):
            self._notify.status(status_line(self.snapshot(), _local_clock_face))

    def _refuse(self, code: int, event: str, field: str, *problems: str) -> int:
        """The process will end with ``code``: say why, in a field of the log and in ``systemctl
        status``."""
        for problem in problems:
            self._log.error(event, **{field: problem})
        self._notify.status(f"{event.replace('_', ' ')}: {problems[0]}")
        return code


def _drain(endpoints: Sequence[Endpoint]) -> None:
    """Drain all of them in the time for one."""
    until = time.monotonic() + _DRAIN_SECONDS
    for endpoint in endpoints:
        endpoint.drain(until - time.monotonic())


def _local_clock_face(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _nothing() -> None:
    pass
