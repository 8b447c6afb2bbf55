"""Which way contacts go, and what is said of it."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from mailroom.engine.credentials import Basic, Bearer, Logins
from mailroom.errors import LastingTrouble, MailroomError, NoAddressBooks
from mailroom.rules.status.health import Totals
from mailroom.rules.status.statusline import status_line
from mailroom.wire.urls import origin
from mailroom.work.account.clients import build_clients
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, FASTMAIL, JAMES, Fault, Profile, Response
from tests.world import World

T = TypeVar("T")

PASSWORD = Basic("alice", "secret")
OWN, SHARED = "carddav-password", "jmap-password"


def described(
    profile: Profile,
    by: str = "auto",
    *,
    secret: str | None = SHARED,
    fault: Fault | None = None,
    has_groups: bool = True,
) -> tuple[World, str]:
    """What ``check`` says of contacts, with this secret for CardDAV."""
    world = World(profile, {"contacts": {"by": by}})
    if not has_groups:
        for href in world.sandbox.cards():
            world.sandbox.delete_card(href)
    if fault:
        world.sandbox.faults.add(fault)
    takes_token = profile.jmap_authentication == "Bearer"
    jmap = Bearer("alice-token") if takes_token else PASSWORD
    logins = Logins(jmap, PASSWORD if secret else None, secret or OWN)
    clients = build_clients(world.loop.root, world.new_http(), world.config, logins, Totals())
    return world, finished(world, clients.contacts.describe())


def finished(world: World, coroutine: Coroutine[Any, Any, T]) -> T:
    task = world.loop.spawn(coroutine, "check")
    world.run_until(lambda: task.done)
    return task.result()


def went_by_dav(world: World) -> bool:
    return any(entry.path.startswith("/dav") for entry in world.requests_since(0))


def test_a_token_alone_goes_by_jmap() -> None:
    world, words = described(FASTMAIL, secret=None)
    assert words.startswith("by JMAP at ")
    assert words.endswith(", 9 cards; because the server offers it")
    assert not went_by_dav(world)


def test_whoever_has_a_secret_for_carddav_stays_there() -> None:
    _, words = described(FASTMAIL, secret=OWN)
    assert words.endswith(
        "; because there is a password for it (contacts.by: jmap would need no password)"
    )
    _, words = described(CYRUS_3_10, secret=OWN)
    assert words.endswith("; because there is a password for it")


def test_groups_in_vcard_3_stay_with_carddav() -> None:
    _, words = described(CYRUS_3_13)
    assert "because there are contact groups in vCard 3" in words
    _, words = described(CYRUS_3_13, has_groups=False)
    assert words.endswith("; because the server offers it (contacts.by: carddav is possible)")


def test_where_carddav_cannot_tell_of_groups_contacts_go_by_jmap() -> None:
    _, words = described(CYRUS_3_13, fault=Fault(path="/dav", answer=Response(403)))
    assert "because the server offers it" in words


def test_groups_that_were_made_by_jmap_stay_with_jmap() -> None:
    """On Cyrus, CardDAV shows them as vCard 3 all the same."""
    world = World(CYRUS_3_13, {"contacts": {"by": "auto"}})
    for href in world.sandbox.cards():
        world.sandbox.delete_card(href)
    logins = Logins(PASSWORD, PASSWORD, SHARED)
    for is_new in (True, False):
        clients = build_clients(world.loop.root, world.new_http(), world.config, logins, Totals())
        assert finished(world, clients.contacts.create_group("Feed")) is is_new
        assert "by JMAP" in finished(world, clients.contacts.describe())


@pytest.mark.parametrize("by", ["jmap", "carddav"])
def test_what_is_configured_is_done(by: str) -> None:
    world, words = described(CYRUS_3_13, by, secret=OWN)
    assert words.endswith("; as contacts.by says")
    assert went_by_dav(world) is (by == "carddav")


def test_where_jmap_offers_none_the_password_is_used() -> None:
    world, words = described(CYRUS_3_10)
    assert words.endswith("offers none by JMAP for this account")
    assert went_by_dav(world)


def refusal(status: int, **headers: Any) -> Fault:
    """What a server says to a token that may not use contacts."""
    kind = {"Content-Type": "text/plain", **headers}
    answer = Response(status, kind, b"capability is not for this token")
    return Fault(call="AddressBook/get", answer=answer)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_token_that_may_not_is_found_out_by_trying(status: int) -> None:
    _, words = described(FASTMAIL, fault=refusal(status))
    assert "the server refuses contacts by JMAP" in words
    with pytest.raises(LastingTrouble, match="the contacts cannot be reached: the server refuses"):
        described(FASTMAIL, secret=None, fault=refusal(status))


def test_without_any_way_one_line_says_so() -> None:
    with pytest.raises(LastingTrouble) as caught:
        described(CYRUS_3_10, secret=None)
    assert "\n" not in str(caught.value)
    assert "provide the credential carddav-password" in str(caught.value)
    with pytest.raises(LastingTrouble):
        described(CYRUS_3_10, "jmap")


def test_an_outage_decides_nothing() -> None:
    broken = Fault(call="AddressBook/get", breaks="before", times=1)
    with pytest.raises(MailroomError, match="the connection broke"):
        described(replace(FASTMAIL, name="fastmail"), secret=None, fault=broken)


@pytest.mark.parametrize(("root", "said"), [(404, "404"), (405, "404 and 405")])
def test_a_server_without_contacts_is_told_in_one_line(root: int, said: str) -> None:
    """As James has it: neither RFC 9610 nor CardDAV."""
    absent = Fault(path="/.well-known/carddav", answer=Response(404))
    world = World(JAMES)
    world.sandbox.faults.add(absent)
    world.sandbox.faults.add(Fault(path="/", method="PROPFIND", answer=Response(root)))
    logins = Logins(PASSWORD, PASSWORD, SHARED)
    clients = build_clients(world.loop.root, world.new_http(), world.config, logins, Totals())
    with pytest.raises(LastingTrouble) as caught:
        finished(world, clients.contacts.describe())
    here = origin(world.config.jmap.url)
    assert str(caught.value) == (
        f"no contacts: none by JMAP at {here}, no CardDAV there ({said}): "
        "name the server that has your contacts as carddav.url"
    )


def test_a_server_without_contacts_is_told_by_the_service_too() -> None:
    world = World(JAMES)
    world.sandbox.faults.add(Fault(method="PROPFIND", answer=Response(404)))
    world.start()
    world.run_for(5.0)
    trouble = world.account.snapshot().trouble
    assert trouble is not None
    assert trouble.is_lasting
    assert "name the server that has your contacts as carddav.url" in status_line(
        world.account.snapshot()
    )


def test_no_carddav_where_it_is_configured_is_told() -> None:
    absent = Fault(method="PROPFIND", answer=Response(404))
    with pytest.raises(NoAddressBooks, match=r"no CardDAV at .* \(404\): name the server"):
        described(CYRUS_3_10, "carddav", fault=absent)
