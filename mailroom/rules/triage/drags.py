"""Moving is tapping: what the user asks for by where a mail is, and what its keywords say then.

Mail that waits by Mailroom's or the rules' doing bears ``mailroom-waiting``, through every move. So
mail that bears it and is not in Screener any more was moved by the user: to a destination, which
asks for that category; back to Inbox, where it stays; or elsewhere, which says nothing. What the
user has put where it is bears ``mailroom-placed``, and is never moved by the door again.
"""

from collections.abc import Iterable, Mapping

from mailroom.rules.triage.places import Places
from mailroom.wire.jmap import Mail, PatchObject

WAITING = "mailroom-waiting"
PLACED = "mailroom-placed"
# More senders than these at once are no decisions about senders: somebody clears up.
MOST_DRAGGED = 50
_IN = "mailboxIds/"


def asked_by(mail: Mail, places: Places) -> frozenset[str]:
    """The mailboxes by which this mail asks for something: its labels, or where it has none the
    destinations that it was moved to. A label outranks a move; of destinations of one chain the
    most special one counts."""
    labels = mail.mailbox_ids & places.labels.keys()
    if labels or not is_moved(mail, places):
        return labels
    return most_special(mail.mailbox_ids & places.drops.keys(), places)


def is_moved(mail: Mail, places: Places) -> bool:
    """Whether the user has taken it out of Screener."""
    return WAITING in mail.keywords and places.screener not in mail.mailbox_ids


def most_special(mailbox_ids: frozenset[str], places: Places) -> frozenset[str]:
    """Those destinations that are no ancestor's of another among them."""
    covered: set[str] = set()
    for mailbox_id in mailbox_ids:
        covered.update(set(places.chains[places.drops[mailbox_id].name]) - {mailbox_id})
    return mailbox_ids - covered


def tidied(mails: Iterable[Mail], places: Places) -> dict[str, PatchObject]:
    """What the keywords of moved mail become that asks for nothing."""
    return {
        mail.id: with_keywords(mail, on={PLACED} if places.inbox in mail.mailbox_ids else set())
        for mail in mails
        if is_moved(mail, places) and not asked_by(mail, places)
    }


def untapped(mails: Iterable[Mail], places: Places) -> dict[str, PatchObject]:
    """The same for moved mail of nobody who could be decided about."""
    return {
        mail.id: with_keywords(mail)
        for mail in mails
        if is_moved(mail, places) and not mail.mailbox_ids & places.labels.keys()
    }


def leaving(patches: Mapping[str, PatchObject], places: Places) -> frozenset[str]:
    """The mails that a patch takes out of Screener or Inbox: a move by the user may come between
    the look at them and the patch."""
    gone = {f"{_IN}{each}" for each in (places.screener, places.inbox)}
    return frozenset(
        mail_id
        for mail_id, patch in patches.items()
        if any(patch.get(each, True) is None for each in gone)
    )


def recovered(before: Mail, patch: PatchObject, after: Mail, places: Places) -> PatchObject:
    """The patch that gives a move back to the user, which a patch of ours has swallowed: made from
    ``before``, it left the mail in our places and in the user's. Empty where there was none.

    The mail is then as if it had been moved a moment later, and asks for what it asks for.
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
    """The patches for mail that the user has put into Screener: it waits there, and stays."""
    return {mail.id: with_keywords(mail, on={WAITING, PLACED}) for mail in mails}


# On the newest daily mail: it is found by this, wherever the user has put it.
DIGEST = "mailroom-digest"


def with_keywords(mail: Mail, *, on: Iterable[str] = ()) -> PatchObject:
    """The patch that leaves the mail with exactly these of our keywords. One that changes nothing
    would still make an event (Cyrus 3.10.2 and 3.13.7, seen)."""
    wanted = frozenset(on)
    ours = mail.keywords & {WAITING, PLACED}
    changes: Mapping[str, bool | None] = {
        **dict.fromkeys(sorted(wanted - ours), True),
        **dict.fromkeys(sorted(ours - wanted), None),
    }
    return {f"keywords/{keyword}": value for keyword, value in changes.items()}
