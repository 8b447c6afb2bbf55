"""Decisions for whole domains and mailing lists: what mail with their labels asks for.

``@WholeDomain`` or ``@WholeList`` with a category's label makes the decision for all of the
sender's domain, or for the mail's list; with ``@ToScreener`` it takes that back. The sender's own
contact, and the decisions about others of that domain, stay as they are.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from mailroom.rules.configuration.categories import Category
from mailroom.rules.screening.wide import domain_of, list_id, refusal, registrable_domain
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import Label, MailPatch, Tap, filed, moved, sender_of
from mailroom.wire.jmap import Mail


@dataclass(frozen=True, slots=True)
class Whole:
    """A decision for all mail of a domain, or of a list, to ``category``; None takes it back.

    ``key`` is the canonical domain or list id, ``label_id`` the category's label.
    """

    key: str
    is_list: bool
    category: Category | None
    label_id: str
    mails: tuple[Mail, ...]

    @property
    def name(self) -> str:
        """Its name among addresses."""
        return f"<{self.key}>" if self.is_list else f"@{self.key}"

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset((mail.id, self.label_id) for mail in self.mails)

    def is_about(self, sender: str | None, list_header: str | None) -> bool:
        """Whether mail of this (canonical) sender, with this List-Id, is of the domain or the list;
        something nearer may still decide about it."""
        if self.is_list:
            return list_header is not None and list_id(list_header) == self.key
        domain = domain_of(sender) if sender else ""
        return domain == self.key or domain.endswith(f".{self.key}")

    def patch(self, mail: Mail, places: Places) -> MailPatch:
        """The patch that files a mail by this decision; labelled mail loses its labels."""
        category = self.category
        if category and self.is_list:
            # A list's mail never comes to Inbox by its category: it has many writers.
            category = replace(category, add_to_inbox=False)
        tap = Tap(self.name, category, self.label_id, self.mails)
        patch = filed(mail, tap, places)
        off = {f"mailboxIds/{each}": None for each in _scopes(places) & mail.mailbox_ids}
        return {**patch, **off} if off else patch


@dataclass(frozen=True, slots=True)
class Refusal:
    """Labelled mail that no such decision can be made from, and why."""

    mails: tuple[Mail, ...]
    reason: str


def parted(mails: Iterable[Mail], places: Places) -> tuple[list[Mail], list[Mail]]:
    """The mails that ask for one sender, and those that ask for a whole domain or list."""
    scopes = _scopes(places)
    single: list[Mail] = []
    whole: list[Mail] = []
    for mail in mails:
        is_whole = mail.mailbox_ids & scopes and mail.mailbox_ids & places.labels.keys()
        (whole if is_whole else single).append(mail)
    return single, whole


def sort_whole(
    mails: Iterable[Mail],
    places: Places,
    list_ids: Mapping[str, str],
    providers: Collection[str] = (),
) -> tuple[tuple[Whole, ...], tuple[Refusal, ...]]:
    """What these mails ask for, and which are refused. ``list_ids`` are the List-Id headers of the
    mails with the list label, ``providers`` the mail providers that the user names."""
    found: dict[tuple[bool, str], list[Mail]] = {}
    refused: list[Refusal] = []
    for mail in mails:
        is_list, key, reason = _key(mail, places, list_ids, providers)
        if reason:
            refused.append(Refusal((mail,), reason))
        else:
            found.setdefault((is_list, key), []).append(mail)
    wholes = []
    for (is_list, key), asking in found.items():
        labels = frozenset().union(*(mail.mailbox_ids for mail in asking)) & places.labels.keys()
        if len(labels) == 1:
            (label_id,) = labels
            wholes.append(Whole(key, is_list, places.labels[label_id], label_id, tuple(asking)))
        else:
            reason = f"mail of {key} has labels of several categories: take all but one off"
            refused.append(Refusal(tuple(asking), reason))
    return tuple(wholes), tuple(refused)


def marks_of(refused: Iterable[Refusal], places: Places) -> dict[str, MailPatch]:
    """The patches that put the error label on. The other labels stay, so that the user only has to
    take one off."""
    patches = {
        mail.id: moved(mail, places, on={places.error}, off=frozenset())
        for each in refused
        for mail in each.mails
    }
    return {mail_id: patch for mail_id, patch in patches.items() if patch}


def _key(
    mail: Mail, places: Places, list_ids: Mapping[str, str], providers: Collection[str]
) -> tuple[bool, str, str | None]:
    """Whether it is for a list, which list or domain it is for, and why it is refused, if it is."""
    is_list = places.list_label in mail.mailbox_ids
    if is_list and places.domain_label in mail.mailbox_ids:
        return is_list, "", "it can be for a whole domain or for a list: take one label off"
    if is_list:
        named = list_id(list_ids.get(mail.id, ""))
        return is_list, named or "", None if named else "the mail names no mailing list"
    sender = sender_of(mail)
    domain = registrable_domain(sender) if sender else None
    if sender is None or domain is None:
        return is_list, "", "its address has no domain that somebody has registered"
    return is_list, domain, refusal(domain, providers)


def _scopes(places: Places) -> frozenset[str]:
    return frozenset(each for each in (places.domain_label, places.list_label) if each)
