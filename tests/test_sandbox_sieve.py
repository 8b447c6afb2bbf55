"""Mail that arrives in the sandbox: rules that run, and what servers do otherwise than Cyrus 3.10.

What Cyrus does is in ``tests/contract/test_sieve.py``, which runs on both.
"""

import pytest

from tests.sandbox import CYRUS_3_10, CYRUS_3_13, FASTMAIL, STALWART, Profile, Sandbox
from tests.sandbox.sieve import SieveSandbox
from tests.sandbox.sieve_check import fault_of
from tests.test_sandbox_mail import fates, get, state
from tests.test_sandbox_server import Clock, run

GROUP = "fromContactGroupId"
MEMBER = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:bob\r\nEND"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nEMAIL:bob@example.org\r\nEND:VCARD\r\n"


class ByHand(SieveSandbox):
    """A server whose rules are made on its web page."""

    offers_sieve = False


def make(profile: Profile = CYRUS_3_10, kind: type[SieveSandbox] = SieveSandbox) -> SieveSandbox:
    sandbox = kind(profile, clock=Clock())
    sandbox.standard_account()
    return sandbox


def script(sandbox: Sandbox, condition: str = GROUP) -> str:
    """The script that Mailroom makes, in short: members of Feed, and everybody else."""
    feed, screener = sandbox.mailbox_id("Feed"), sandbox.mailbox_id("Screener")
    return (
        'require ["fileinto", "mailboxid", "imap4flags", "vnd.cyrus.jmapquery"];\n'
        f'if jmapquery text:\n{{"{condition}": "group-feed"}}\n.\n'
        f'{{ fileinto :mailboxid "{feed}" "Feed"; stop; }}\n'
        f'fileinto :mailboxid "{screener}" :flags "mailroom-waiting" "Screener";\n'
    )


def befriend(sandbox: Sandbox) -> None:
    """Put Bob into the group Feed."""
    sandbox.put_card(CARD)
    [(href, group)] = ((h, c) for h, c in sandbox.cards().items() if "UID:group-feed" in c)
    sandbox.put_card(group.replace("END", MEMBER), href.rpartition("/")[2])


def test_without_rules_mail_comes_to_the_inbox() -> None:
    for sandbox in (make(), Sandbox(clock=Clock())):
        if not isinstance(sandbox, SieveSandbox):
            sandbox.standard_account()
        since = state(sandbox)
        mail_id = sandbox.arrive("Bob <bob@example.org>", "Hello", headers={"X-A": "b"})
        assert sandbox.mailboxes_of(mail_id) == {"Inbox"}
        assert fates(sandbox, since) == ([mail_id], [], [])
        assert get(sandbox, mail_id, "header:Return-Path", "header:X-A", "to") == {
            "header:Return-Path": " <bob@example.org>",
            "header:X-A": " b",
            "to": [{"name": None, "email": "alice@home.example"}],
        }
        bounce = sandbox.arrive("MAILER-DAEMON@example.org", return_path="")
        assert sandbox.mail(bounce).header("return-path") == "<>"


def test_the_active_script_decides_by_groups_as_they_are_now() -> None:
    sandbox = make()
    sandbox.put_script("mailroom", script(sandbox), is_active=True)
    stranger = sandbox.arrive("Bob <bob@example.org>")
    assert sandbox.mailboxes_of(stranger) == {"Screener"}
    assert sandbox.keywords_of(stranger) == {"mailroom-waiting"}
    befriend(sandbox)
    member = sandbox.arrive("Bob <BOB@example.org>")
    assert sandbox.mailboxes_of(member) == {"Feed"}
    assert sandbox.keywords_of(member) == set()
    sandbox.activate("")
    assert sandbox.mailboxes_of(sandbox.arrive("Bob <bob@example.org>")) == {"Inbox"}


def test_a_mail_that_is_discarded_is_gone() -> None:
    sandbox = make()
    sandbox.put_script("mine", "discard;", is_active=True)
    since = state(sandbox)
    with pytest.raises(KeyError):
        sandbox.mailboxes_of(sandbox.arrive("bob@example.org"))
    assert fates(sandbox, since) == ([], [], [])


@pytest.mark.parametrize(
    ("profile", "condition", "is_valid"),
    [
        (CYRUS_3_10, "fromContactCardUid", False),
        (CYRUS_3_13, "fromContactCardUid", True),
        (CYRUS_3_13, GROUP, True),
        (FASTMAIL, "fromContactCardUid", True),
        (STALWART, GROUP, True),  # it only compiles
    ],
)
def test_which_conditions_there_are(profile: Profile, condition: str, is_valid: bool) -> None:
    sandbox = make(profile)
    assert (fault_of(script(sandbox, condition), profile) is None) is is_valid


def test_on_stalwart_what_it_does_not_know_fails_when_mail_comes() -> None:
    sandbox = make(STALWART)
    befriend(sandbox)
    sandbox.put_script("mailroom", script(sandbox), is_active=True)
    mail_id = sandbox.arrive("bob@example.org")
    assert sandbox.mailboxes_of(mail_id) == {"Inbox"}
    assert sandbox.keywords_of(mail_id) == set()  # and nothing says so
    known = script(sandbox).replace(', "vnd.cyrus.jmapquery"', ', "extlists"')
    listed = known.replace(
        'jmapquery text:\n{"fromContactGroupId": "group-feed"}\n.\n',
        'address :list "from" "urn:ietf:params:sieve:addrbook:default"',
    )
    sandbox.put_script("other", listed, is_active=True)
    assert sandbox.mailboxes_of(sandbox.arrive("bob@example.org")) == {"Screener"}


@pytest.mark.parametrize("profile", [FASTMAIL, STALWART])
def test_names_of_mailboxes_stand_alone_but_on_cyrus(profile: Profile) -> None:
    text = 'require "fileinto"; fileinto "Feed";'
    for one, where in ((profile, "Feed"), (CYRUS_3_10, "Inbox")):
        sandbox = make(one)
        sandbox.put_script("mine", text, is_active=True)
        assert sandbox.mailboxes_of(sandbox.arrive("bob@example.org")) == {where}


def test_rules_that_are_made_by_hand_run_and_are_not_to_be_seen() -> None:
    sandbox = make(FASTMAIL, ByHand)
    befriend(sandbox)
    sandbox.put_script("rules", script(sandbox, "fromContactCardUid"), is_active=True)
    assert sandbox.mailboxes_of(sandbox.arrive("bob@example.org")) == {"Feed"}
    [[name, error]] = run(sandbox, ("SieveScript/get", {"ids": None}))
    assert (name, error["type"]) == ("error", "unknownMethod")


def test_a_script_that_the_sandbox_cannot_run_fails_the_test_and_not_the_mail() -> None:
    sandbox = make()
    sandbox.put_script("mine", 'require "vacation"; vacation "I am away";', is_active=True)
    with pytest.raises(NotImplementedError, match="vacation"):
        sandbox.arrive("bob@example.org")


def test_more_scripts_than_there_is_room_for_are_refused() -> None:
    sandbox = make()
    for number in range(5):
        sandbox.put_script(f"s{number}", "keep;")
    new = {"name": "sixth", "blobId": sandbox.keep(b"keep;")}
    [[_, answer]] = run(sandbox, ("SieveScript/set", {"create": {"new": new}}))
    assert answer["notCreated"] == {"new": {"type": "overQuota"}}


def test_ten_thousand_arrivals_read_the_book_once() -> None:
    sandbox = make()
    befriend(sandbox)
    sandbox.put_script("mailroom", script(sandbox), is_active=True)
    people = sandbox._known_people()
    sandbox.arrive("bob@example.org")
    assert sandbox._known_people() is people
    sandbox.put_card(CARD)
    assert sandbox._known_people() is not people
