"""What a log-in shows of an account, before anything is configured."""

from dataclasses import replace

import pytest

from mailroom.errors import CredentialsRefused, TransientError
from mailroom.rules.account.questions import Abilities
from mailroom.work.setup.abilities import abilities
from tests.command import Site
from tests.sandbox import CYRUS_3_6, Fault, Response, Sandbox
from tests.sandbox.sieve import SieveSandbox
from tests.test_sieve import own_script

ABLE = Abilities(
    "account alice", "http://127.0.0.1/dav/addressbooks/user/alice/Default/, 0 cards; because "
    "there is a password for it",
)  # fmt: skip


def able(site: Site) -> Abilities:
    context = site.context()
    return context.run(abilities(context.loop, context.config, context.clients))


def test_an_account_may_be_able_to_do_everything() -> None:
    site = Site(sandbox=SieveSandbox)
    assert able(site) == ABLE
    own_script(site, "keep;")
    assert able(site) == ABLE
    own_script(site, "keep;", is_active=True)
    assert able(site) == replace(ABLE, own_script="mine")


def test_what_the_server_lacks_is_told_with_the_reason() -> None:
    told = able(Site(CYRUS_3_6, sandbox=Sandbox))
    assert told == replace(
        ABLE,
        no_push="not offered here (204)",
        no_rules="the server offers no Sieve scripts by JMAP",
    )


@pytest.mark.parametrize(("status", "is_refused"), [(401, True), (403, False), (404, False)])
def test_an_account_without_contacts_says_why(status: int, is_refused: bool) -> None:
    site = Site(sandbox=SieveSandbox)
    site.sandbox.faults.add(Fault(method="PROPFIND", answer=Response(status)))
    told = able(site)
    assert str(status) in told.no_contacts
    assert told == replace(
        ABLE, contacts="", no_contacts=told.no_contacts, is_contacts_refused=is_refused
    )


def test_trouble_that_may_pass_is_no_lack() -> None:
    site = Site(sandbox=SieveSandbox)
    site.sandbox.faults.add(Fault(method="PROPFIND", answer=Response(503)))
    with pytest.raises(TransientError):
        able(site)


def test_a_refused_log_in_is_told_at_once() -> None:
    site = Site(sandbox=SieveSandbox)
    site.sandbox.faults.add(Fault(path="/jmap", answer=Response(401)))
    with pytest.raises(CredentialsRefused):
        able(site)
