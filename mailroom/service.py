"""The service: one loop, one account, a status socket, and systemd on the other side.

Here everything is wired together; nothing is decided. Any instant is a safe one to stop at
(docs/architecture.md: the mail server is the only database), so a stop answers whom it owes an
answer and ends.
"""

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mailroom import __version__
from mailroom.engine.broadcast import Broadcast
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import Reading
from mailroom.engine.credentials import Credentials, Logins, load_credentials, logins
from mailroom.engine.endpoint import Endpoint
from mailroom.engine.journal import Level, Log, choose_sink
from mailroom.engine.loop import Loop
from mailroom.engine.notify import Notify, Watchdog, watchdog_interval
from mailroom.engine.sockets import CONTROL, inherited, listen_on_both, unlisten
from mailroom.engine.transfer import Transfer
from mailroom.engine.unit import usual_sockets
from mailroom.errors import (
    EXIT_BUG,
    EXIT_CONFIGURATION,
    EXIT_CREDENTIALS,
    ConfigurationError,
    CredentialsRefused,
    MailroomError,
)
from mailroom.routes import Commands, Routes
from mailroom.rules.config import Config
from mailroom.rules.events import reload
from mailroom.rules.health import RefusedReload, Snapshot
from mailroom.rules.ring import Ring
from mailroom.rules.servers import without_query
from mailroom.rules.statusline import status_line
from mailroom.work.account import Account
from mailroom.work.history import History
from mailroom.work.reporter import Audience

USER_AGENT = f"Mailroom/{__version__}"

# How often Python looks for garbage that holds itself: an error and who waits for it, a request and
# libcurl's handle. By default (2000, 10, 10) an hour's worth lies about, a megabyte (seen).
_COLLECTION_THRESHOLDS = (700, 5, 2)

# How long a stop waits for who is owed an answer.
_DRAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about a run; None: look at the usual places."""

    config: str | None = None
    socket: Path | None = None


class Service:
    """One process. ``environ`` is read for systemd's variables and the credentials; ``reading`` is
    the configuration, where it is on its way already."""

    def __init__(
        self, options: Options, environ: Mapping[str, str], reading: Reading | None = None
    ) -> None:
        self._options = options
        self._environ = environ
        self._reading = reading
        self._loop = Loop(BoottimeClock())
        self._notify = Notify()
        self._log = Log(choose_sink(environ))
        self._history = History(self._loop.clock.wall(), self._loop.now())
        self._account: Account | None = None
        # No process that anybody may have spoken to has begun at the same millisecond.
        ring = Ring(f"{int(self._history.started_at * 1000):x}")
        self._broadcast = Broadcast(self._loop, ring, self._on_watched)
        self._credentials: Credentials | None = None
        self._at_work: tuple[Config, Logins] | None = None
        self._refused: RefusedReload | None = None
        self._is_outdated = False
        self._at_end = contextlib.ExitStack()

    def run(self) -> int:
        """Serve until a signal says stop; returns the exit code."""
        try:
            self._handle_signals()
            self._configuring = self._loop.spawn(self._start(), "start")
            self._loop.run()
        except ConfigurationError as error:
            code = self._refuse(EXIT_CONFIGURATION, "config_refused", *error.problems)
        except CredentialsRefused as error:
            code = self._refuse(EXIT_CREDENTIALS, "credentials_refused", str(error))
        except MailroomError as error:
            code = self._refuse(1, "start_refused", str(error))
        except Exception as error:  # noqa: BLE001 - systemd restarts us, the journal has the details
            sys.excepthook(type(error), error, error.__traceback__)
            code = self._refuse(EXIT_BUG, "bug", "the traceback is in the journal")
        else:
            code = 0
        self._stop()
        return code

    async def _start(self) -> None:
        config, who = await self._read_configuration()
        self._listen()
        self._put_to_work(config, who)
        interval = watchdog_interval(self._environ, os.getpid())
        if interval is not None:
            Watchdog(self._loop, self._notify, interval)
        gc.freeze()  # what is there now stays, and need not be looked at again
        gc.set_threshold(*_COLLECTION_THRESHOLDS)
        self._notify.ready()
        self._log.info(
            "service_started", version=__version__, account=without_query(config.jmap.url)
        )
        self._tell_systemd()
        if self._is_outdated:
            await self._reload()

    def _listen(self) -> None:
        """Serve both sockets until the end, when whoever is owed an answer gets it.

        Of those that systemd hands over, one may be missing, and is then not wanted.
        """
        given = inherited(self._environ, os.getpid())
        path = self._options.socket or usual_sockets(self._environ)[0]
        listeners = given or listen_on_both(path)
        routes = Routes(self, self._broadcast)
        endpoints = [
            Endpoint(self._loop, each, routes.answerer(has_control=name == CONTROL))
            for name, each in listeners.items()
        ]
        self._at_end.callback(_drain, endpoints)
        self._at_end.callback(self._broadcast.close)
        if not given:
            for listener in listeners.values():
                self._at_end.callback(unlisten, listener)

    def _stop(self) -> None:
        self._at_end.close()
        self._log.info("service_stopped", polls=self._history.totals.poll_count)

    async def _read_configuration(self) -> tuple[Config, Logins]:
        """While the loop turns: whoever asks is answered, and a signal heard."""
        self._is_outdated = False
        reading = self._reading or Reading(self._options.config, self._environ)
        self._reading = None
        config = await reading.result(self._loop)
        if self._credentials is None:
            # Once, as systemd does: no reload reads a secret, however the process was started.
            self._credentials = load_credentials(self._environ)
        return config, logins(config, self._credentials)

    def _put_to_work(self, config: Config, who: Logins) -> None:
        """Where only the log changes, connections and address book stay as they are."""
        self._log.threshold = Level[config.logging.level.upper()]
        self._log.sink = choose_sink(self._environ, config.logging.format)
        before, self._at_work = self._at_work, (config, who)
        if before is None or before != (replace(config, logging=before[0].logging), who):
            self._open_account(config, who)

    def _open_account(self, config: Config, who: Logins) -> None:
        """In place of the one that there was."""
        if self._account:
            self._account.close()
            self._transfer.close()
        self._transfer: Transfer = Transfer(self._loop, USER_AGENT, config.tls.ca_file)
        self._account = Account(self._loop, self._transfer, config, who, self._log, self._history)
        self._account.on_change = self._tell_systemd
        self._account.reporter.audience = Audience(
            self._broadcast.publish, lambda: self._broadcast.control.has_readers
        )
        self._account.start()

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, partial(self._stop_for, number))
        self._loop.on_signal(signal.SIGHUP, self._reload_soon)
        self._loop.on_signal(signal.SIGUSR1, self.poll_now)

    def _stop_for(self, number: signal.Signals) -> None:
        self._log.info("shutdown_signal_received", signal=number.name)
        self._notify.stopping()
        for too_late in (signal.SIGHUP, signal.SIGUSR1):
            self._loop.on_signal(too_late, _nothing)
        self._configuring.cancel()
        if self._account:
            self._account.close()
            self._tell_systemd()
        self._loop.stop()

    def _reload_soon(self) -> None:
        """One reading at a time: however often it is asked for meanwhile, one more follows."""
        self._is_outdated = True
        if self._configuring.done:
            self._configuring = self._loop.spawn(self._reload(), "reload")

    async def _reload(self) -> None:
        """Read the configuration again; a bad one is reported and the old one kept.

        systemctl takes READY=1 for success, whatever has become of it (seen: systemd 252 and 257),
        so a refusal stays in the status until it is mended.
        """
        self._notify.reloading()
        while self._is_outdated:
            try:
                config, who = await self._read_configuration()
            except ConfigurationError as error:
                self._refused = RefusedReload(self._loop.clock.wall(), error.problems)
                self._broadcast.publish(reload(self._loop.clock.wall(), error.problems))
                for problem in error.problems:
                    self._log.error("config_refused", problem=problem, kept="the old configuration")
            else:
                self._refused = None
                self._put_to_work(config, who)
                self._log.info("config_reloaded")
                self._broadcast.publish(reload(self._loop.clock.wall(), ()))
        self._notify.ready()
        self._tell_systemd()

    def _on_watched(self) -> None:
        if self._account:
            self._account.reporter.watched()

    def poll_now(self) -> None:
        if self._account:
            self._account.poll_now()

    def snapshot(self) -> Snapshot:
        assert self._account is not None  # no client is accepted before the account exists
        return replace(self._account.snapshot(), refused_reload=self._refused)

    def commands(self) -> Commands:
        assert self._account is not None  # as above
        return self._account.commands

    def _tell_systemd(self) -> None:
        self._notify.status(status_line(self.snapshot(), _local_clock_face))

    def _refuse(self, code: int, event: str, *problems: str) -> int:
        """The process is to end with ``code``: say why, in the log and in ``systemctl status``."""
        for problem in problems:
            self._log.error(event, problem=problem)
        self._notify.status(f"{event.replace('_', ' ')}: {problems[0]}")
        return code


def _drain(endpoints: Sequence[Endpoint]) -> None:
    """All of them in the time that there is for one."""
    until = time.monotonic() + _DRAIN_SECONDS
    for endpoint in endpoints:
        endpoint.drain(until - time.monotonic())


def _local_clock_face(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _nothing() -> None:
    pass
