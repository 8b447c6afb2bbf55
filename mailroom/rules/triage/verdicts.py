"""Who goes where: from the labelled mail to what has to be done, and each mail's patch.

The rules are those of docs/behaviour.md. Nothing here reads or writes; a poll does.
"""

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from mailroom.rules.addresses import canonical, is_usable, without_spaces
from mailroom.rules.configuration.categories import Category
from mailroom.rules.contacts.roster import Found
from mailroom.rules.triage.drags import MOST_DRAGGED, WAITING, asked_by, with_keywords
from mailroom.rules.triage.places import Places
from mailroom.wire.jmap import Mail

MailPatch = Mapping[str, bool | None]
# A mail with a label: their ids.
Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Tap:
    """One sender's mail that asks for something: to triage that sender to ``category``, or to take
    a sender back (None).

    ``sender`` is canonical. If several addresses of a contact were tapped, it is the first of them
    by name, which is the same in every poll. ``label_id`` is the mailbox that asks: a label, or the
    destination that the mail was moved to. An order without labelled mail has no ``mails``.
    """

    sender: str
    category: Category | None
    label_id: str
    mails: tuple[Mail, ...]

    @property
    def mail_ids(self) -> frozenset[str]:
        return frozenset(mail.id for mail in self.mails)

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset((mail.id, self.label_id) for mail in self.mails)

    @property
    def address(self) -> str:
        """The sender's address as the mail spells it, which is what the server's rules compare."""
        if not self.mails:
            return self.sender
        return without_spaces(self.mails[0].senders[0].email).lower()

    @property
    def names(self) -> tuple[str, ...]:
        """The display names on the labelled mail, in its order."""
        return tuple(mail.senders[0].name for mail in self.mails)


@dataclass(frozen=True, slots=True)
class Conflict:
    """One sender whose mail asks for different categories: nothing is done until the user takes one
    label off or moves one mail back."""

    sender: str
    label_ids: frozenset[str]
    mails: tuple[Mail, ...]

    @property
    def mail_ids(self) -> frozenset[str]:
        return frozenset(mail.id for mail in self.mails)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What labelled and moved mail asks for. ``resolved`` is mail whose error label has lost its
    reason."""

    taps: tuple[Tap, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    unusable: tuple[Mail, ...] = ()
    own: tuple[Mail, ...] = ()
    resolved: tuple[Mail, ...] = ()


def sender_of(mail: Mail) -> str | None:
    """The address that counts: the first of From, canonical; None if it cannot be used."""
    address = without_spaces(mail.senders[0].email) if mail.senders else ""
    return canonical(address) if is_usable(address.lower()) else None


def sort_out(mails: Iterable[Mail], places: Places, own: Container[str]) -> Verdicts:
    """Decide what each mail asks for. ``own`` are the account's addresses."""
    by_sender: dict[str, list[tuple[Mail, frozenset[str]]]] = {}
    unusable: list[Mail] = []
    own_mail: list[Mail] = []
    resolved: list[Mail] = []
    for mail in mails:
        sender = sender_of(mail)
        if sender is None or sender in own:
            # Its error label stays, as its reason does.
            if not mail.mailbox_ids.isdisjoint(places.labels):
                (unusable if sender is None else own_mail).append(mail)
        elif asked := asked_by(mail, places):
            by_sender.setdefault(sender, []).append((mail, asked))
        elif places.error in mail.mailbox_ids:
            resolved.append(mail)
    taps, conflicts = [], []
    for sender, asking in by_sender.items():
        label_ids = frozenset().union(*(asked for _, asked in asking))
        mails_asking = tuple(mail for mail, _ in asking)
        if _is_contested(label_ids, places):
            conflicts.append(Conflict(sender, label_ids, mails_asking))
        else:
            label_id = _main(label_ids, places)
            taps.append(Tap(sender, places.asks[label_id], label_id, mails_asking))
    return Verdicts(
        tuple(taps), tuple(conflicts), tuple(unusable), tuple(own_mail), tuple(resolved)
    )


def _is_contested(label_ids: AbstractSet[str], places: Places) -> bool:
    return len({places.asks[each] for each in label_ids}) > 1


def _main(label_ids: AbstractSet[str], places: Places) -> str:
    """A label goes before a destination that asks for the same, since it has to come off."""
    return min(label_ids, key=lambda each: (each not in places.labels, each))


def by_contact(verdicts: Verdicts, found: Mapping[str, Found], places: Places) -> Verdicts:
    """The same with the contacts known: all addresses of a contact are one sender, so its taps
    become one tap, or a conflict."""
    taps: dict[str, list[Tap]] = {}
    for tap in verdicts.taps:
        contact = found.get(tap.sender)
        taps.setdefault(contact.reference if contact else tap.sender, []).append(tap)
    conflicts: dict[str, Conflict] = {each.sender: each for each in verdicts.conflicts}
    joined: list[Tap] = []
    for together in taps.values():
        label_ids = frozenset(tap.label_id for tap in together)
        mails = tuple(mail for tap in together for mail in tap.mails)
        addresses = found[together[0].sender].addresses if together[0].sender in found else ()
        earlier = next((conflicts[each] for each in addresses if each in conflicts), None)
        if earlier is not None:
            conflicts[earlier.sender] = replace(
                earlier, label_ids=earlier.label_ids | label_ids, mails=(*earlier.mails, *mails)
            )
        elif _is_contested(label_ids, places):
            sender = together[0].sender
            conflicts[sender] = Conflict(sender, label_ids, mails)
        else:
            first = min(together, key=lambda tap: tap.sender)
            joined.append(replace(first, label_id=_main(label_ids, places), mails=mails))
    return replace(verdicts, taps=tuple(joined), conflicts=tuple(conflicts.values()))


def marked(verdicts: Verdicts, places: Places) -> dict[str, MailPatch]:
    """The patches for mail that is not triaged: error labels on and off, labels off."""
    error, labels = {places.error}, frozenset(places.labels)
    is_alone = not (verdicts.taps or verdicts.conflicts or verdicts.unusable)
    patches = {mail.id: moved(mail, places, on=error, off=labels) for mail in verdicts.unusable}
    for mail in verdicts.own:
        patches[mail.id] = moved(mail, places, on=error if is_alone else set(), off=labels)
    for mail in verdicts.resolved:
        patches[mail.id] = moved(mail, places, off=error)
    for conflict in verdicts.conflicts:
        patches |= {mail.id: moved(mail, places, on=error, off=set()) for mail in conflict.mails}
    return {mail_id: patch for mail_id, patch in patches.items() if patch}


def filed(mail: Mail, tap: Tap, places: Places, *, warn: bool = False) -> MailPatch:
    """The patch that files a sender's mail by ``tap``, or takes it back to Screener; empty if
    nothing has to change.

    ``warn`` puts the warning label on mail that was tapped itself.
    """
    on, off = set(), {places.error, tap.label_id}
    if _is_elsewhere(mail, tap, places):
        off.clear()
    elif tap.category is None:
        on, off = {places.screener}, off | places.destinations
    else:
        on.update(places.chains[tap.category.name])
        off |= places.scope - on
        if tap.category.add_to_inbox and places.inbox and _is_new(mail, tap, places):
            on.add(places.inbox)
    if places.warning:
        (on if warn else off).add(places.warning)
    moves = moved(mail, places, on=on, off=off)
    if _is_elsewhere(mail, tap, places):
        return moves
    is_marked = WAITING in mail.keywords or (places.is_marking and bool(moves))
    waits = tap.category is None and is_marked
    return {**moves, **with_keywords(mail, on={WAITING} if waits else set())}


def moved(
    mail: Mail, places: Places, *, on: AbstractSet[str] = frozenset(), off: AbstractSet[str]
) -> MailPatch:
    """The patch that puts a mail into ``on`` and takes it out of ``off``; empty if nothing changes.

    It takes away only mailboxes that this mail was read in, and always names a mailbox that the
    mail keeps or gets: Cyrus 3.10.2 destroys a mail that is left in none (seen).
    """
    if not on and mail.mailbox_ids <= off:
        on = {places.screener}
    taken = (mail.mailbox_ids & off) - on
    missing = on - mail.mailbox_ids
    if not taken and not missing:
        return {}
    named = on or {min(mail.mailbox_ids - taken)}
    return {
        **{f"mailboxIds/{mailbox_id}": True for mailbox_id in sorted(named)},
        **{f"mailboxIds/{mailbox_id}": None for mailbox_id in sorted(taken)},
    }


def _is_elsewhere(mail: Mail, tap: Tap, places: Places) -> bool:
    """Whether the user has filed the mail and not tapped it: then only a warning may change."""
    is_filed = mail.mailbox_ids - {places.error, places.warning}
    return bool(is_filed) and mail.id not in tap.mail_ids and not is_filed & places.scope


def _is_new(mail: Mail, tap: Tap, places: Places) -> bool:
    """Whether the mail waits or a mail program has moved it to the label: it may come to Inbox."""
    marks = {places.error, places.warning}
    return (
        places.screener in mail.mailbox_ids
        or mail.mailbox_ids - marks == {tap.label_id}
        or (tap.label_id in places.drops and mail.id in tap.mail_ids)
    )


def without_crowd(verdicts: Verdicts, places: Places) -> tuple[Verdicts, int]:
    """The verdicts without the taps by moving if these are too many to be decisions, and their
    number in that case, else 0. Senders whose mail was moved to different places count as well."""
    moved = [tap for tap in verdicts.taps if tap.label_id in places.drops]
    contested = [each for each in verdicts.conflicts if each.label_ids <= places.drops.keys()]
    number = len(moved) + len(contested)
    if number <= MOST_DRAGGED:
        return verdicts, 0
    taps = tuple(tap for tap in verdicts.taps if tap not in moved)
    conflicts = tuple(each for each in verdicts.conflicts if each not in contested)
    return replace(verdicts, taps=taps, conflicts=conflicts), number
