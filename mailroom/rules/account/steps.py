"""What is left to be done until an installation is whole: the second half of ``mailroom init``.

Every run begins with what is there, whoever made it and however the run before ended, so that
being broken off anywhere costs nothing but the step it was in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """One thing to be made, in the words that say so beforehand."""

    CONFIGURATION = "write the configuration"
    SECRET = "store the secret"
    ACCOUNT = "create the missing mailboxes, labels and contact groups in the account"
    RULES = "write the rules for new mail"
    SERVICE = "enable and start the service"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is there. Of an account that cannot be looked at yet, nothing is known: None.

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
    """The steps that are left, in their order; none where the installation is whole."""
    return tuple(_remaining(progress))


def agreed(left: Sequence[Step], screening: str | None) -> tuple[Step, ...]:
    """Those that are left when it has been said who sorts new mail: rules are the server's."""
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
