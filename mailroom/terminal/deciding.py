"""``mailroom triage`` and ``mailroom undo``: decisions, carried out by the running service.

What was done is printed on stdout, what failed on stderr, a line each; a failure exits with 1.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from mailroom.rules.triage.subject import SCREENER
from mailroom.rules.words import count
from mailroom.terminal.answers import DecidedDocument
from mailroom.terminal.harmless import harmless
from mailroom.terminal.lists import write_json
from mailroom.terminal.naming import CategoryNames
from mailroom.terminal.past import Past
from mailroom.terminal.remote import Decision, Refused, Remote, Whom

Outcome = tuple[Whom, DecidedDocument | Refused]


def decide(remote: Remote, who: Sequence[Whom], typed: str, *, as_json: bool) -> int:
    """Triage them to the typed category."""
    category = CategoryNames(remote.categories()).find(typed)
    decisions = [Decision(whom, category) for whom in who]
    answers = remote.triage_all(decisions)
    return _tell(((decision.whom, answer) for decision, answer in answers), as_json=as_json)


def take_back(remote: Remote, who: Sequence[Whom], past: Past, *, as_json: bool) -> int:
    """Bring each back to its former category, as the service remembers or the journal tells."""
    return _tell(((whom, _undone(remote, whom, past)) for whom in who), as_json=as_json)


def _undone(remote: Remote, whom: Whom, past: Past) -> DecidedDocument | Refused:
    try:
        return remote.undo(whom)
    except Refused as refused:
        if not refused.is_unknown:
            return refused
        unknown = refused
    before = past.before(whom)
    if before is None:
        return unknown
    try:
        return remote.triage(Decision(whom, before.category))
    except Refused as refused:
        return refused


def _tell(outcomes: Iterable[Outcome], *, as_json: bool) -> int:
    """Print each result as soon as it is known."""
    told: list[dict[str, Any]] = []
    failed = 0
    try:
        for whom, answer in outcomes:
            failed += isinstance(answer, Refused)
            if as_json:
                told.append(_document(whom, answer))
            elif isinstance(answer, Refused):
                sys.stderr.write(f"mailroom: {harmless(whom)}: {answer}\n")
            else:
                sys.stdout.write(f"{line(whom, answer)}\n")
                sys.stdout.flush()
    finally:
        if as_json:
            write_json({"decisions": told})
    return 1 if failed else 0


def line(whom: Whom, done: DecidedDocument) -> str:
    """What was done, for people."""
    was = f" (was {done['previous']})" if done["previous"] else ""
    filed = f", {count(done['filed'], 'mail')}" if done["filed"] else ""
    return harmless(f"{whom} → {done['category'] or SCREENER}{was}{filed}")


def _document(whom: Whom, answer: DecidedDocument | Refused) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {whom.kind: whom.name, **answer.document, "status": answer.status}
    return dict(answer)
