"""Routing: where the future mail of triaged senders goes, said as a Sieve script and to people.

A rule per contact group, and one for everybody else. Rules look at groups, never at single
senders: adding a sender to a group needs no new rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailroom.rules.categories import Category
from mailroom.rules.config import Config
from mailroom.rules.inclusion import Inclusion, inclusion
from mailroom.rules.places import Places
from mailroom.rules.screening import deciding
from mailroom.wire.sieve import block, string

SCRIPT_NAME = "mailroom"

#: What the script needs; the last is the test that can look at contact groups.
REQUIRED = ("fileinto", "mailboxid", "vnd.cyrus.jmapquery")
#: What a server's jmapquery calls the group of a sender, by its UID: Cyrus up to 3.10; later ones.
GROUP_CONDITIONS = ("fromContactGroupId", "fromContactCardUid")


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
class Owned:
    """One of the user's scripts with its text."""

    id: str
    name: str
    text: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do so that ``SCRIPT_NAME`` has the wanted text and is at work.

    ``replaces`` is its id where there is one. ``beside`` is the user's own active script that
    does not include ours: it is not ours to change. ``under`` is the one that includes ours under
    a condition: whether that is meant so, only the user knows.
    """

    is_written: bool
    is_activated: bool
    replaces: str | None = None
    beside: str | None = None
    under: str | None = None


def rules(config: Config) -> tuple[Rule, ...]:
    """Children before their parents: a sender is in the groups of the whole chain, and the first
    rule that fits says where everything goes."""
    triage = config.triage
    found = [
        Rule(group, category, tuple(each.destination_mailbox for each in triage.chain(category)))
        for group, category in deciding(triage).items()
    ]
    return tuple(sorted(found, key=lambda rule: -len(rule.destinations)))


def script(config: Config, places: Places, group_uids: Mapping[str, str], condition: str) -> str:
    """The script. ``condition`` is one of ``GROUP_CONDITIONS``.

    Mailboxes are named by their ids (RFC 9042): a name alone is not found everywhere (seen on
    Cyrus with ``altnamespace: no``), and one that is renamed stays the same.
    """
    lines = [
        "# Written by `mailroom setup --apply --rules`, and written anew by it: change the",
        "# configuration instead. Adding a sender to a group needs no new script.",
        f"require [{', '.join(map(string, REQUIRED))}];",
    ]
    for rule in rules(config):
        lines += [
            "",
            f"if jmapquery {block({condition: group_uids[rule.group]})}",
            "{",
            *(f"    {_fileinto(*place)}" for place in _places(rule, places)),
            *(["    keep;"] if rule.is_for_inbox else []),
            "    stop;",
            "}",
        ]
    screener = _fileinto(places.screener, config.triage.screener_mailbox)
    return "\n".join([*lines, "", screener, ""])


def decide(scripts: Sequence[Owned], wanted: Sequence[str]) -> Decision:
    """``wanted`` are the texts that would do, the best first."""
    ours = next((each for each in scripts if each.name == SCRIPT_NAME), None)
    active = next((each for each in scripts if each.is_active and each is not ours), None)
    is_current = ours is not None and ours.text in wanted
    texts = {each.name: each.text for each in scripts if each is not ours}
    included = inclusion(active.text, SCRIPT_NAME, texts) if active else Inclusion.ALWAYS
    is_at_work = active is not None or (ours is not None and ours.is_active)
    return Decision(
        is_written=not is_current,
        is_activated=not is_at_work,
        replaces=ours.id if ours else None,
        beside=active.name if active and included is Inclusion.NEVER else None,
        under=active.name if active and included is Inclusion.SOMETIMES else None,
    )


def advice_to_include(name: str) -> tuple[str, ...]:
    """What a user has to do whose own script is active."""
    return (
        f"Your own script {name!r} is active and stays so. Let it end with the new one:",
        '  at its beginning   require ["include"];',
        f'  at its very end    include :personal "{SCRIPT_NAME}";',
        "A `stop` of yours before that keeps mail from being screened.",
    )


def without_rules(config: Config) -> Iterator[str]:
    """What is so where the server's rules cannot look at contact groups."""
    screener = config.triage.screener_mailbox
    yield "No rule there can tell whose mail it is: new mail stays in Inbox, nobody is screened."
    yield f"What works: a label on a mail files it, and its sender's mail in {screener!r} and the"
    yield "destinations. Later mail of that sender comes to Inbox again: label it, or write a rule"
    yield 'of your own for the address (address :is "from").'


def instructions(config: Config) -> Iterator[str]:
    """How to make the rules by hand where there is no Sieve: Fastmail's Settings, Filters & Rules.

    There a rule adds its own label, and the rules of a chain together what its mail needs.
    """
    yield "Make them once by hand, in this order."
    yield "(Fastmail: Settings, Filters & Rules, Rules, Create rule)"
    made = rules(config)
    for number, rule in enumerate(made, 1):
        yield ""
        yield f"{number}. {rule.category.name}"
        yield f"   if     From is a member of the contact group {rule.group!r}"
        yield f"   then   add the label {rule.category.destination_mailbox!r}" + (
            "" if rule.is_for_inbox else ", archive (remove from Inbox)"
        )
        yield "          tick: continue to apply other rules"
    screener = config.triage.screener_mailbox
    yield ""
    yield f"{len(made) + 1}. {screener}, the last of all"
    yield "   if     none of these conditions is met:"
    for rule in made:
        yield f"            From is a member of the contact group {rule.group!r}"
    yield f"   then   add the label {screener!r}, archive (remove from Inbox)"
    yield ""
    yield from _mistake(config)
    yield "Rules of your own that file mail elsewhere go above all these, without that tick."
    yield f"Afterwards: {config.command('check --rules')}"


def _mistake(config: Config) -> Iterator[str]:
    """The one that everybody makes."""
    child = next((each for each in config.triage.categories if each.parent), None)
    yield 'The mistake that everybody makes: a rule without "continue to apply other rules".'
    if child:
        yield (
            f"Mail of a sender in {child.name} would then get the label "
            f"{child.destination_mailbox!r} and never the one of {child.parent}."
        )


def _places(rule: Rule, places: Places) -> Iterator[tuple[str, str]]:
    """Id and name of each mailbox, each once."""
    pairs = zip(places.chains[rule.category.name], rule.destinations, strict=True)
    return iter(dict(pairs).items())


def _fileinto(mailbox_id: str, name: str) -> str:
    return f"fileinto :mailboxid {string(mailbox_id)} {string(name)};"
