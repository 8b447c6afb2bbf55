"""The clients of one account: where they log in, and with what.

Each way to the contacts is imported only where it is gone: the other's modules are half a MiB, and
XML is one more.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from mailroom.engine.credentials import Basic, Bearer, Logins
from mailroom.engine.loop import Loop, Owner
from mailroom.engine.transfer import Http
from mailroom.rules.configuration.config import Config
from mailroom.rules.status.health import Totals
from mailroom.work.contacts.choice import ChosenContacts
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.mail import MailClient
from mailroom.work.session.gate import Doorway, Servers
from mailroom.work.session.web import Web

if TYPE_CHECKING:
    from mailroom.work.contacts.carddav import CardDavContacts
    from mailroom.work.contacts.index import IndexKeeper


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients for mail and contacts; ``web`` sends the requests of mail and push. ``index`` is
    the address book's, which the service reads at its start; None without CardDAV."""

    web: Web
    mail: MailClient
    contacts: Contacts
    index: "IndexKeeper | None"


def build_clients(
    owner: Owner,
    http: Http,
    config: Config,
    logins: Logins,
    totals: Totals,
    servers: Servers | None = None,
) -> Clients:
    """Build the clients; nothing is sent yet. Their tasks belong to ``owner``."""
    loop = owner.loop

    async def jmap_login() -> Basic | Bearer:
        return logins.jmap

    async def dav_login() -> Basic:
        assert logins.carddav is not None
        username = logins.carddav.username or (await mail.session()).username
        return replace(logins.carddav, username=username)

    is_token = isinstance(logins.jmap, Bearer)
    secret = "the credential jmap-token" if is_token else _secret("jmap-password")
    doorway = Doorway(loop, servers or Servers())
    web = Web(loop, http, jmap_login, secret, totals, doorway)
    mark = config.screening.spam_mark
    mail = MailClient(owner, web, config.jmap.url, [mark[0]] if mark else [])
    if logins.is_shared:
        web.confine()
    carddav = None
    if logins.carddav is not None:
        dav_secret = _secret(logins.carddav_secret)
        dav_web = Web(loop, http, dav_login, dav_secret, totals, doorway, is_carddav=True)
        carddav = _by_carddav(loop, config, dav_web, mail)
    contacts = ChosenContacts(
        config.contacts,
        mail.session,
        partial(_by_jmap, loop, config, mail),
        carddav,
        has_own_secret=logins.carddav_secret == "carddav-password",
    )
    return Clients(web, mail, contacts, carddav.cards.index if carddav else None)


def _by_jmap(loop: Loop, config: Config, mail: MailClient) -> Contacts:
    from mailroom.work.contacts.cardbook import CardBook  # noqa: PLC0415 - see the module's docstring
    from mailroom.work.contacts.jmap_contacts import JmapContacts  # noqa: PLC0415

    return JmapContacts(loop, config, CardBook(loop, mail.session, mail.call))


def _by_carddav(loop: Loop, config: Config, web: Web, mail: MailClient) -> "CardDavContacts":
    from mailroom.work.contacts.carddav import CardDavContacts  # noqa: PLC0415 - as above
    from mailroom.work.contacts.cards import CardDavClient  # noqa: PLC0415

    cards = CardDavClient(loop, web, config.carddav.url, config.carddav.addressbook)
    return CardDavContacts(loop, config, cards, mail.session)


def _secret(name: str) -> str:
    return f"the credential {name} and the user name"
