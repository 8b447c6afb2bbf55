"""The user's scripts on the server, and what to do so that ours exists and runs.

Only the script ``mailroom`` is ever written. A user's own active script stays active and unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailroom.rules.screening.inclusion import Inclusion, inclusion
from mailroom.rules.screening.sieve import without_decisions
from mailroom.rules.triage.drags import WAITING

SCRIPT_NAME = "mailroom"


@dataclass(frozen=True, slots=True)
class UserScript:
    """One of the user's scripts with its text."""

    id: str
    name: str
    text: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class ScriptPlan:
    """What to do so that ``SCRIPT_NAME`` has the wanted text and runs.

    ``replaces`` is its id if it exists. ``users_active`` is the user's own active script if that
    does not include ours; we do not change it. ``under`` is a script that includes ours under a
    condition; only the user knows whether that is intended. A script that has to be written again
    is ``is_behind`` if it differs only in decisions about domains and lists, and ``is_old`` if an
    earlier version wrote it.
    """

    is_written: bool
    is_activated: bool
    replaces: str | None = None
    users_active: str | None = None
    under: str | None = None
    is_behind: bool = False
    is_old: bool = False


def decide(scripts: Sequence[UserScript], wanted: Sequence[str]) -> ScriptPlan:
    """``wanted`` are the acceptable texts, the best first."""
    ours = next((each for each in scripts if each.name == SCRIPT_NAME), None)
    active = next((each for each in scripts if each.is_active and each is not ours), None)
    is_current = ours is not None and ours.text in wanted
    texts = {each.name: each.text for each in scripts}
    included = inclusion(active.text, SCRIPT_NAME, texts) if active else Inclusion.ALWAYS
    is_at_work = active is not None or (ours is not None and ours.is_active)
    alike = {without_decisions(text) for text in wanted}
    return ScriptPlan(
        is_written=not is_current,
        is_activated=not is_at_work,
        replaces=ours.id if ours else None,
        users_active=active.name if active and included is Inclusion.NEVER else None,
        under=active.name if active and included is Inclusion.SOMETIMES else None,
        is_behind=ours is not None and not is_current and without_decisions(ours.text) in alike,
        is_old=ours is not None and not is_current and WAITING not in ours.text,
    )


def advice_to_include(name: str) -> tuple[str, ...]:
    """What a user whose own script is active has to do."""
    return (
        f"Your own script {name!r} is active and stays so. Let it end with the new one:",
        '  at its beginning   require ["include"];',
        f'  at its very end    include :personal "{SCRIPT_NAME}";',
        "A `stop` of yours before that keeps mail from being screened.",
    )
