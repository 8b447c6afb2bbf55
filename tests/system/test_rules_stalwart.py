"""The tables of rules on a real Stalwart, both ways of contacts. Run on 0.15.5.

``STALWART=PROGRAM`` starts the one at that path; without it nothing here runs. Real time passes.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.contract.stalwart import StalwartProgram
from tests.rules.table import Case, Trial, cases
from tests.sandbox import STALWART
from tests.servers import SERVER
from tests.system.cyrus import CyrusError
from tests.system.stalwart import StalwartUser
from tests.system.test_rules import CyrusAccount, CyrusWorld

pytestmark = [
    pytest.mark.system,
    pytest.mark.every,
    pytest.mark.timeout(300),
    pytest.mark.skipif("STALWART" not in os.environ, reason="STALWART names no server"),
]

# It tells at once, then once a second; the program that was tried was built without optimising.
_SETTLE_SECONDS = 3.0
_ROLES = ("Archive", "Trash", "Junk", "Sent", "Drafts")


class StalwartAccount(CyrusAccount):
    """What the tables ask of a sandbox, asked of Stalwart."""

    profile = STALWART

    def standard_account(self, names: Sequence[str], groups: Sequence[str]) -> None:
        """Mailboxes with a role are there, under names of the server's own."""
        boxes = self._user.call("Mailbox/get", ids=None)["list"]
        there = {box["role"]: box["id"] for box in boxes if box["role"]}
        update = {there[role.lower()]: {"name": role} for role in _ROLES if role.lower() in there}
        create = {
            role: {"name": role, "role": role.lower()}
            for role in _ROLES
            if role.lower() not in there
        }
        self._user.call("Mailbox/set", create=create, update=update)
        self._user.make_mailboxes(*names)
        for name in groups:
            uid = f"group-{name.lower().replace(' ', '-')}"
            lines = ["BEGIN:VCARD", "VERSION:4.0", f"UID:{uid}", f"FN:{name}", "KIND:group"]
            self._user.put_card(f"{uid}.vcf", "\r\n".join([*lines, "END:VCARD", ""]))

    def deliver(
        self, sender: str | None, subject: str, places: Sequence[str], received_at: float
    ) -> str:
        """By way of Inbox: 0.15.5 tells nobody of an import, but of a move (seen)."""
        mail_id = super().deliver(sender, subject, ["Inbox"], received_at)
        if places != ["Inbox"]:
            self.move(mail_id, *places)
        return mail_id

    def put_card(self, text: str, name: str) -> None:
        try:
            self._user.put_card(name, text)
        except CyrusError as error:
            pytest.skip(f"Stalwart does not take such a card: {error}")


class StalwartWorld(CyrusWorld):
    """One account on Stalwart, its service in this process, in real time."""

    account_of = StalwartAccount
    settle_seconds = _SETTLE_SECONDS


@pytest.fixture(scope="module")
def stalwart() -> Iterator[StalwartProgram]:
    with contextlib.closing(StalwartProgram(Path(os.environ["STALWART"]))) as program:
        yield program


@pytest.mark.parametrize(
    ("case", "way"),
    [
        pytest.param(case, way, id=f"{case.name} by {way}")
        for case in cases()
        for way in ("carddav", "jmap")
    ],
)
def test_rule(
    case: Case,
    way: str,
    stalwart: StalwartProgram,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(SERVER, stalwart.version)
    if not case.concerns("stalwart"):
        pytest.skip("it speaks of another server")
    user = StalwartUser(stalwart, way[0] + re.sub(r"\W", "", case.name)[-30:].lower())
    configuration = {"contacts": {"by": way}, **case.section("configuration")}
    world = StalwartWorld(user, stalwart.url, configuration)
    with contextlib.closing(world):
        Trial(case, world, _SETTLE_SECONDS).run()
