"""How far an account is set up: what setup would create, and whether its rules are up to date."""

from dataclasses import dataclass

from mailroom.engine.loop import Loop
from mailroom.rules.account.setup import ItemStatus
from mailroom.rules.configuration.config import Config
from mailroom.work.account.clients import Clients
from mailroom.work.setup.routing import NoSieve, Routing
from mailroom.work.setup.setup import Setup


@dataclass(frozen=True, slots=True)
class Completeness:
    """``missing`` are the names of mailboxes, labels and groups; ``obstacles`` say what cannot be
    created, and why."""

    missing: tuple[str, ...]
    obstacles: tuple[str, ...]
    has_rules: bool


async def completeness(loop: Loop, config: Config, clients: Clients) -> Completeness:
    """Find out how far the account is set up; write nothing."""
    items = await Setup(loop, config, clients).plan()
    missing = tuple(item.name for item in items if item.status is ItemStatus.MISSING)
    faults = [item for item in items if item.is_fault]
    obstacles = tuple(f"the {item.kind} {item.name} {item.reason}" for item in faults)
    is_ready = not missing and not obstacles
    return Completeness(missing, obstacles, is_ready and await _has_rules(loop, config, clients))


async def _has_rules(loop: Loop, config: Config, clients: Clients) -> bool:
    """Whether Mailroom has nothing left to do about the rules. Rules made by hand, and an active
    script of the user's, are for the user to change."""
    routing = Routing(loop, config, clients)
    try:
        if config.screening.by != "server":
            return not await routing.is_there()
        decision = (await routing.plan()).decision
    except NoSieve:
        return True
    return not (decision.is_written or decision.is_activated)
