"""A command's own access to the account: configuration, loop, clients."""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mailroom.engine.accountsecrets import secrets_of
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import load_of
from mailroom.engine.credentials import Logins, logins
from mailroom.engine.journal import Fields, Level
from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Transfer
from mailroom.engine.unit import Installation
from mailroom.rules.configuration.config import Config
from mailroom.rules.status.health import Totals
from mailroom.service import USER_AGENT
from mailroom.work.account.clients import Clients, build_clients

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works with."""

    loop: Loop
    config: Config
    clients: Clients

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Turn the loop until the coroutine ends; returns its result or raises its error."""
        task = self.loop.spawn(coroutine, "command")
        while not task.done:
            self.loop.turn()
        return task.result()


def open_context(installation: Installation, environ: Mapping[str, str]) -> Context:
    """The context for the installation's configuration. Raises ConfigurationError."""
    config = load_of(installation)
    return context_for(config, logins(config, secrets_of(installation, config, environ)))


def context_for(config: Config, who: Logins) -> Context:
    """A context for a configuration that has been read; nothing is sent yet."""
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, USER_AGENT, config.tls)
    return Context(loop, config, build_clients(loop.root, transfer, config, who, Totals()))


def quietly(_level: Level, _event: str, _fields: Fields) -> bool:
    """A sink that drops the service's log events: commands do not show them."""
    return True
