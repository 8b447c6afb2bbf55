"""Where new mail goes, as a Sieve script: the decision of :mod:`mailroom.rules.screening.standing`,
in its order, as far as Sieve can express it.

Sieve cannot know whom the user has written to. The door corrects that, and whatever the script has
no room for. Rules test groups, never single senders: adding a sender to a group needs no new
script."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mailroom.errors import LastingTrouble
from mailroom.rules.addresses import spellings
from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.standing import Standing, Who, deciding
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage.drags import WAITING
from mailroom.rules.triage.places import Places
from mailroom.wire.sieve import block, string

#: What the script needs; the last is the test for contact groups.
REQUIRED = ("envelope", "fileinto", "imap4flags", "mailboxid", "vnd.cyrus.jmapquery")
#: How jmapquery names a sender's group, by its UID: on Cyrus up to 3.10; on later ones.
GROUP_CONDITIONS = ("fromContactGroupId", "fromContactCardUid")
#: A longer script is refused (Cyrus 3.10.2, seen: ``tooLarge``).
MOST_BYTES = 32 * 1024

_HEAD = (
    "# Written by `mailroom setup --apply --rules`, and written anew by it: change the",
    "# configuration instead. Adding a sender to a group needs no new script.",
    f"require [{', '.join(map(string, REQUIRED))}];",
)
# The headings of decisions for lists and domains, of which there may be many.
_LISTS, _DOMAINS = "# Mailing lists", "# Whole domains"
_LEFT_OUT = "# (Whole domains and mailing lists would not fit: Mailroom files their mail itself.)"


@dataclass(frozen=True, slots=True)
class Rule:
    """Mail of a group's members: the mailboxes that it goes into, and whether Inbox as well."""

    group: str
    category: Category
    destinations: tuple[str, ...]

    @property
    def is_for_inbox(self) -> bool:
        return self.category.add_to_inbox


@dataclass(frozen=True, slots=True)
class ScriptInput:
    """What a script names of an account: its mailboxes, the UIDs of its contact groups by name, the
    user's addresses, and the decisions for domains and lists."""

    places: Places
    group_uids: Mapping[str, str]
    own: OwnAddresses
    decisions: Decisions


def rules(config: Config) -> tuple[Rule, ...]:
    """Children before their parents: a sender is in the groups of the whole chain, and the first
    rule that fits says where everything goes."""
    triage = config.triage
    found = [
        Rule(group, category, tuple(each.destination_mailbox for each in triage.chain(category)))
        for group, category in deciding(triage).items()
    ]
    return tuple(sorted(found, key=lambda rule: -len(rule.destinations)))


def script(config: Config, source: ScriptInput, condition: str) -> str:
    """The script. ``condition`` is one of ``GROUP_CONDITIONS``.

    Mailboxes are named by their ids (RFC 9042): a name alone is not found everywhere (seen on Cyrus
    3.10.2 with ``altnamespace: no``), and an id survives renaming. Raises LastingTrouble if the
    script would be too long for a server.
    """
    blocks = _Blocks(config, source, condition)
    whole = _text([*_HEAD], blocks.all())
    if len(whole.encode()) > MOST_BYTES:
        whole = _text([*_HEAD, _LEFT_OUT], blocks.all(without=frozenset({Who.LIST, Who.DOMAIN})))
    if (size := len(whole.encode())) > MOST_BYTES:
        raise LastingTrouble(
            f"a script for {len(config.triage.categories)} categories would have {size} bytes, and "
            f"no server takes more than {MOST_BYTES}: use fewer, or let mailroom sort new mail "
            "itself (screening.by: mailroom)"
        )
    return whole


def without_decisions(text: str) -> str:
    """The script without the decisions for domains and lists: they change from day to day, and the
    door knows them at once."""
    blocks = [part for part in text.split("\n\n") if not part.startswith((_LISTS, _DOMAINS))]
    return "\n\n".join(blocks).replace(f"\n{_LEFT_OUT}", "")


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The script's parts: a comment, a test, and what is done if it is true."""

    config: Config
    source: ScriptInput
    condition: str

    def all(self, without: frozenset[Who] = frozenset()) -> Iterator[str]:
        """One after another, in the order of the decision."""
        said = {
            Who.OWN: self._own,
            Who.BOUNCE: self._bounces,
            Who.SPAM: self._spam,
            Who.SCREENED: self._screened,
            Who.CATEGORY: self._groups,
            Who.LIST: self._lists,
            Who.CONTACT: self._contacts,
            Who.DOMAIN: self._domains,
            Who.UNKNOWN: self._strangers,
        }
        for who in Who:
            if who in said and who not in without:
                yield from said[who]()

    def _own(self) -> Iterator[str]:
        own = [each for entry in self.source.own.entries for each in spellings(entry)]
        if own:
            test = f'address :matches "from" {_list(map(_pattern, own))}'
            yield _if("# You", test, self._for(Standing(Who.OWN)))

    def _bounces(self) -> Iterator[str]:
        test = 'allof (envelope :is "from" "", header :matches "content-type" "multipart/report*")'
        yield _if("# What mail servers report", test, self._for(Standing(Who.BOUNCE)))

    def _spam(self) -> Iterator[str]:
        junk, mark = self.source.places.junk, self.config.screening.spam_header
        if junk and mark:
            name, _, value = mark.partition(":")
            test = f"header :matches {string(name)} {string(_literal(value.strip()) + '*')}"
            yield _if("# Spam", test, [_fileinto(junk, "Junk")])

    def _screened(self) -> Iterator[str]:
        name = self.config.triage.screened_group
        if name in self.source.group_uids:
            yield _if(_of_group(name), self._member(name), self._for(Standing(Who.SCREENED)))

    def _groups(self) -> Iterator[str]:
        for rule in rules(self.config):
            actions = self._for(Standing(Who.CATEGORY, rule.category))
            yield _if(_of_group(rule.group), self._member(rule.group), actions)

    def _lists(self) -> Iterator[str]:
        for category, ids in _by_category(self.config, self.source.decisions.lists):
            test = f'header :contains "list-id" {_list(f"<{each}>" for each in ids)}'
            yield _if(_LISTS, test, self._for(Standing(Who.LIST, category)))

    def _contacts(self) -> Iterator[str]:
        if "contacts" in self.config.screening.known:
            test = f"jmapquery {block({'fromAnyContact': True})}"
            yield _if("# Your address book", test, self._for(Standing(Who.CONTACT)))

    def _domains(self) -> Iterator[str]:
        """The nearest domain counts, so deeper ones come first."""
        domains = self.source.decisions.domains
        for depth in sorted({each.count(".") for each in domains}, reverse=True):
            level = {each: name for each, name in domains.items() if each.count(".") == depth}
            for category, names in _by_category(self.config, level):
                spelled = [each[1:] for name in names for each in spellings(f"@{name}")]
                wanted = [each for name in spelled for each in (name, f"*.{name}")]
                test = f'address :domain :matches "from" {_list(wanted)}'
                yield _if(_DOMAINS, test, self._for(Standing(Who.DOMAIN, category)))

    def _strangers(self) -> Iterator[str]:
        yield "\n".join(["# Everybody else", *self._for(Standing(Who.UNKNOWN))])

    def _member(self, group: str) -> str:
        return f"jmapquery {block({self.condition: self.source.group_uids[group]})}"

    def _for(self, standing: Standing) -> list[str]:
        """What is done with the mail of such a sender."""
        if standing.waits:
            name = self.config.triage.screener_mailbox
            return [_fileinto(self.source.places.screener, name, f":flags {string(WAITING)} ")]
        actions = list(_filed(standing.category, self.config, self.source.places))
        return [*actions, "keep;"] if standing.is_for_inbox else actions


def _filed(category: Category | None, config: Config, places: Places) -> Iterator[str]:
    """Each destination of the chain once."""
    if category is not None:
        names = [each.destination_mailbox for each in config.triage.chain(category)]
        for mailbox_id, name in dict(zip(places.chains[category.name], names, strict=True)).items():
            yield _fileinto(mailbox_id, name)


def _fileinto(mailbox_id: str, name: str, flags: str = "") -> str:
    return f"fileinto {flags}:mailboxid {string(mailbox_id)} {string(name)};"


def _by_category(
    config: Config, decided: Mapping[str, str]
) -> Iterator[tuple[Category, list[str]]]:
    """What was decided about, by category; without categories that are no longer configured."""
    for category in config.triage.categories:
        if found := sorted(each for each, name in decided.items() if name == category.name):
            yield category, found


def _text(head: list[str], blocks: Iterable[str]) -> str:
    return "\n\n".join(["\n".join(head), *blocks]) + "\n"


def _if(comment: str, test: str, actions: list[str]) -> str:
    done = [f"    {each}" for each in (*actions, "stop;")]
    return "\n".join([comment, f"if {test}", "{", *done, "}"])


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(string, texts))}]"


def _literal(text: str) -> str:
    """The text with its wildcards for ``:matches`` escaped (RFC 5228 §2.7.1)."""
    return re.sub(r"([\\*?])", r"\\\1", text)


def _pattern(entry: str) -> str:
    """An own address, in which ``*`` stands for any characters."""
    return "*".join(map(_literal, entry.split("*")))


def _of_group(name: str) -> str:
    """A comment; names have no line breaks (:mod:`mailroom.rules.configuration.checks`)."""
    return f"# The group {name}"
