"""Who waits: how much mail is in Screener, of how many senders, and since when.

Of ids and addresses only hashes of 64 bits are kept: ten thousand mails of as many senders take
less than 2 MiB, and two of them have the same hash once in 10^11 times.
"""

from collections.abc import Iterable
from dataclasses import dataclass

_NOBODY = hash("")


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """One mail in Screener. ``sender`` is a canonical address, empty if the mail has no usable one;
    ``received_at`` is an instant in Unix seconds."""

    id: str
    sender: str
    received_at: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How many mails wait, of how many senders who can be decided about (mail without a usable
    sender counts as mail only); ``oldest`` is when the first of them came, None if none waits."""

    senders: int = 0
    mails: int = 0
    oldest: float | None = None


class Waiting:
    """The mail that waits in one account."""

    def __init__(self) -> None:
        self._senders: dict[int, int] = {}
        self._received: dict[int, float] = {}
        self._mails_of: dict[int, int] = {}
        self._summary: Summary | None = Summary()

    def __contains__(self, mail_id: str) -> bool:
        return hash(mail_id) in self._senders

    def seen(self, mails: Iterable[WaitingMail]) -> None:
        """These are in Screener; one that is counted already is not counted twice."""
        for mail in mails:
            self._drop(key := hash(mail.id))
            sender = hash(mail.sender)
            self._senders[key] = sender
            self._received[key] = mail.received_at
            self._mails_of[sender] = self._mails_of.get(sender, 0) + 1
            self._summary = None

    def left(self, mail_ids: Iterable[str]) -> None:
        """These are not in Screener; most of them may never have been."""
        for mail_id in mail_ids:
            self._drop(hash(mail_id))

    def summary(self) -> Summary:
        if self._summary is None:
            oldest = min(self._received.values(), default=None)
            senders = len(self._mails_of) - (_NOBODY in self._mails_of)
            self._summary = Summary(senders, len(self._senders), oldest)
        return self._summary

    def _drop(self, key: int) -> None:
        sender = self._senders.pop(key, None)
        if sender is None:
            return
        del self._received[key]
        self._mails_of[sender] -= 1
        if not self._mails_of[sender]:
            del self._mails_of[sender]
        self._summary = None
