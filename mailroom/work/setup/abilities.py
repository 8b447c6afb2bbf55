"""What an account can do, found out by trying it once, before anything is configured."""

from mailroom.engine.loop import Loop
from mailroom.errors import (
    CredentialsRefused,
    Forbidden,
    LastingTrouble,
    MailroomError,
    ProtocolError,
    TransientError,
)
from mailroom.rules.account.questions import Abilities, Taken
from mailroom.rules.account.setup import Item, ItemKind, ItemStatus
from mailroom.rules.configuration.config import Config
from mailroom.work.account.clients import Clients
from mailroom.work.setup.check import no_push
from mailroom.work.setup.routing import NoSieve, Routing
from mailroom.work.setup.setup import Setup

# Errors that mean that the server has no contacts for us.
_NO_CONTACTS = (LastingTrouble, CredentialsRefused, Forbidden, ProtocolError)


async def abilities(loop: Loop, config: Config, clients: Clients) -> Abilities:
    """Log in and look at everything that Mailroom uses; write nothing.

    Raises CredentialsRefused, TransientError, and LastingTrouble if Mailroom cannot work with the
    account.
    """
    session = await clients.mail.session()
    contacts, trouble = await _contacts(clients)
    rules, own_script = await _rules(loop, config, clients)
    return Abilities(
        mail=f"account {session.username or session.account_id}",
        contacts=contacts,
        no_contacts=str(trouble or ""),
        is_contacts_refused=isinstance(trouble, CredentialsRefused),
        no_push=await no_push(loop, clients),
        no_rules=rules,
        own_script=own_script,
    )


async def taken(loop: Loop, config: Config, clients: Clients) -> tuple[Taken, ...]:
    """The user's own mailboxes that have the name of Screener or a destination, and hold mail or
    cannot be used. Raises LastingTrouble if anything else is in the way."""
    items = await Setup(loop, config, clients).plan()
    found = [item for item in items if _is_in_use(item)]
    movable = {config.triage.screener_mailbox, *config.triage.destinations}
    others = [item for item in found if item.name not in movable and item.is_fault]
    if others:
        raise LastingTrouble(
            "; ".join(f"the {item.kind} {item.name} {item.reason}" for item in others)
        )
    return tuple(
        Taken(item.name, item.reason, is_usable=not item.is_fault)
        for item in found
        if item.name in movable and item.kind is ItemKind.MAILBOX
    )


def _is_in_use(item: Item) -> bool:
    return item.status is ItemStatus.CLASH or (
        item.status is ItemStatus.EXISTS and bool(item.reason)
    )


async def _contacts(clients: Clients) -> tuple[str, MailroomError | None]:
    try:
        return await clients.contacts.describe(), None
    except TransientError:
        raise
    except _NO_CONTACTS as error:
        return "", error


async def _rules(loop: Loop, config: Config, clients: Clients) -> tuple[str, str | None]:
    """Why the server takes no rules (empty if it does), and the user's active script."""
    try:
        return "", await Routing(loop, config, clients).offer()
    except NoSieve as error:
        return str(error), None
    except TransientError:
        raise
    except MailroomError as error:
        return f"rules could not be tried ({error})", None
