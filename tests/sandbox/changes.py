"""Which mails were created, updated and destroyed since a state (RFC 8620 §5.2).

Every mail stands in the log once, at its last change: a page costs what has changed and not what
there is.
"""

from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple


class _Change(NamedTuple):
    created: int
    changed: int
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of changes, and the state that it leads to."""

    state: int
    has_more: bool
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)


class ChangeLog:
    """The last change of every mail that there is or was."""

    def __init__(self) -> None:
        #: The newest last.
        self._changes: dict[str, _Change] = {}
        #: Before this state nobody knows what there was.
        self._begins = 0

    def note(self, id_: str, state: int, *, is_gone: bool = False) -> int:
        """Note that a mail has changed with this state; returns the one that it came with."""
        known = self._changes.pop(id_, None)
        created = known.created if known else state
        self._changes[id_] = _Change(created, state, is_gone)
        return created

    def forget(self, state: int) -> None:
        """Know nothing any more of what was before this state."""
        self._begins = state

    def since(self, state: int, most: int | None, current: int) -> Changes | None:
        """Return what has changed since a state, the oldest first and no more than ``most``.

        ``current`` is the state of now. None: that cannot be told.
        """
        if state < self._begins:
            return None
        newest_first = takewhile(
            lambda item: item[1].changed > state, reversed(self._changes.items())
        )
        all_ = [
            (id_, change)
            for id_, change in newest_first
            if not (change.is_gone and change.created > state)
        ][::-1]
        page = all_ if most is None else all_[:most]
        has_more = len(page) < len(all_)
        found = Changes(page[-1][1].changed if has_more else current, has_more)
        for id_, change in page:
            if change.is_gone:
                found.destroyed.append(id_)
            else:
                (found.created if change.created > state else found.updated).append(id_)
        return found
