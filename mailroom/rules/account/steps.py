"""What is left to do until an installation is complete: the second half of ``mailroom init``.

Every run begins with what exists, whoever made it. So an interruption costs only the step that it
interrupts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """One thing to do, in the words that announce it."""

    CONFIGURATION = "write the configuration"
    SECRET = "store the secret"
    ACCOUNT = "create the missing mailboxes, labels and contact groups in the account"
    RULES = "write the rules for new mail"
    SERVICE = "enable and start the service"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What exists. None: the account cannot be looked at yet.

    ``missing`` are the mailboxes, labels and groups that setup would create; ``obstacles`` what it
    cannot create, and why; ``has_rules`` whether the rules are as the configuration asks.
    """

    has_configuration: bool
    has_secret: bool
    is_enabled: bool
    is_active: bool
    missing: tuple[str, ...] | None = None
    obstacles: tuple[str, ...] = ()
    has_rules: bool | None = None


def remaining(progress: Inventory) -> tuple[Step, ...]:
    """The steps that are left, in their order; none if the installation is complete."""
    return tuple(_remaining(progress))


def agreed(left: Sequence[Step], screening: str | None) -> tuple[Step, ...]:
    """The steps that are left once ``screening`` is chosen: only the server needs rules."""
    needs_rules = screening == "server"
    return tuple(step for step in left if needs_rules or step is not Step.RULES)


def _remaining(progress: Inventory) -> Iterator[Step]:
    if not progress.has_configuration:
        yield Step.CONFIGURATION
    if not progress.has_secret:
        yield Step.SECRET
    if progress.missing is None or progress.missing or progress.obstacles:
        yield Step.ACCOUNT
    if not progress.has_rules:
        yield Step.RULES
    if not (progress.is_enabled and progress.is_active):
        yield Step.SERVICE
