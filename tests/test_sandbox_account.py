"""What a user does in the sandbox with other programs, and what tests see of it."""

from xml.etree import ElementTree

import pytest

from tests.sandbox import DEFAULT_CATEGORIES, Request, Response, Sandbox
from tests.test_sandbox_server import make

GROUP_4 = (
    "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:g\r\nFN:Friends\r\nKIND:group\r\n"
    "MEMBER:urn:uuid:u-1\r\nEND:VCARD\r\n"
)
SYNC = (
    '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>1</sync-level>'
    "<prop><getetag/></prop></sync-collection>"
)


def sync(sandbox: Sandbox, token: str) -> Response:
    headers = {"Authorization": sandbox.dav_authorization}
    path = "/dav/addressbooks/user/alice/Default/"
    return sandbox.handle(Request("REPORT", path, "", headers, SYNC.format(token).encode()))


def test_a_standard_account_has_all_mailboxes_and_groups() -> None:
    sandbox, _ = make()
    for category in DEFAULT_CATEGORIES:
        assert sandbox.mailbox_id(category)
        assert sandbox.mailbox_id(f"@To{category.replace(' ', '')}")
        assert sandbox.group_members(category) == set()
    assert sandbox.group_members("Mailroom") == set()


def test_labels_go_on_and_off_and_a_mail_moves() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>")
    sandbox.label(mail_id, "@ToFeed")
    assert sandbox.mailboxes_of(mail_id) == {"Screener", "@ToFeed"}
    sandbox.unlabel(mail_id, "Screener")
    assert sandbox.mailboxes_of(mail_id) == {"@ToFeed"}
    sandbox.move(mail_id, "Feed", "Inbox")
    assert sandbox.mailboxes_of(mail_id) == {"Feed", "Inbox"}
    assert sandbox.mails_in("Feed") == {mail_id}


def test_a_mail_that_is_gone_is_in_no_mailbox_at_all() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>")
    sandbox.unlabel(mail_id, "Screener")
    with pytest.raises(KeyError):
        sandbox.mailboxes_of(mail_id)


def test_mailboxes_are_named_by_their_path() -> None:
    sandbox, _ = make()
    sandbox.create_mailbox("Lists")
    sandbox.create_mailbox("Lists/Feed")
    mail_id = sandbox.deliver("Bob <bob@example.org>", mailbox="Lists/Feed")
    assert sandbox.mailboxes_of(mail_id) == {"Lists/Feed"}
    sandbox.rename_mailbox("Lists", "News")
    assert sandbox.mailboxes_of(mail_id) == {"News/Feed"}
    sandbox.destroy_mailbox("News/Feed")
    with pytest.raises(KeyError):
        sandbox.mailbox_id("News/Feed")
    with pytest.raises(KeyError):
        sandbox.mailboxes_of(mail_id)


def test_the_same_seed_gives_the_same_ids() -> None:
    ids = [Sandbox(seed=seed).create_mailbox("A") for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("text", ["not a card", GROUP_4, "BEGIN:VCARD\nUID:u\x01\n"])
def test_a_card_is_kept_byte_for_byte_good_or_bad(text: str) -> None:
    sandbox, _ = make()
    href = sandbox.put_card(text, "odd.vcf")
    assert sandbox.cards()[href] == text
    sandbox.delete_card(href)
    assert href not in sandbox.cards()


def test_members_of_either_kind_of_group_are_told() -> None:
    sandbox, _ = make()
    sandbox.put_card(GROUP_4)
    three = next(text for text in sandbox.cards().values() if "FN:Feed" in text)
    member = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-2\r\nEND"
    sandbox.put_card(three.replace("END", member))
    assert sandbox.group_members("Friends") == {"u-1"}
    assert sandbox.group_members("Feed") == {"u-2"}
    with pytest.raises(KeyError):
        sandbox.group_members("Strangers")


def test_sync_tokens_can_be_forgotten() -> None:
    sandbox, _ = make()
    token = ElementTree.fromstring(sync(sandbox, "").body).findtext("{DAV:}sync-token", "")
    assert sync(sandbox, token).status == 207
    sandbox.forget_sync_tokens()
    assert sync(sandbox, token).status == 403
    assert sync(sandbox, "").status == 207
