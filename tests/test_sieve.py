"""Routing: the script and the instructions that a configuration means, and who may write what."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.errors import LastingTrouble
from mailroom.rules.account.reset import RemoveRules
from mailroom.rules.configuration.config import Config, from_data
from mailroom.rules.screening.byhand import instructions, unneeded, without_rules
from mailroom.rules.screening.evidence import weigh
from mailroom.rules.screening.inclusion import Inclusion, inclusion
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.scripts import UserScript as Script
from mailroom.rules.screening.scripts import advice_to_include, decide
from mailroom.rules.screening.sieve import (
    MOST_BYTES,
    REQUIRED,
    ScriptInput,
    rules,
    script,
    without_decisions,
)
from mailroom.rules.screening.standing import Standing, Who
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage.drags import PLACED
from mailroom.rules.triage.places import find_places
from mailroom.wire.jmap import Address, Mail, Mailbox
from mailroom.wire.sieve import string
from mailroom.wire.sieve_script import read_script
from mailroom.work.setup.check import Finding
from mailroom.work.setup.reset import Reset
from mailroom.work.setup.routing import NoSieve, Routed, Routing, Unroutable
from mailroom.work.setup.setup import Setup
from tests.command import Shell, Site, killed_anywhere
from tests.sandbox import CYRUS_3_10, STALWART, Fault, Profile, Sandbox, serve
from tests.sandbox.sieve import SieveSandbox
from tests.sandbox.sieve_check import fault_of

CHAIN: dict[str, dict[str, Any]] = {
    "triage": {
        "categories": [
            {"name": "Imbox", "add_to_inbox": True},
            {"name": "Person", "parent": "Imbox"},
            'Jan "J" \\ Feed',
        ]
    }
}


def source(config: Config, **decided: dict[str, str]) -> ScriptInput:
    """Every managed mailbox with an id, every group with a UID, made of their names."""
    boxes = [Mailbox(f"id-{name}", name, None, None) for name in config.managed_mailboxes]
    boxes += [Mailbox(f"id-{name}", name, None, name.lower()) for name in ("Inbox", "Junk")]
    names = (*config.triage.groups, config.triage.screened_group)
    uids = {name: f"uid-{name}" for name in names}
    own = OwnAddresses(config.triage.own_addresses)
    return ScriptInput(find_places(config, boxes), uids, own, Decisions(**decided))


def written(config: Config, **decided: dict[str, str]) -> str:
    return script(config, source(config, **decided), "fromContactGroupId")


def test_the_script_of_a_chain() -> None:
    config = from_data({**CHAIN, "triage": {**CHAIN["triage"], "own_addresses": ["*@me.example"]}})
    decided = {"domains": {"shop.example": "Person"}, "lists": {"news.example.org": "Imbox"}}
    assert written(config, **decided) == (
        "# Written by `mailroom setup --apply --rules`, and written anew by it: change the\n"
        "# configuration instead. Adding a sender to a group needs no new script.\n"
        'require ["envelope", "fileinto", "imap4flags", "mailboxid", "vnd.cyrus.jmapquery"];\n'
        "\n"
        "# You\n"
        'if address :matches "from" ["*@me.example"]\n'
        "{\n"
        "    keep;\n"
        "    stop;\n"
        "}\n"
        "\n"
        "# What mail servers report\n"
        'if allof (envelope :is "from" "", '
        'header :matches "content-type" "multipart/report*")\n'
        "{\n"
        "    keep;\n"
        "    stop;\n"
        "}\n"
        "\n"
        "# Spam\n"
        'if header :matches "X-Spam-Flag" "YES*"\n'
        "{\n"
        '    fileinto :mailboxid "id-Junk" "Junk";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# The group Mailroom screened\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Mailroom screened"}\n'
        ".\n"
        "{\n"
        '    fileinto :flags "mailroom-waiting" :mailboxid "id-Screener" "Screener";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# The group Person\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Person"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Person" "Person";\n'
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# The group Imbox\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Imbox"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    keep;\n"
        "    stop;\n"
        "}\n"
        "\n"
        '# The group Jan "J" \\ Feed\n'
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Jan \\"J\\" \\\\ Feed"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Jan \\"J\\" \\\\ Feed" "Jan \\"J\\" \\\\ Feed";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# Mailing lists\n"
        'if header :contains "list-id" ["<news.example.org>"]\n'
        "{\n"
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# Your address book\n"
        "if jmapquery text:\n"
        '{"fromAnyContact": true}\n'
        ".\n"
        "{\n"
        "    keep;\n"
        "    stop;\n"
        "}\n"
        "\n"
        "# Whole domains\n"
        'if address :domain :matches "from" ["shop.example", "*.shop.example"]\n'
        "{\n"
        '    fileinto :mailboxid "id-Person" "Person";\n'
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "# Everybody else\n"
        'fileinto :flags "mailroom-waiting" :mailboxid "id-Screener" "Screener";\n'
    )


def test_the_script_is_sieve() -> None:
    require, *ifs, screener = read_script(written(from_data(CHAIN)))
    assert require.strings == REQUIRED
    assert {each.name for each in ifs} == {"if"}
    assert screener.strings == ("mailroom-waiting", "id-Screener", "Screener")


def test_a_domain_is_written_in_both_of_its_spellings() -> None:
    decided = {"domains": {"xn--bcher-kva.example": "Feed"}}
    text = written(Config(), **decided)
    assert '["xn--bcher-kva.example", "*.xn--bcher-kva.example", "b\u00fccher.example", ' in text


def test_an_account_of_an_earlier_version_has_no_screened_group() -> None:
    config = from_data(CHAIN)
    there = source(config)
    uids = {name: uid for name, uid in there.group_uids.items() if name != "Mailroom screened"}
    text = script(config, replace(there, group_uids=uids), "fromContactGroupId")
    assert "Mailroom screened" not in text


def test_what_would_not_fit_is_left_to_the_door() -> None:
    many = {f"shop-number-{number}.example": "Feed" for number in range(800)}
    few = {f"shop-number-{number}.example": "Feed" for number in range(80)}
    whole, cut = written(Config(), domains=few), written(Config(), domains=many)
    assert "shop-number-79.example" in whole
    assert len(cut.encode()) < MOST_BYTES < len(whole.encode()) * 10
    assert "shop-number" not in cut
    assert "would not fit: Mailroom files their mail itself" in cut
    plain = written(Config())
    assert without_decisions(whole) == without_decisions(cut) == without_decisions(plain) == plain


def test_a_script_that_no_server_takes_is_told() -> None:
    names = [f"Category number {number}" for number in range(200)]
    config = from_data({"triage": {"categories": names}})
    with pytest.raises(LastingTrouble, match=r"200 categories .* more than 32768: use fewer"):
        written(config)


def test_a_string_cannot_end_itself() -> None:
    assert string('a"; discard; #\\') == '"a\\"; discard; #\\\\"'


def test_children_come_before_their_parents() -> None:
    order = [rule.category.name for rule in rules(Config())]
    assert order.index("Person") < order.index("Imbox")
    assert order.index("Billboard") < order.index("Paper Trail") > order.index("Truck")


def test_of_a_group_that_a_chain_shares_the_parents_rule_counts() -> None:
    config = from_data({"triage": {"categories": [
        "Feed", {"name": "Shops", "parent": "Feed", "contact_group": "Feed"}]}})  # fmt: skip
    assert [(rule.group, rule.destinations) for rule in rules(config)] == [("Feed", ("Feed",))]


def test_a_destination_that_a_chain_shares_is_filed_into_once() -> None:
    config = from_data({"triage": {"categories": [
        "Feed", {"name": "Shops", "parent": "Feed", "destination_mailbox": "Feed"}]}})  # fmt: skip
    text = written(config)
    assert text.count('"id-Feed"') == 2


OURS, OTHERS = Script("1", "mailroom", "wanted", True), Script("2", "mine", "keep;", True)
INCLUDING = Script("2", "mine", 'keep;\ninclude :personal "mailroom";\n', True)
DECISIONS = {
    "nothing there": ([], (True, True, None, None)),
    "all is well": ([OURS], (False, False, "1", None)),
    "not active": ([Script("1", "mailroom", "wanted", False)], (False, True, "1", None)),
    "another text": ([Script("1", "mailroom", "old", True)], (True, False, "1", None)),
    "a user's script": ([OTHERS], (True, False, None, "mine")),
    "a user's script that is not active": (
        [Script("2", "mine", "keep;", False)], (True, True, None, None)
    ),
    "a user's script that includes ours": (
        [INCLUDING, Script("1", "mailroom", "wanted", False)], (False, False, "1", None)
    ),
    "a user's script that includes ours in a comment": (
        [Script("2", "mine", '/* include "mailroom"; */', True), OURS],
        (False, False, "1", "mine")
    ),
    "a user's script that includes ours by another": (
        [Script("2", "mine", 'include "more";', True), Script("3", "more", INCLUDING.text, False),
         Script("1", "mailroom", "wanted", False)], (False, False, "1", None)
    ),
    "another text of ours beside a user's script": (
        [OTHERS, Script("1", "mailroom", "old", False)], (True, False, "1", "mine")
    ),
    "one that includes an old one of ours": (
        [INCLUDING, Script("1", "mailroom", "old", False)], (True, False, "1", None)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DECISIONS)
def test_what_is_done_about_the_scripts_that_are_there(case: str) -> None:
    scripts, expected = DECISIONS[case]
    found = decide(scripts, ["wanted", "also wanted"])
    assert (found.is_written, found.is_activated, found.replaces, found.users_active) == expected


def test_a_script_that_differs_in_what_was_decided_is_behind() -> None:
    wanted = [written(Config(), domains={"shop.example": "Feed"})]
    ours = Script("1", "mailroom", written(Config()), True)
    assert decide([ours], wanted).is_behind
    assert decide([replace(ours, text=wanted[0])], wanted).is_behind is False
    assert decide([replace(ours, text=f"{ours.text}keep;")], wanted).is_behind is False


def test_a_script_of_an_earlier_version_is_told_from_one_that_was_changed() -> None:
    wanted = [written(Config())]
    assert decide([Script("1", "mailroom", 'fileinto "Screener";', True)], wanted).is_old
    assert not decide([Script("1", "mailroom", f"{wanted[0]}keep;", True)], wanted).is_old


def test_what_is_advised_includes_ours() -> None:
    told = "\n".join(advice_to_include("mine"))
    first, last = (re.search(rf"{word} +(.*;)", told) for word in ("beginning", "end"))
    assert first
    assert last
    text = f"{first[1]}\nkeep;\n{last[1]}\n"
    assert inclusion(text, "mailroom", {}) is Inclusion.ALWAYS


def test_a_script_that_includes_ours_for_some_mail_is_named() -> None:
    text = 'if not header "X-Spam" "yes" { include "mailroom"; }'
    found = decide([OURS, Script("2", "mine", text, True)], ["wanted"])
    assert (found.users_active, found.under) == (None, "mine")
    assert decide([OURS, INCLUDING], ["wanted"]).under is None


def test_the_instructions_name_every_rule_in_order_and_the_mistake() -> None:
    text = "\n".join(instructions(from_data(CHAIN)))
    order = ("1. People whose mail has to wait", "2. Person", "3. Imbox", "5. Screener, last")
    assert sorted(order, key=text.index) == list(order)
    assert text.count(" tick: continue to apply other rules") == 4
    assert text.count("do not tick: continue to apply other rules") == 1
    assert (
        "member of the contact group 'Mailroom screened'\n   then   add the label 'Screen" in text
    )
    assert 'The most common mistake: a rule without "continue to apply' in text
    assert "Mail of a sender in Person would then get the label 'Person' and never" in text
    assert "add the label 'Imbox'\n" in text
    assert "add the label 'Person', archive (remove from Inbox)\n" in text


def test_the_instructions_let_everybody_in_who_is_known() -> None:
    last = "From is one of your contacts"
    assert last in "\n".join(instructions(Config()))
    nobody = from_data({"screening": {"known": []}})
    assert last not in "\n".join(instructions(nobody))


@pytest.mark.parametrize("told", [instructions, without_rules])
def test_that_no_rules_are_needed_is_told_with_what_to_write(told: Any) -> None:
    assert "screening:\n      by: mailroom\n" in "\n".join(told(Config()))


def mail(sender: str, *names: str, keywords: tuple[str, ...] = ()) -> Mail:
    boxes = frozenset(f"id-{n}" for n in names)
    return Mail(f"{sender}{names}", (Address("", sender),), boxes, frozenset(keywords))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["Person", "Imbox"], "routed"),
        (["Person", "Imbox", "Archive"], "routed"),
        (["Person"], "halfway"),
        (["Imbox", "Screener"], "halfway"),
        (["Screener"], "unrouted"),
        (["Screener", "@ToImbox"], None),
    ],
)
def test_what_a_mail_says_about_the_rules(where: list[str], expected: str | None) -> None:
    config = from_data(CHAIN)

    def standing_of(sender: str) -> Standing | None:
        category = config.triage.category("Person")
        return Standing(Who.CATEGORY, category) if sender == "ann@example.org" else None

    mails = [mail("Ann@example.org", *where), mail("eve@example.org", "Screener")]
    evidence = weigh(mails, standing_of, source(config).places)
    counts = {"routed": evidence.routed, "halfway": evidence.halfway, "unrouted": evidence.unrouted}
    assert [kind for kind, count in counts.items() if count["Person"]] == (
        [expected] if expected else []
    )
    assert bool(evidence.faults()) is (expected in ("halfway", "unrouted"))


@pytest.mark.parametrize(
    ("found", "has_door", "is_fault"),
    [
        (mail("ann@example.org", "Screener"), True, True),
        (mail("ann@example.org", "Screener"), False, False),  # it may have come before
        (mail("ann@example.org", "Screener", keywords=(PLACED,)), True, False),
        (mail("ann@example.org", "Screener", "@ToFeed"), True, False),
        (mail("ann@example.org", "Feed"), True, False),
    ],
)
def test_people_who_are_known_do_not_wait(found: Mail, has_door: bool, is_fault: bool) -> None:
    places = source(Config()).places
    evidence = weigh([found], lambda _: Standing(Who.CONTACT), places, has_door=has_door)
    told = ["1 mail in Screener of people who need not wait (for example from ann@example.org): "
            "is the service running?"]  # fmt: skip
    assert evidence.faults() == (told if is_fault else [])


OLD = """\
require ["fileinto", "mailboxid", "vnd.cyrus.jmapquery"];
fileinto :mailboxid "id-Screener" "Screener";
"""


def ready(sandbox: type[Any] = SieveSandbox, profile: Profile = CYRUS_3_10) -> Site:
    site = Site(profile, sandbox=sandbox)
    context = site.context()
    context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))
    return site


def apply(site: Site) -> Routed:
    context = site.context()
    return context.run(Routing(context.loop, context.config, context.clients).apply())


def lift(site: Site, *, apply: bool) -> bool:
    context = site.context()
    return context.run(Routing(context.loop, context.config, context.clients).lift(apply=apply))


def check(site: Site) -> Finding:
    context = site.context()
    return context.run(Routing(context.loop, context.config, context.clients).check())


def scripts(site: Site) -> dict[str, tuple[str, bool]]:
    assert isinstance(site.sandbox, SieveSandbox)
    return {each.name: (each.text, each.is_active) for each in site.sandbox.scripts.values()}


def test_one_script_is_written_and_active_and_then_nothing_more() -> None:
    site = ready()
    assert "run mailroom setup --apply --rules" in check(site).detail
    routed = apply(site)
    assert "# The group Mailroom screened\n" in routed.text
    assert scripts(site) == {"mailroom": (routed.text, True)}
    assert fault_of(routed.text, CYRUS_3_10) is None
    assert check(site) == Finding("routing rules", "the script mailroom is active and up to date")
    before = len(site.sandbox.log.entries)
    assert not apply(site).decision.is_written
    calls = {call for entry in site.sandbox.log.since(before) for call in entry.calls}
    assert calls == {"SieveScript/get", "Mailbox/get", "Email/get", "Identity/get"}


def test_an_old_script_is_replaced_and_made_active() -> None:
    site = ready()
    site.sandbox.put_script("mailroom", "keep;")  # type: ignore[attr-defined]
    routed = apply(site)
    assert scripts(site) == {"mailroom": (routed.text, True)}


def test_an_old_script_is_told_as_such_and_works_until_it_is_written_anew() -> None:
    site = ready()
    site.sandbox.put_script("mailroom", OLD, is_active=True)  # type: ignore[attr-defined]
    found = check(site)
    assert found.error is not None
    assert found.detail == (
        "the script mailroom is from an earlier version, which makes people you know wait: "
        "run mailroom setup --apply --rules"
    )
    apply(site)
    assert check(site).detail == "the script mailroom is active and up to date"


def test_decisions_since_the_script_was_written_are_a_doubt() -> None:
    site = ready()
    text = apply(site).text
    block = '# Whole domains\nif address :domain :matches "from" ["old.example"]\n{\n    stop;\n}'
    changed = text.replace("# Everybody else", f"{block}\n\n# Everybody else")
    site.sandbox.script("mailroom").text = changed  # type: ignore[attr-defined]
    found = check(site)
    assert found.is_doubtful
    assert found.error is None
    assert "decisions for domains or lists have changed since it was written" in found.detail


@pytest.mark.parametrize("by", ["mailroom", "off"])
def test_where_no_rules_are_needed_a_script_of_ours_goes(by: str) -> None:
    site = ready()
    apply(site)
    own_script(site, "keep;")
    changed = Site(sandbox=SieveSandbox, configuration={"screening": {"by": by}})
    changed.sandbox = site.sandbox
    found = check(changed)
    assert found.is_doubtful
    assert found.detail == (
        f"the script mailroom is still there, and screening.by is {by}: "
        "mailroom setup --apply --rules removes it"
    )
    assert lift(changed, apply=False)
    assert set(scripts(site)) == {"mailroom", "mine"}
    assert lift(changed, apply=True)
    assert set(scripts(site)) == {"mine"}
    before = len(site.sandbox.log.entries)
    assert not lift(changed, apply=True)
    assert [entry.calls for entry in site.sandbox.log.since(before) if entry.calls] == [
        ("SieveScript/get",)
    ]
    wanted = {"mailroom": "there is no mail from a triaged", "off": "none of Mailroom's"}
    assert check(changed).detail.startswith(wanted[by])


def test_a_script_of_the_users_that_includes_none_of_ours_is_in_nobodys_way() -> None:
    """What it includes may have been deleted long ago."""
    site = ready()
    own_script(site, 'require "include"; include :personal "mailroom";', is_active=True)
    assert not lift(site, apply=True)
    assert set(scripts(site)) == {"mine"}


def test_what_is_told_where_no_rules_are_needed() -> None:
    config = from_data({"screening": {"by": "mailroom"}})
    shown, done = (list(unneeded(config, was_there=True, apply=apply)) for apply in (False, True))
    assert shown[0] == "routing rules: the script mailroom: will be removed"
    assert done[0] == "routing rules: the script mailroom: removed"
    assert shown[1:] == done[1:] == list(unneeded(config, was_there=False, apply=True))
    assert "none are needed" in shown[1]
    off = from_data({"screening": {"by": "off"}})
    [told] = unneeded(off, was_there=False, apply=False)
    assert "sorts no new mail" in told


def test_the_users_active_script_stays_as_it_is_and_the_user_is_told() -> None:
    site = ready()
    site.sandbox.put_script("mine", "keep;", is_active=True)  # type: ignore[attr-defined]
    routed = apply(site)
    assert routed.decision.users_active == "mine"
    assert scripts(site) == {"mine": ("keep;", True), "mailroom": (routed.text, False)}
    found = check(site)
    assert found.error is not None
    assert 'include :personal "mailroom";' in found.detail
    text = 'require "include";\nkeep;\ninclude :personal "mailroom";\n'
    site.sandbox.script("mine").text = text  # type: ignore[attr-defined]
    assert check(site).error is None
    again = apply(site)
    assert (again.text, again.decision.users_active) == (routed.text, None)
    assert scripts(site)["mine"] == (text, True)


def test_a_script_of_the_users_may_be_in_any_encoding() -> None:
    """RFC 5228 §2.1 has UTF-8; other programs write what they like: here Latin-1."""
    site = ready()
    text = 'require "include"; include :personal "mailroom"; # gr\udcfcn'
    own_script(site, text, is_active=True)
    apply(site)
    assert check(site).detail == "the script mailroom is active and up to date"
    assert scripts(site)["mine"] == (text, True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state() -> None:
    expected = ready()
    apply(expected)
    for site, when in killed_anywhere(ready, apply):
        assert scripts(site) == scripts(expected), when


class Advertised(SieveSandbox):
    has_sieve_methods = False


def test_sieve_that_is_only_advertised_is_none() -> None:
    with pytest.raises(NoSieve, match="but SieveScript/get failed: serverFail"):
        apply(ready(Advertised))


def test_a_server_whose_sieve_knows_no_groups_is_left_alone() -> None:
    site = ready()
    site.sandbox.faults.add(Fault(call="SieveScript/validate", rewrite=_refuse))
    with pytest.raises(NoSieve, match="cannot look at contact groups"):
        apply(site)
    assert scripts(site) == {}


def test_where_sieve_has_no_test_for_groups_no_script_is_offered() -> None:
    """Stalwart's validator takes any, which then fails when mail comes."""
    site = ready(profile=STALWART)
    with pytest.raises(Unroutable, match=r"has no vnd\.cyrus\.jmapquery, which"):
        apply(site)
    assert scripts(site) == {}
    assert isinstance(check(site).error, Unroutable)


def test_what_the_account_has_decides() -> None:
    site = ready(profile=replace(STALWART, sieve_extensions=REQUIRED))
    apply(site)
    assert [is_active for _, is_active in scripts(site).values()] == [True]


def _refuse(response: Any) -> Any:
    fault = b'"error": {"type": "invalidSieve", "description": "unknown extension"}'
    body = response.body.replace(b'"error": null', fault)
    return response.__class__(response.status, response.headers, body)


def test_without_sieve_the_rules_are_judged_by_where_mail_has_come_to() -> None:
    site = ready(Sandbox)
    assert check(site).detail == "there is no mail from a triaged sender yet to judge by"
    member = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:ann\r\nEND:VCARD"
    for href, text in site.sandbox.cards().items():
        if "FN:Person\r" in text or "FN:Imbox\r" in text:
            changed = text.replace("END:VCARD", member)
            site.sandbox.put_card(changed, href.rpartition("/")[2])
    card = (
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nEMAIL:ann@example.org\r\nEND:VCARD\r\n"
    )
    site.sandbox.put_card(card)
    day = 24 * 3600.0
    for days in (31, 29):
        received_at = site.clock.wall() - days * day
        where = ["Person", "Imbox"]
        site.sandbox.deliver("ann@example.org", mailbox=where, received_at=received_at)
    site.sandbox.deliver("eve@example.org")
    assert check(site).detail.endswith("is in place (1 in Person)")
    site.sandbox.deliver("ann@example.org", mailbox="Person")
    found = check(site)
    assert found.error is not None
    assert "do the rules of its chain continue to apply other rules?" in found.detail


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILROOM_JMAP_PASSWORD", "secret")
    monkeypatch.setenv("MAILROOM_CARDDAV_PASSWORD", "secret")


@pytest.mark.sandbox
@pytest.mark.usefixtures("secrets")
def test_the_command_shows_the_script_and_writes_it_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(sandbox=SieveSandbox)
    with serve(site.sandbox) as running:
        shell = Shell(site, running.url, tmp_path)
        assert shell.run("setup", "--rules") == 0
        assert "The routing rules follow once all of this is there." in capsys.readouterr().out
        assert shell.run("setup", "--apply") == 0
        assert shell.run("setup", "--rules") == 0
        shown = capsys.readouterr().out
        assert scripts(site) == {}
        assert shell.run("check", "--rules") == 1
        assert shell.run("setup", "--apply", "--rules") == 0
        assert scripts(site)["mailroom"][0] in shown
        capsys.readouterr()
        assert shell.run("check", "--rules") == 0
        assert "is active and up to date" in capsys.readouterr().out
        site.sandbox.put_script("mine", "keep;", is_active=True)  # type: ignore[attr-defined]
        assert shell.run("setup", "--apply", "--rules") == 1
        assert 'include :personal "mailroom";' in capsys.readouterr().out


@pytest.mark.sandbox
@pytest.mark.usefixtures("secrets")
def test_where_there_is_no_sieve_the_command_says_what_to_do_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = ready(Sandbox)
    with serve(site.sandbox) as running:
        assert Shell(site, running.url, tmp_path).run("setup", "--rules") == 0
        shown = capsys.readouterr().out
    assert "The most common mistake" in shown
    assert "9. Screener, last of all" in shown


def own_script(site: Site, text: str, *, is_active: bool = False) -> None:
    assert isinstance(site.sandbox, SieveSandbox)
    site.sandbox.put_script("mine", text, is_active=is_active)


def test_leaving_switches_our_script_off_and_removes_it_before_anything_else() -> None:
    site = ready()
    own_script(site, "keep;")
    apply(site)
    context = site.context()
    work = Reset(context.loop, context.config, context.clients)
    steps = context.run(work.plan())
    assert isinstance(steps[0], RemoveRules)
    assert context.run(work.apply(steps, lambda _: None)) == ()
    assert scripts(site) == {"mine": ("keep;", False)}
    assert not work.has_hand_made_rules


def test_a_script_of_ours_that_the_users_runs_is_not_taken_away_from_under_it() -> None:
    site = ready()
    own_script(site, 'require "include"; include :personal "mailroom";', is_active=True)
    apply(site)
    context = site.context()
    with pytest.raises(LastingTrouble, match="take the include out of it first"):
        context.run(Reset(context.loop, context.config, context.clients).plan())


def test_where_rules_were_made_by_hand_only_the_user_knows() -> None:
    site = ready(Sandbox)
    context = site.context()
    work = Reset(context.loop, context.config, context.clients)
    context.run(work.plan())
    assert work.has_hand_made_rules
