"""A command's own way to the account: configuration, loop, conversations."""

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
from mailroom.work.conversations import Conversations, converse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with."""

    loop: Loop
    config: Config
    talks: Conversations

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Turn the loop until the coroutine is through: its result, or its error raised."""
        task = self.loop.spawn(coroutine, "command")
        while not task.done:
            self.loop.turn()
        return task.result()


def sit_down(installation: Installation, environ: Mapping[str, str]) -> Desk:
    """The desk that the configuration asks for. Raises ConfigurationError."""
    config = load_of(installation)
    return prepare(config, logins(config, secrets_of(installation, config, environ)))


def prepare(config: Config, who: Logins) -> Desk:
    """A desk for a configuration that has been read; nothing is sent yet."""
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, USER_AGENT, config.tls.ca_file)
    return Desk(loop, config, converse(loop.root, transfer, config, who, Totals()))


def quietly(_level: Level, _event: str, _fields: Fields) -> bool:
    """A sink for a log: what the service would log is no command's to tell."""
    return True
