"""Moving is tapping: what a mail's place asks for, and what its keywords say afterwards.

Mail that Mailroom or the rules put into Screener bears ``mailroom-waiting``, and keeps it through
every move. So if mail with it is no longer in Screener, the user has moved it: to a destination,
which asks for that category; back to Inbox, where it stays; or elsewhere, which says nothing. Mail
whose place the user has chosen bears ``mailroom-placed``; the door never moves it again.
"""

from collections.abc import Iterable, Mapping

from mailroom.rules.triage.places import Places
from mailroom.wire.jmap import Mail, PatchObject

WAITING = "mailroom-waiting"
PLACED = "mailroom-placed"
# More senders than this at once are no decisions: somebody is clearing up.
MOST_DRAGGED = 50
_IN = "mailboxIds/"


def asked_by(mail: Mail, places: Places) -> frozenset[str]:
    """The mailboxes by which this mail asks for something: its labels, or if it has none, the
    destinations that it was moved to. A label outranks a move; of destinations of one chain the
    most specific one counts."""
    labels = mail.mailbox_ids & places.labels.keys()
    if labels or not is_moved(mail, places):
        return labels
    return most_specific(mail.mailbox_ids & places.drops.keys(), places)


def is_moved(mail: Mail, places: Places) -> bool:
    """Whether the user has moved it out of Screener."""
    return WAITING in mail.keywords and places.screener not in mail.mailbox_ids


def most_specific(mailbox_ids: frozenset[str], places: Places) -> frozenset[str]:
    """The destinations that do not belong to an ancestor of another one."""
    covered: set[str] = set()
    for mailbox_id in mailbox_ids:
        covered.update(set(places.chains[places.drops[mailbox_id].name]) - {mailbox_id})
    return mailbox_ids - covered


def tidied(mails: Iterable[Mail], places: Places) -> dict[str, PatchObject]:
    """The keywords' patches for moved mail that asks for nothing."""
    return {
        mail.id: with_keywords(mail, on={PLACED} if places.inbox in mail.mailbox_ids else set())
        for mail in mails
        if is_moved(mail, places) and not asked_by(mail, places)
    }


def untapped(mails: Iterable[Mail], places: Places) -> dict[str, PatchObject]:
    """The same for moved mail whose sender cannot be decided about."""
    return {
        mail.id: with_keywords(mail)
        for mail in mails
        if is_moved(mail, places) and not mail.mailbox_ids & places.labels.keys()
    }


def leaving(patches: Mapping[str, PatchObject], places: Places) -> frozenset[str]:
    """The mails that a patch takes out of Screener or Inbox: the user may move them between our
    reading and the patch."""
    gone = {f"{_IN}{each}" for each in (places.screener, places.inbox)}
    return frozenset(
        mail_id
        for mail_id, patch in patches.items()
        if any(patch.get(each, True) is None for each in gone)
    )


def recovered(before: Mail, patch: PatchObject, after: Mail, places: Places) -> PatchObject:
    """The patch that restores a move by the user which a patch of ours has swallowed: made from
    ``before``, it left the mail in our places and in the user's. Empty if there was no move.

    The mail is then as if the user had moved it a moment later.
    """
    ours = {key.removeprefix(_IN) for key, value in patch.items() if key.startswith(_IN) and value}
    marks = {places.error, places.warning, places.domain_label, places.list_label, *places.labels}
    chosen = after.mailbox_ids - before.mailbox_ids - ours - marks
    if not chosen:
        return {}
    off = (ours - before.mailbox_ids - chosen) & after.mailbox_ids
    keyword = WAITING if chosen & places.drops.keys() else PLACED
    says = bool(chosen & {places.inbox, *places.drops})
    return {
        **{f"{_IN}{each}": True for each in sorted(chosen)},
        **{f"{_IN}{each}": None for each in sorted(off)},
        **with_keywords(after, on={keyword} if says else set()),
    }


def placed(mails: Iterable[Mail]) -> dict[str, PatchObject]:
    """The patches for mail that the user has put into Screener: it waits there and stays."""
    return {mail.id: with_keywords(mail, on={WAITING, PLACED}) for mail in mails}


# On the newest daily mail, which is found by it wherever the user has put it.
DIGEST = "mailroom-digest"


def with_keywords(mail: Mail, *, on: Iterable[str] = ()) -> PatchObject:
    """The patch that leaves the mail with exactly these of our keywords. A patch that changes
    nothing would cause an event (Cyrus 3.10.2 and 3.13.7, seen)."""
    wanted = frozenset(on)
    ours = mail.keywords & {WAITING, PLACED}
    changes: Mapping[str, bool | None] = {
        **dict.fromkeys(sorted(wanted - ours), True),
        **dict.fromkeys(sorted(ours - wanted), None),
    }
    return {f"keywords/{keyword}": value for keyword, value in changes.items()}
