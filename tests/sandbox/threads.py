"""Threads (RFC 8621 §3): a mail joins those that it is tied to, if the subject is the same.

Tied are mails of which one names another, or which both name a third, be it there or not. Of the
subject what counts is left when the words before it are taken off (Re:, AW:, Fwd:, and a list's
name in brackets): an answer under another subject begins a thread of its own. To Cyrus 3.10.2 it
may be any word, and spaces do not count; to Stalwart 0.15.5 those that programs write (seen).
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from tests.sandbox.mail import Mail

Prefixes = Literal["any", "known"]

_WORDS: Final = "re|aw|wg|fwd?|antw|sv|vs|tr|res|rif|ref|odp"
_PREFIX: Final[Mapping[Prefixes, re.Pattern[str]]] = {
    "any": re.compile(r"\s*(?:[A-Za-z0-9]+(?:\[[0-9]+\])?:|\[[^\]]+\])"),
    "known": re.compile(rf"\s*(?:(?:{_WORDS})\s*(?:\[[0-9]+\])?\s*:|\[[^\]:]+\])", re.IGNORECASE),
}
_SPACE: Final = re.compile(r"\s+")


class Threads:
    """The threads of one account."""

    def __init__(self, prefixes: Prefixes = "any") -> None:
        self._prefixes = prefixes
        #: Thread id → its mails' ids, in the order in which they came.
        self._mails: dict[str, dict[str, None]] = {}
        #: Message id → thread id by base subject.
        self._by_message_id: dict[str, dict[str, str]] = {}

    def add(self, mail: Mail) -> None:
        """Give a mail its thread."""
        subject = base_subject(mail.subject, self._prefixes)
        named = [*mail.references, *mail.in_reply_to, mail.message_id]
        known = (self._by_message_id.get(id_, {}).get(subject) for id_ in named)
        mail.thread_id = next(filter(None, known), f"T{mail.id}")
        for id_ in named:
            self._by_message_id.setdefault(id_, {}).setdefault(subject, mail.thread_id)
        self._mails.setdefault(mail.thread_id, {})[mail.id] = None

    def remove(self, mail: Mail) -> None:
        """Take a mail out; a thread without mail is none, but what it was tied to stays known."""
        mails = self._mails[mail.thread_id]
        del mails[mail.id]
        if not mails:
            del self._mails[mail.thread_id]

    def mails_of(self, thread_id: str) -> list[str] | None:
        """Return the ids of a thread's mails, None where there is no such thread."""
        mails = self._mails.get(thread_id)
        return None if mails is None else list(mails)

    @property
    def ids(self) -> list[str]:
        """The ids of all threads."""
        return list(self._mails)


def base_subject(subject: str, prefixes: Prefixes) -> str:
    """Return what of a subject tells threads apart."""
    position = 0
    while found := _PREFIX[prefixes].match(subject, position):
        position = found.end()
    rest = subject[position:]
    return _SPACE.sub("", rest) if prefixes == "any" else rest.removesuffix("(fwd)").strip()
