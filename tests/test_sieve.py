"""Routing: the script and the instructions that a configuration means, and who may write what."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.errors import LastingTrouble
from mailroom.rules.categories import Category
from mailroom.rules.config import Config, from_data
from mailroom.rules.evidence import weigh
from mailroom.rules.inclusion import Inclusion, inclusion
from mailroom.rules.places import find_places
from mailroom.rules.reset import RemoveRules
from mailroom.rules.sieve import Owned as Script
from mailroom.rules.sieve import advice_to_include, decide, instructions, rules, script
from mailroom.sandbox import CYRUS_3_10, STALWART, Fault, Profile, Sandbox, serve
from mailroom.sandbox.sieve import SieveSandbox
from mailroom.sandbox.sieve_check import fault_of
from mailroom.wire.jmap import Address, Mail, Mailbox
from mailroom.wire.sieve import string
from mailroom.wire.sieve_script import read_script
from mailroom.work.check import Finding
from mailroom.work.reset import Reset
from mailroom.work.routing import NoSieve, Routed, Routing, Unroutable
from mailroom.work.setup import Setup
from tests.command import Shell, Site, killed_anywhere

CHAIN = {
    "triage": {
        "categories": [
            {"name": "Imbox", "add_to_inbox": True},
            {"name": "Person", "parent": "Imbox"},
            'Jan "J" \\ Feed',
        ]
    }
}


def placed(config: Config) -> tuple[Any, dict[str, str]]:
    """Every managed mailbox with an id, every group with a UID, made of their names."""
    boxes = [Mailbox(f"id-{name}", name, None, None) for name in config.managed_mailboxes]
    return find_places(config, boxes), {name: f"uid-{name}" for name in config.triage.groups}


def test_the_script_of_a_chain() -> None:
    config = from_data(CHAIN)
    assert script(config, *placed(config), "fromContactGroupId") == (
        "# Written by `mailroom setup --apply --rules`, and written anew by it: change the\n"
        "# configuration instead. Adding a sender to a group needs no new script.\n"
        'require ["fileinto", "mailboxid", "vnd.cyrus.jmapquery"];\n'
        "\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Person"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Person" "Person";\n'
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    stop;\n"
        "}\n"
        "\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Imbox"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Imbox" "Imbox";\n'
        "    keep;\n"
        "    stop;\n"
        "}\n"
        "\n"
        "if jmapquery text:\n"
        '{"fromContactGroupId": "uid-Jan \\"J\\" \\\\ Feed"}\n'
        ".\n"
        "{\n"
        '    fileinto :mailboxid "id-Jan \\"J\\" \\\\ Feed" "Jan \\"J\\" \\\\ Feed";\n'
        "    stop;\n"
        "}\n"
        "\n"
        'fileinto :mailboxid "id-Screener" "Screener";\n'
    )


def test_the_script_is_sieve() -> None:
    config = from_data(CHAIN)
    require, *ifs, screener = read_script(script(config, *placed(config), "fromContactGroupId"))
    assert require.strings == ("fileinto", "mailboxid", "vnd.cyrus.jmapquery")
    assert [each.name for each in ifs] == ["if", "if", "if"]
    assert screener.strings == ("id-Screener", "Screener")


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
    text = script(config, *placed(config), "fromContactGroupId")
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
    "one that includes an old one of ours": (
        [INCLUDING, Script("1", "mailroom", "old", False)], (True, False, "1", None)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DECISIONS)
def test_what_is_done_about_the_scripts_that_are_there(case: str) -> None:
    scripts, expected = DECISIONS[case]
    found = decide(scripts, ["wanted", "also wanted"])
    assert (found.is_written, found.is_activated, found.replaces, found.beside) == expected


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
    assert (found.beside, found.under) == (None, "mine")
    assert decide([OURS, INCLUDING], ["wanted"]).under is None


def test_the_instructions_name_every_rule_in_order_and_the_mistake() -> None:
    text = "\n".join(instructions(from_data(CHAIN)))
    assert text.index("1. Person") < text.index("2. Imbox") < text.index("4. Screener, the last")
    assert text.count("tick: continue to apply other rules") == 3
    assert 'The mistake that everybody makes: a rule without "continue to apply' in text
    assert "Mail of a sender in Person would then get the label 'Person' and never" in text
    assert "add the label 'Imbox'\n" in text
    assert "add the label 'Person', archive (remove from Inbox)\n" in text


def mail(sender: str, *names: str) -> Mail:
    return Mail(f"{sender}{names}", (Address("", sender),), frozenset(f"id-{n}" for n in names))


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

    def category_of(sender: str) -> Category | None:
        return config.triage.category("Person") if sender == "ann@example.org" else None

    mails = [mail("Ann@example.org", *where), mail("eve@example.org", "Screener")]
    evidence = weigh(mails, category_of, config, placed(config)[0])
    counts = {"routed": evidence.routed, "halfway": evidence.halfway, "unrouted": evidence.unrouted}
    assert [kind for kind, count in counts.items() if count["Person"]] == (
        [expected] if expected else []
    )
    assert bool(evidence.faults()) is (expected in ("halfway", "unrouted"))


def ready(sandbox: type[Any] = SieveSandbox, profile: Profile = CYRUS_3_10) -> Site:
    site = Site(profile, sandbox=sandbox)
    desk = site.desk()
    desk.run(Setup(desk.loop, desk.config, desk.talks).apply(lambda _: None))
    return site


def apply(site: Site) -> Routed:
    desk = site.desk()
    return desk.run(Routing(desk.loop, desk.config, desk.talks).apply())


def check(site: Site) -> Finding:
    desk = site.desk()
    return desk.run(Routing(desk.loop, desk.config, desk.talks).check())


def scripts(site: Site) -> dict[str, tuple[str, bool]]:
    assert isinstance(site.sandbox, SieveSandbox)
    return {each.name: (each.text, each.is_active) for each in site.sandbox.scripts.values()}


def test_one_script_is_written_and_active_and_then_nothing_more() -> None:
    site = ready()
    assert "run mailroom setup --apply --rules" in check(site).detail
    routed = apply(site)
    assert scripts(site) == {"mailroom": (routed.text, True)}
    assert fault_of(routed.text, CYRUS_3_10) is None
    assert check(site) == Finding("routing rules", "the script mailroom is at work and up to date")
    before = len(site.sandbox.log.entries)
    assert not apply(site).decision.is_written
    calls = {call for entry in site.sandbox.log.since(before) for call in entry.calls}
    assert calls == {"SieveScript/get", "Mailbox/get", "Email/get"}


def test_an_old_script_is_replaced_and_made_active() -> None:
    site = ready()
    site.sandbox.put_script("mailroom", "keep;")  # type: ignore[attr-defined]
    routed = apply(site)
    assert scripts(site) == {"mailroom": (routed.text, True)}


def test_the_users_active_script_stays_as_it_is_and_the_user_is_told() -> None:
    site = ready()
    site.sandbox.put_script("mine", "keep;", is_active=True)  # type: ignore[attr-defined]
    routed = apply(site)
    assert routed.decision.beside == "mine"
    assert scripts(site) == {"mine": ("keep;", True), "mailroom": (routed.text, False)}
    found = check(site)
    assert found.error is not None
    assert 'include :personal "mailroom";' in found.detail
    text = 'require "include";\nkeep;\ninclude :personal "mailroom";\n'
    site.sandbox.script("mine").text = text  # type: ignore[attr-defined]
    assert check(site).error is None
    assert apply(site).decision.beside is None
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
    extensions = ("fileinto", "mailboxid", "vnd.cyrus.jmapquery")
    site = ready(profile=replace(STALWART, sieve_extensions=extensions))
    apply(site)
    assert [is_active for _, is_active in scripts(site).values()] == [True]


def _refuse(response: Any) -> Any:
    fault = b'"error": {"type": "invalidSieve", "description": "unknown extension"}'
    body = response.body.replace(b'"error": null', fault)
    return response.__class__(response.status, response.headers, body)


def test_without_sieve_the_rules_are_judged_by_where_mail_has_come_to() -> None:
    site = ready(Sandbox)
    assert check(site).detail == "no mail of a triaged sender yet to tell by"
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
        assert "The routing rules come when all of this is there." in capsys.readouterr().out
        assert shell.run("setup", "--apply") == 0
        assert shell.run("setup", "--rules") == 0
        shown = capsys.readouterr().out
        assert scripts(site) == {}
        assert shell.run("check", "--rules") == 1
        assert shell.run("setup", "--apply", "--rules") == 0
        assert scripts(site)["mailroom"][0] in shown
        capsys.readouterr()
        assert shell.run("check", "--rules") == 0
        assert "is at work and up to date" in capsys.readouterr().out
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
    assert "The mistake that everybody makes" in shown
    assert "8. Screener, the last of all" in shown


def own_script(site: Site, text: str, *, is_active: bool = False) -> None:
    assert isinstance(site.sandbox, SieveSandbox)
    site.sandbox.put_script("mine", text, is_active=is_active)


def test_leaving_switches_our_script_off_and_removes_it_before_anything_else() -> None:
    site = ready()
    own_script(site, "keep;")
    apply(site)
    desk = site.desk()
    work = Reset(desk.loop, desk.config, desk.talks)
    steps = desk.run(work.plan())
    assert isinstance(steps[0], RemoveRules)
    assert desk.run(work.apply(steps, lambda _: None)) == ()
    assert scripts(site) == {"mine": ("keep;", False)}
    assert not work.has_hand_made_rules


def test_a_script_of_ours_that_the_users_runs_is_not_taken_away_from_under_it() -> None:
    site = ready()
    own_script(site, 'require "include"; include :personal "mailroom";', is_active=True)
    apply(site)
    desk = site.desk()
    with pytest.raises(LastingTrouble, match="take the include out of it first"):
        desk.run(Reset(desk.loop, desk.config, desk.talks).plan())


def test_where_rules_were_made_by_hand_only_the_user_knows() -> None:
    site = ready(Sandbox)
    desk = site.desk()
    work = Reset(desk.loop, desk.config, desk.talks)
    desk.run(work.plan())
    assert work.has_hand_made_rules
