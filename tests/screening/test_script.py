"""The table on the generated script: the sandbox's rules say what the pure decision says, but for
what no rule can know. ``tests/system/test_screening.py`` asks a real Cyrus."""

import pytest

from mailroom.rules.triage.drags import WAITING
from mailroom.wire.jmap import Mailbox
from tests.sandbox import CYRUS_3_10
from tests.sandbox.sieve import SieveSandbox
from tests.screening.table import Case, address_book, cases, script_of

ROLES = ("Inbox", "Archive", "Sent", "Junk", "Trash", "Drafts")


def account(case: Case) -> SieveSandbox:
    """The case's account, with the script that is made for it."""
    sandbox = SieveSandbox(CYRUS_3_10)
    for role in ROLES:
        if role != case.account.get("without"):
            sandbox.create_mailbox(role, role.lower())
    for name in case.config.managed_mailboxes:
        sandbox.create_mailbox(name)
    cards, uids = address_book(case)
    for name, card in cards.items():
        sandbox.put_card(card, name)
    text = script_of(case, boxes(sandbox, case), uids)
    assert sandbox.fault_of(text) is None
    sandbox.put_script("mailroom", text, is_active=True)
    return sandbox


def boxes(sandbox: SieveSandbox, case: Case) -> list[Mailbox]:
    roles = [role for role in ROLES if role != case.account.get("without")]
    return [
        *(Mailbox(sandbox.mailbox_id(name), name, None, name.lower()) for name in roles),
        *(Mailbox(sandbox.mailbox_id(n), n, None, None) for n in case.config.managed_mailboxes),
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_where_the_script_puts_new_mail(case: Case) -> None:
    sandbox, header = account(case), case.header
    sender = header.pop("From", None)
    mail_id = sandbox.arrive(sender, headers=header, return_path=case.return_path)
    places, keywords = sandbox.mailboxes_of(mail_id), sandbox.keywords_of(mail_id)
    if case.goes_by_rules is not None:
        assert places == case.goes_by_rules
    assert keywords == ({WAITING} if "Screener" in places else set())


def test_what_the_script_cannot_say_is_only_what_no_rule_can_know() -> None:
    otherwise = {case.who for case in cases() if case.goes != case.goes_by_rules}
    assert otherwise == {"written", "conversation", "unknown"}
