"""The calls about mail: searches and changes (RFC 8621 §4)."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence

from mailroom.wire.filters import Filter, by_mailbox
from mailroom.wire.jmap import Arguments, Call, Mail, MethodError, PatchObject, read_refusals

MAIL_PROPERTIES = ("id", "from", "mailboxIds", "keywords")
# Without From, for which Cyrus reads each mail's cached headers.
_WHERE = ("id", "mailboxIds", "keywords")
_DIGITS = re.compile(r"^mailboxIds/(\d+)$", re.ASCII)


def search_calls(
    pairs: Sequence[tuple[int, Filter]], limit: int, position: int = 0, *, is_sorted: bool
) -> list[Call]:
    """Each query, and by back-reference the mail that it finds."""
    sort = {"sort": [{"property": "receivedAt", "isAscending": True}]} if is_sorted else {}
    calls = []
    for number, query in pairs:
        search = Call(
            "Email/query",
            {
                "filter": query,
                **sort,
                "position": position,
                "limit": limit,
                "calculateTotal": True,
            },
            f"query{number}",
        )
        get = {"#ids": search.ref("/ids"), "properties": MAIL_PROPERTIES}
        calls += [search, Call("Email/get", get, f"get{number}")]
    return calls


def probe_calls(filters: Sequence[Filter]) -> list[Call]:
    """The calls that show whether there is anything, mailbox by mailbox."""
    parts = [part for query in filters for part in by_mailbox(query)]
    arguments = ({"filter": part, "limit": 1} for part in parts)
    return [Call("Email/query", each, f"probe{number}") for number, each in enumerate(arguments)]


def escaped(patch: PatchObject) -> PatchObject:
    """The patch with ids of digits alone (such as that of Stalwart's 27th mailbox) behind a
    backslash: else Stalwart takes them for places in a list and refuses the patch (0.15.5,
    seen)."""
    return {_DIGITS.sub(r"mailboxIds/\\\1", key): value for key, value in patch.items()}


def update_calls(patches: Mapping[str, PatchObject], watched: Container[str]) -> list[Call]:
    """The update, and a get that shows where the watched mails are after it."""
    calls = [Call("Email/set", {"update": patches}, "set")]
    if again := [mail_id for mail_id in patches if mail_id in watched]:
        calls.append(Call("Email/get", {"ids": again, "properties": _WHERE}, "after"))
    return calls


def is_elsewhere(mail: Mail, patch: PatchObject) -> bool:
    """Whether the mail is in a mailbox that the patch does not put it into."""
    return any(f"mailboxIds/{each}" not in patch for each in mail.mailbox_ids)


def read_update_refusals(answer: Arguments, mail_ids: Iterable[str]) -> dict[str, MethodError]:
    """The mails that were not updated. A mail that is gone no longer needs filing."""
    refused = read_refusals(answer, mail_ids)
    return {mail_id: error for mail_id, error in refused.items() if error.type != "notFound"}
