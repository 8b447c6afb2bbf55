"""Instructions for people who make the rules by hand, or need none."""

from collections.abc import Iterator

from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.sieve import rules


def without_rules(config: Config) -> Iterator[str]:
    """What to do if the server's rules cannot look at contact groups."""
    yield "No rule there can tell whose mail it is. Let Mailroom sort new mail itself,"
    yield "which needs no rules on any server:"
    yield from _by_mailroom(config)


def unneeded(config: Config, *, was_there: bool, apply: bool) -> Iterator[str]:
    """Why there are no rules, and what happens to an existing script."""
    if was_there:
        yield f"routing rules: the script mailroom: {'removed' if apply else 'will be removed'}"
    if config.screening.by == "off":
        yield "routing rules: none of Mailroom's, and it sorts no new mail (screening.by: off)"
        return
    yield "routing rules: none are needed, Mailroom sorts new mail itself (screening.by: mailroom)"
    yield "Rules that you made by hand for Mailroom can be switched off."


def instructions(config: Config) -> Iterator[str]:
    """How to make the rules by hand if there is no Sieve: Fastmail's Settings, Filters & Rules.

    There each rule adds its own label; the rules of a chain together add all that its mail needs.
    """
    yield "There is nothing to make by hand if Mailroom sorts new mail itself:"
    yield from _by_mailroom(config)
    yield ""
    yield "With rules no phone rings for a stranger. Make them once, in this order."
    yield "(Fastmail: Settings, Filters & Rules, Rules, Create rule)"
    screener = config.triage.screener_mailbox
    screened = config.triage.screened_group
    yield ""
    yield "1. People whose mail has to wait"
    yield f"   if     From is a member of the contact group {screened!r}"
    yield f"   then   add the label {screener!r}, archive (remove from Inbox)"
    yield "          do not tick: continue to apply other rules"
    made = rules(config)
    for number, rule in enumerate(made, 2):
        yield ""
        yield f"{number}. {rule.category.name}"
        yield f"   if     From is a member of the contact group {rule.group!r}"
        yield f"   then   add the label {rule.category.destination_mailbox!r}" + (
            "" if rule.is_for_inbox else ", archive (remove from Inbox)"
        )
        yield "          tick: continue to apply other rules"
    yield ""
    yield f"{len(made) + 2}. {screener}, last of all"
    yield "   if     none of these conditions is met:"
    yield "            From is one of your own addresses"
    if "contacts" in config.screening.known:
        yield "            From is one of your contacts"
    for rule in made:
        yield f"            From is a member of the contact group {rule.group!r}"
    yield f"   then   add the label {screener!r}, archive (remove from Inbox)"
    yield ""
    yield from _mistake(config)
    yield "Rules cannot know whom you have written to, whole domains and lists, or bounces:"
    yield "Mailroom corrects that a moment later."
    yield "Rules of your own that file mail elsewhere go above all these, without that tick."
    yield f"Afterwards: {config.command('check --rules')}"


def _by_mailroom(config: Config) -> Iterator[str]:
    yield "    screening:"
    yield "      by: mailroom"
    yield f"in the configuration, then {config.command('setup --apply --rules')}. (A phone may ring"
    yield "for a stranger in the moment before the mail is moved.)"


def _mistake(config: Config) -> Iterator[str]:
    """The most common one."""
    child = next((each for each in config.triage.categories if each.parent), None)
    yield 'The most common mistake: a rule without "continue to apply other rules".'
    if child:
        yield (
            f"Mail of a sender in {child.name} would then get the label "
            f"{child.destination_mailbox!r} and never the one of {child.parent}."
        )
