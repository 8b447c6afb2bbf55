"""Contacts by JMAP or by CardDAV: chosen at the first use, when the session is known.

``auto`` keeps CardDAV where it is in use: if it has a secret of its own, or if a managed group is a
vCard 3, which a patch by JMAP would rewrite as vCard 4.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from mailroom.errors import (
    CredentialsRefused,
    Forbidden,
    LastingTrouble,
    NoAddressBooks,
    ProtocolError,
)
from mailroom.rules.configuration.config import ContactsWay
from mailroom.rules.contacts.record import Amendment, Record
from mailroom.rules.contacts.roster import Acquaintance, Found, Group, Plan
from mailroom.rules.screening.wide import Decisions
from mailroom.wire.jmap import CONTACTS, MethodError
from mailroom.wire.jmap_session import Session
from mailroom.wire.urls import origin
from mailroom.work.contacts.contacts import NAME_ANOTHER, Contacts, Failures, Intention, Meanwhile

if TYPE_CHECKING:
    from mailroom.work.contacts.carddav import CardDavContacts

# Refusals that asking again does not change.
_REFUSALS = (MethodError, Forbidden, CredentialsRefused, ProtocolError)
_ADVICE = "give the credentials access to contacts, or provide the credential carddav-password"


class ChosenContacts:
    """One of the two. ``by_jmap`` makes the one, when it is first needed; ``carddav`` is None
    without a login for it; ``has_own_secret`` says whether its password is for CardDAV alone."""

    def __init__(
        self,
        way: ContactsWay,
        session: Callable[[], Coroutine[Any, Any, Session]],
        by_jmap: Callable[[], Contacts],
        carddav: "CardDavContacts | None",
        *,
        has_own_secret: bool,
    ) -> None:
        self._by = way.by
        self._session = session
        self._by_jmap = by_jmap
        self._jmap: Contacts | None = None
        self._carddav = carddav
        self._has_own_secret = has_own_secret
        self._chosen: Contacts | None = None
        self._reason = ""

    async def refresh(self) -> None:
        was_known, contacts = self._chosen is not None, await self._contacts()
        if was_known or contacts is not self._jmap:  # choosing JMAP has just refreshed it
            await contacts.refresh()

    def pushed(self, state: str) -> None:
        if self._chosen:
            self._chosen.pushed(state)

    def missed(self) -> None:
        if self._chosen:
            self._chosen.missed()

    @property
    def has_news(self) -> bool:
        return self._chosen is not None and self._chosen.has_news

    async def groups(self) -> tuple[Group, ...]:
        return await (await self._contacts()).groups()

    def addresses_of(self, address: str) -> tuple[str, ...]:
        return self._chosen.addresses_of(address) if self._chosen else ()

    @property
    def is_indexed(self) -> bool:
        return self._chosen is not None and self._chosen.is_indexed

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        return await (await self._contacts()).acquainted(addresses)

    @property
    def decisions(self) -> Decisions:
        return self._chosen.decisions if self._chosen else Decisions()

    @property
    def keeps_decisions(self) -> bool:
        return self._chosen is not None and self._chosen.keeps_decisions

    async def decide(self, key: str, category: str | None, *, is_list: bool) -> None:
        await (await self._contacts()).decide(key, category, is_list=is_list)

    async def forget_decisions(self) -> None:
        await (await self._contacts()).forget_decisions()

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        return await (await self._contacts()).find(addresses, intend)

    async def ours(self) -> tuple[Found, ...]:
        return await (await self._contacts()).ours()

    async def obstacles(self, plan: Plan) -> Failures:
        return await (await self._contacts()).obstacles(plan)

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        return await (await self._contacts()).apply(plan, meanwhile)

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        return await (await self._contacts()).create_group(name, members, record)

    async def remove_group(self, name: str) -> bool:
        return await (await self._contacts()).remove_group(name)

    async def record(self) -> Record | None:
        return await (await self._contacts()).record()

    async def amend_record(self, amend: Amendment) -> None:
        await (await self._contacts()).amend_record(amend)

    async def describe(self) -> str:
        """Which way was chosen, why, and what else is possible."""
        contacts = await self._contacts()
        return f"{await contacts.describe()}; {self._reason}"

    async def _contacts(self) -> Contacts:
        if self._chosen is None:
            self._chosen, self._reason = await self._choose()
        return self._chosen

    async def _choose(self) -> tuple[Contacts, str]:
        """The way to take, and why. Raises LastingTrouble if there is none."""
        if self._by == "carddav" and self._carddav:
            return self._carddav, "as contacts.by says"
        if self._by == "auto" and self._carddav and self._has_own_secret:
            is_offered = CONTACTS in (await self._session()).account_capabilities
            other = " (contacts.by: jmap would need no password)" if is_offered else ""
            return self._carddav, f"because there is a password for it{other}"
        if trouble := await self._obstacle():
            if self._by == "auto" and self._carddav:
                return await self._carddav_if_there(self._carddav, trouble)
            raise LastingTrouble(f"the contacts cannot be reached: {trouble}: {_ADVICE}")
        if self._by == "auto" and await self._has_apple_groups():
            assert self._carddav is not None
            return self._carddav, (
                "because there are contact groups in vCard 3, which JMAP would rewrite as vCard 4 "
                "(contacts.by: jmap allows that)"
            )
        if self._by == "jmap":
            return self._jmap_contacts(), "as contacts.by says"
        other = " (contacts.by: carddav is possible)" if self._carddav else ""
        return self._jmap_contacts(), f"because the server offers it{other}"

    async def _carddav_if_there(
        self, carddav: "CardDavContacts", trouble: str
    ) -> tuple[Contacts, str]:
        """CardDAV, and why. Raises LastingTrouble if the server has contacts neither way, like
        Apache James."""
        try:
            await carddav.cards.url()
        except NoAddressBooks as error:
            session = await self._session()
            where, is_offered = origin(session.url), CONTACTS in session.account_capabilities
            by_jmap = trouble if is_offered else f"none by JMAP at {where}"
            there = "there" if error.where == where else f"at {error.where}"
            raise LastingTrouble(
                f"no contacts: {by_jmap}, no CardDAV {there} ({error.said}): {NAME_ANOTHER}"
            ) from error
        return carddav, f"because {trouble}"

    async def _obstacle(self) -> str | None:
        """Why contacts by JMAP do not work, found out by trying; None if they do."""
        session = await self._session()
        if CONTACTS not in session.account_capabilities:
            return f"the session at {session.url} offers none by JMAP for this account"
        try:
            await self._jmap_contacts().refresh()
        except _REFUSALS as error:
            return f"the server refuses contacts by JMAP ({error})"
        return None

    def _jmap_contacts(self) -> Contacts:
        self._jmap = self._jmap or self._by_jmap()
        return self._jmap

    async def _has_apple_groups(self) -> bool:
        try:
            return self._carddav is not None and await self._carddav.has_apple_groups()
        except (*_REFUSALS, LastingTrouble):
            return False  # CardDAV does not work here
