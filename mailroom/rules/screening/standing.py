"""Who a sender is, and where the mail goes: the one decision about new mail.

The door makes it for each arrival, the generated Sieve script expresses as much of it as Sieve can,
and ``check --rules`` and the dry run judge by it. All follow the order of :class:`Who`: the first
that fits decides.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mailroom.rules.configuration.categories import Category, Triage
from mailroom.rules.configuration.config import Config
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import MailPatch, moved
from mailroom.wire.jmap import Mail

# Placed or written by the user, or found to be spam (RFC 8621 §4.1.1).
_UNTOUCHED = frozenset({PLACED, "$draft", "$junk"})


class Who(StrEnum):
    """What decides about somebody's mail, in the order in which it is asked."""

    OWN = "own"
    BOUNCE = "bounce"
    SPAM = "spam"
    SCREENED = "screened"
    CATEGORY = "category"
    DISPUTED = "disputed"
    LIST = "list"
    CONTACT = "contact"
    DOMAIN = "domain"
    WRITTEN = "written"
    CONVERSATION = "conversation"
    UNKNOWN = "unknown"


_KNOWN = frozenset({Who.OWN, Who.BOUNCE, Who.CONTACT, Who.WRITTEN, Who.CONVERSATION})
_WAITING = frozenset({Who.SCREENED, Who.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for the decision. ``groups`` are the normal names of those that any card with
    the address is in; ``is_in_book`` says whether it is in a card that Mailroom did not make;
    ``by_list`` and ``by_domain`` are the names of the categories that were decided for its list and
    its domain.

    ``is_written`` and ``is_conversation`` are what Sent says, None if it has not been asked.
    ``is_spam`` is only true if the account has a mailbox for spam.
    """

    is_bounce: bool = False
    is_own: bool = False
    groups: frozenset[str] = frozenset()
    is_in_book: bool = False
    by_list: str | None = None
    by_domain: str | None = None
    is_written: bool | None = None
    is_conversation: bool | None = None
    is_spam: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about somebody's mail, and the category that it goes to, if any."""

    who: Who
    category: Category | None = None

    @property
    def is_known(self) -> bool:
        """Whether the mail comes to Inbox without a decision."""
        return self.who in _KNOWN

    @property
    def waits(self) -> bool:
        """Whether the mail belongs in Screener."""
        return self.who in _WAITING

    @property
    def is_for_inbox(self) -> bool:
        """Whether the mail also comes to Inbox. A list's mail never does by its category: it has
        many writers, and nobody has looked at more than one of them."""
        adds = self.category is not None and self.category.add_to_inbox
        return self.is_known or (adds and self.who is not Who.LIST)


def standing(facts: Facts, config: Config) -> Standing | None:
    """The sender's standing. None: Sent has to be asked first."""
    triage, known = config.triage, config.screening.known
    joined = _most_specific(facts.groups, triage)
    categories = {
        Who.CATEGORY: joined[0] if len(joined) == 1 else None,
        Who.LIST: _called(facts.by_list, triage),
        Who.DOMAIN: _called(facts.by_domain, triage),
    }
    is_so = {
        **{who: category is not None for who, category in categories.items()},
        Who.OWN: facts.is_own,
        Who.BOUNCE: facts.is_bounce,
        Who.SPAM: facts.is_spam,
        Who.SCREENED: triage.screened_group in facts.groups,
        Who.DISPUTED: len(joined) > 1,
        Who.CONTACT: "contacts" in known and facts.is_in_book,
        Who.WRITTEN: "written" in known and facts.is_written,
        Who.CONVERSATION: "conversations" in known and facts.is_conversation,
    }
    for who in Who:
        if is_so.get(who):
            return Standing(who, categories.get(who))
    is_open = None in (is_so[Who.WRITTEN], is_so[Who.CONVERSATION])
    return None if is_open else Standing(Who.UNKNOWN)


def deciding(triage: Triage, among: Container[str] | None = None) -> Mapping[str, Category]:
    """Each managed group, or those ``among`` the ones given, with the category that its members'
    mail goes to.

    A group that a chain shares cannot tell child from parent: then it is the parent's, which is
    right for both as far as it goes.
    """
    found: dict[str, Category] = {}
    joined = [each for each in triage.categories if among is None or each.contact_group in among]
    for category in sorted(joined, key=lambda each: len(triage.chain(each))):
        found.setdefault(category.contact_group, category)
    return found


def admitted(mail: Mail, standing: Standing, places: Places, *, may_warn: bool = True) -> MailPatch:
    """The patch that puts new mail where it belongs; empty if the mail is there, or is no longer at
    the door. ``may_warn`` says whether a dispute sets the warning label."""
    if not _is_at_door(mail, places):
        return {}
    waiting = places.screener in mail.mailbox_ids
    if standing.who is Who.DISPUTED:
        on = {places.warning} if may_warn and places.warning else set()
        return {**moved(mail, places, on=on, off=frozenset()), **_marked(mail, waits=waiting)}
    on = _destinations(standing, places)
    off = {places.screener, *(places.destinations if standing.category else ())} - on
    if places.inbox and _is_only_in(places.inbox, mail, places):
        off |= {places.inbox} - on
    waits = places.screener in on
    return {**moved(mail, places, on=on, off=off), **_marked(mail, waits=waits)}


def _most_specific(groups: frozenset[str], triage: Triage) -> tuple[Category, ...]:
    """The categories that these groups stand for, without the ancestors of others among them: more
    than one is a dispute."""
    if not groups:
        return ()
    joined = deciding(triage, groups).values()
    covered = {above.name for each in joined for above in triage.chain(each)[1:]}
    return tuple(each for each in joined if each.name not in covered)


def _called(name: str | None, triage: Triage) -> Category | None:
    """The category of this name; one that is no longer configured decides nothing."""
    return next((each for each in triage.categories if each.name == name), None)


def _is_at_door(mail: Mail, places: Places) -> bool:
    """Whether nobody has dealt with the mail yet: it waits, or has come to Inbox and nowhere else.
    Mail that waited and is in Inbox was put there; mail with a label is being triaged."""
    if mail.keywords & _UNTOUCHED or not mail.mailbox_ids.isdisjoint(_decided_mailboxes(places)):
        return False
    if places.screener in mail.mailbox_ids:
        return True
    is_new = WAITING not in mail.keywords
    return is_new and places.inbox is not None and _is_only_in(places.inbox, mail, places)


def _decided_mailboxes(places: Places) -> frozenset[str]:
    """The mailboxes of mail that somebody has decided about already."""
    others = {places.junk, places.trash, places.drafts, places.domain_label, places.list_label}
    return frozenset({*places.labels, *(each for each in others if each)})


def _is_only_in(mailbox_id: str, mail: Mail, places: Places) -> bool:
    return mail.mailbox_ids - {places.error, places.warning} == {mailbox_id}


def _destinations(standing: Standing, places: Places) -> set[str]:
    """Where the mail belongs: in Screener if there is no Inbox or no mailbox for spam."""
    if standing.who is Who.SPAM:
        return {places.junk or places.screener}
    on = set(places.chains[standing.category.name]) if standing.category else set()
    if standing.is_for_inbox and places.inbox:
        on.add(places.inbox)
    return on or {places.screener}


def _marked(mail: Mail, *, waits: bool) -> MailPatch:
    """The patch that corrects the keyword. A patch that changes nothing would cause an event (Cyrus
    3.10.2 and 3.13.7, seen)."""
    if waits == (WAITING in mail.keywords):
        return {}
    return {f"keywords/{WAITING}": True if waits else None}
