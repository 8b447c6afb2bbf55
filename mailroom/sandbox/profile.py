"""The differences between real servers, as named switches.

A profile says what a server is like; what was observed of each is in the documents that the
project was started with. A further server is a further value here, and a switch for what it
alone does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the session announces and the server keeps (RFC 8620 §2, 8621 §1.3.1)."""

    max_size_request: int = 10 * 1024 * 1024
    max_concurrent_requests: int = 5
    max_calls_in_request: int = 50
    max_objects_in_get: int = 4096
    max_objects_in_set: int = 4096
    max_mailboxes_per_email: int | None = 20


@dataclass(frozen=True, slots=True)
class Profile:
    """One server's ways. The defaults are those of Cyrus 3.10."""

    name: str
    limits: Limits = Limits()
    #: Which HTTP authentication JMAP accepts; CardDAV is always Basic.
    jmap_authentication: str = "Basic"
    #: "unavailable": the event source answers 204; "absent": the session names none.
    push: Literal["available", "unavailable", "absent"] = "available"
    #: One Email/set shows a state in between after so many mails; None: never.
    push_batch: int | None = 500
    #: True: new mail in a mailbox is pushed as a change of Mailbox as well.
    pushes_counts: bool = False
    #: True: the limit of Email/get counts for ids that come by a back-reference as well.
    limits_references: bool = False
    #: Seconds after which the server ends an event stream in good order; None: never.
    stream_seconds: float | None = None
    #: Seconds until the search finds a mail by the words of its From.
    search_lag_seconds: float = 0.0
    #: False: a query with ``from`` fails with ``serverFail``.
    has_search: bool = True
    #: A patch that takes a mail's last mailbox away is refused, or destroys the mail; "by past":
    #: destroys a mail that has ever left a mailbox, as in Cyrus, which counts its remains there.
    patch_to_no_mailbox: Literal["refused", "destroys", "by past"] = "by past"
    #: True: cards of either version are shown as vCard 3.0 unless 4.0 is asked for.
    converts_card_versions: bool = True


CYRUS_3_10: Final = Profile("cyrus-3.10")
CYRUS_3_6: Final = Profile("cyrus-3.6", push="unavailable")
#: With ``jmap_pushpoll: 0``.
CYRUS_WITHOUT_PUSH: Final = Profile("cyrus-3.10-without-push", push="absent")
SMALL_LIMITS: Final = Profile(
    "small-limits",
    limits=Limits(
        max_size_request=20_000,
        max_concurrent_requests=4,
        max_calls_in_request=4,
        max_objects_in_get=20,
        max_objects_in_set=10,
    ),
    limits_references=True,
)

PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile for profile in (CYRUS_3_10, CYRUS_3_6, CYRUS_WITHOUT_PUSH, SMALL_LIMITS)
}
