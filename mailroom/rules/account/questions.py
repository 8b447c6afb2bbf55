"""The questions of ``mailroom init``, and what is known when they are asked.

Every question says why it is asked, has a default where possible, and has an option that answers it
in advance. Their order is in :mod:`mailroom.rules.account.interview`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from shlex import quote
from typing import Literal

from mailroom.rules.account.autodiscovery import (
    Candidate,
    Seen,
    domain_of,
    needs_confirmation,
    short,
)
from mailroom.rules.configuration.categories import DEFAULT_CATEGORIES
from mailroom.rules.configuration.config import Config
from mailroom.rules.configuration.servers import FASTMAIL_CARDDAV, FASTMAIL_SESSION, session_url

Login = Literal["token", "password"]
FEWER = ("Imbox", "Feed", "Paper Trail", "Jail")


class Topic(StrEnum):
    """What a question is about: the name of its option, and of its key in a file of answers."""

    ADDRESS = "address"
    SERVER = "server"
    TRUST = "trust"
    CA_FILE = "ca-file"
    LOGIN = "login"
    USERNAME = "username"
    TOKEN = "token"
    PASSWORD = "password"
    CONTACTS_SERVER = "contacts-server"
    CONTACTS_USERNAME = "contacts-username"
    CONTACTS_PASSWORD = "contacts-password"
    CATEGORIES = "categories"
    MAILBOX = "mailbox"
    SCREENING = "screening"
    GO = "go"


# The answer of a user who has no such file and will name another server.
NO_CA_FILE = "none"
SECRETS = (Topic.TOKEN, Topic.PASSWORD, Topic.CONTACTS_PASSWORD)
_OPTIONS = {
    Topic.TRUST: "--server URL",  # naming a server means trusting it
    Topic.CA_FILE: "--ca-file FILE",
    Topic.LOGIN: "--token-file FILE or --password-file FILE",
    **{topic: f"--{topic}-file FILE" for topic in SECRETS},
    Topic.MAILBOX: "--mailbox NAME=OTHER",
}


@dataclass(frozen=True, slots=True)
class Question:
    """``why`` are the lines shown before it. Without a ``default`` an answer is needed; with
    ``choices`` it is one of them. ``subject`` is the mailbox that a MAILBOX question is about.
    """

    topic: Topic
    prompt: str
    why: tuple[str, ...]
    default: str | None = None
    choices: tuple[str, ...] = ()
    subject: str = ""

    @property
    def is_secret(self) -> bool:
        return self.topic in SECRETS

    @property
    def needs_a_person(self) -> bool:
        """Whether only the user may answer it: the default needs the user's consent."""
        return self.topic in (Topic.TRUST, Topic.CA_FILE, Topic.MAILBOX)

    @property
    def option(self) -> str:
        """The option that answers it in advance."""
        option = _OPTIONS.get(self.topic, f"--{self.topic}")
        return option.replace("NAME", self.subject) if self.subject else option


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an account can do, as a log-in has shown. ``contacts`` is the way to them, empty if
    there is none; ``no_contacts`` says why. ``no_push`` and ``no_rules`` say why there is no push
    or are no rules; ``own_script`` is the user's active Sieve script."""

    mail: str
    contacts: str
    no_contacts: str = ""
    is_contacts_refused: bool = False
    no_push: str = ""
    no_rules: str = ""
    own_script: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A mailbox of the user's whose name Mailroom wants. ``is_usable``: Mailroom may share it,
    because its mail stays."""

    name: str
    reason: str
    is_usable: bool


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that is known about the account so far. ``found`` is what discovery found; if that is
    None, ``none_found`` says why. ``server`` is what the user named or accepted, ``seen`` what
    answers there. ``is_untrusted``: its certificate is signed neither by a trusted authority nor by
    one in ``ca_file``. ``is_configured``: known from an existing configuration, which stays as it
    is."""

    is_configured: bool = False
    address_guess: str | None = None
    address: str | None = None
    is_discovered: bool = False
    found: tuple[Candidate, Seen] | None = None
    none_found: str = ""
    server: str | None = None
    seen: Seen | None = None
    is_trusted: bool = False
    is_untrusted: bool = False
    ca_file: str | None = None
    login: Login | None = None
    username: str | None = None
    former_username: str | None = None
    secret: str | None = field(default=None, repr=False)
    refusals: int = 0
    abilities: Abilities | None = None
    contacts_server: str | None = None
    contacts_username: str | None = None
    contacts_secret: str | None = field(default=None, repr=False)
    categories: tuple[str, ...] | None = None
    taken: tuple[Taken, ...] | None = None
    mailboxes: Mapping[str, str] = field(default_factory=dict)
    screening: str | None = None

    @property
    def domain(self) -> str:
        return domain_of(self.address or "")

    def mailbox(self, name: str) -> str:
        """The mailbox to use instead of the one with this default name."""
        while (other := self.mailboxes.get(name, name)) != name:
            name = other
        return name


def which_address(known: Knowledge) -> Question:
    return Question(
        Topic.ADDRESS,
        "Mail address",
        (
            "Mailroom looks after one mail account. The address tells where its server is, and "
            "which mail is your own.",
        ),
        known.address_guess,
    )


def which_server(known: Knowledge) -> Question:
    if known.found is None:
        why = (f"Discovery failed: {known.none_found}.",) if known.none_found else ()
        hint = "Where is your JMAP server? Give its host or URL; whoever runs your mail knows it."
        return Question(Topic.SERVER, "Mail server", (*why, hint))
    candidate, seen = known.found
    if needs_confirmation(seen.url, known.domain, None):
        return trust(known, seen.url, candidate.source)
    return Question(
        Topic.SERVER,
        "Mail server",
        (f"It is {candidate.source}. Your secret will go there.",),
        short(seen.url),
    )


def trust(known: Knowledge, url: str, source: str) -> Question:
    return Question(
        Topic.TRUST,
        "Is that your mail server",
        (
            f"The server is {short(url)} ({source}).",
            f"It is outside {known.domain}, and no signature vouches for it. Your secret would go "
            "there: if you do not know the name, ask whoever runs your mail.",
        ),
        "no",
        ("yes", "no"),
    )


def which_ca_file(known: Knowledge) -> Question:
    where = short(session_url(known.server)) if known.server else "the server"
    also = f", nor by one in {known.ca_file}" if known.ca_file else ""
    return Question(
        Topic.CA_FILE,
        "File of the authority",
        (
            f"The certificate of {where} is not signed by an authority that this machine "
            f"trusts{also}.",
            "If you have your own authority (or the server signs for itself), where is the "
            f"certificate (PEM)? Whoever runs the server has it. {NO_CA_FILE}: another server.",
        ),
        NO_CA_FILE,
    )


def which_login() -> Question:
    return Question(
        Topic.LOGIN,
        "Log in with",
        ("The server does not say which it wants: an API token, or user name and password.",),
        "password",
        ("password", "token"),
    )


def username(known: Knowledge) -> Question:
    """Servers know users by their address or by the part before the @."""
    assert known.address is not None
    local_part = known.address.rpartition("@")[0]
    default = local_part if known.former_username == known.address else known.address
    why = f"The name that the server knows: the whole address, or only {local_part}."
    return Question(Topic.USERNAME, "User name", (why,), default)


def secret(known: Knowledge, login: Login | None) -> Question:
    assert known.seen is not None
    stored = "It is tried first, then stored where only the service can read it. It is not shown."
    if login == "password":
        why = "The password for mail and contacts; an app password if the server has them."
        return Question(Topic.PASSWORD, "Password", (why, stored))
    if known.seen.url == FASTMAIL_SESSION:
        why = "From Settings, Privacy & Security, API tokens: mail and contacts, read and write."
    else:
        why = "It must allow reading and writing of mail and contacts."
    return Question(Topic.TOKEN, "API token", (why, stored))


def which_contacts_server(known: Knowledge, no_contacts: str) -> Question:
    is_fastmail = known.seen is not None and known.seen.url == FASTMAIL_SESSION
    return Question(
        Topic.CONTACTS_SERVER,
        "CardDAV server",
        (
            f"{no_contacts}.",
            "Mailroom keeps what you decide in contact groups. Where are your contacts?",
        ),
        FASTMAIL_CARDDAV.removeprefix("https://") if is_fastmail else None,
    )


def contacts_username(known: Knowledge) -> Question:
    why = "The name that this server knows you by."
    default = known.username or known.address
    return Question(Topic.CONTACTS_USERNAME, "User name there", (why,), default)


def contacts_password() -> Question:
    why = "For contacts only (at Fastmail, an app password). It is not shown."
    return Question(Topic.CONTACTS_PASSWORD, "Password there", (why,))


def which_categories() -> Question:
    every = ", ".join(each.name for each in DEFAULT_CATEGORIES)
    return Question(
        Topic.CATEGORIES,
        "Categories",
        (
            "What senders can become. Each has a label, a contact group and a mailbox.",
            f"all: {every}",
            f"fewer: {', '.join(FEWER)}",
        ),
        "all",
        ("all", "fewer"),
    )


def mailbox(taken: Taken) -> Question:
    why: tuple[str, ...]
    if taken.is_usable:
        why = (
            f"You have a mailbox {taken.name} already: it {taken.reason}.",
            "Mailroom would file more mail into it. Press Enter to accept that, or give another "
            "name for a mailbox of its own.",
        )
        default = taken.name
    else:
        why = (f"{taken.name} {taken.reason}.", "Mailroom needs a mailbox that it may file into.")
        default = f"Mailroom {taken.name.rpartition('/')[2]}"
    return Question(Topic.MAILBOX, f"Mailbox for {taken.name}", why, default, subject=taken.name)


def screening(known: Knowledge) -> Question:
    abilities = known.abilities
    assert abilities is not None
    return Question(
        Topic.SCREENING,
        "New mail is sorted by",
        tuple(_choices(abilities)),
        "mailroom" if abilities.no_rules or abilities.own_script else "server",
        ("server", "mailroom", "off"),
    )


def _choices(abilities: Abilities) -> Iterator[str]:
    """Who could do it, and why the default is what it is."""
    yield "Mail from strangers waits in Screener; mail from people you know comes to Inbox."
    if abilities.no_rules:
        yield f"server: by rules that you make by hand, since {abilities.no_rules}."
    elif abilities.own_script:
        yield (
            f"server: by rules, once your own script {abilities.own_script!r} includes Mailroom's."
        )
    else:
        yield "server: by rules that Mailroom writes; no phone rings for a stranger."
    yield "mailroom: by Mailroom, without rules; a phone may ring before the mail is moved."
    yield "off: nobody is screened."


def refusal(known: Knowledge) -> str:
    """What the user is told when the server refuses user and secret."""
    where = short(known.seen.url) if known.seen else "the server"
    if known.username:
        return (
            f"{where} does not let {known.username} in with this password: is the user name right, "
            "and does the account want an app password?"
        )
    return f"{where} does not accept this token: is it complete, and has it not been revoked?"


def go_on() -> Question:
    why = "You can interrupt it anywhere and run it again."
    return Question(Topic.GO, "Go on", (why,), "yes", ("yes", "no"))


WHOLE = "Everything is set up and running: nothing to do."
LINGER = (
    "The service ends when you log out. To keep it running, and to start it with the machine:",
    "loginctl enable-linger (which may ask for an administrator's password)",
)


def without_sudo(user: str) -> Iterator[str]:
    """How a user who called it with sudo can do without."""
    yield "To do without sudo from your next log-in on:"
    yield f"sudo usermod --append --groups mailroom-control,mailroom-status,adm {quote(user)}"


def afterwards(config: Config) -> Iterator[str]:
    """What the user does next."""
    category = next((each for each in config.triage.categories if not each.add_to_inbox), None)
    if category:
        screener = config.triage.screener_mailbox
        yield ""
        yield f"Now decide about the first sender: put {category.label} on a mail in {screener},"
        yield f"or move it to {category.destination_mailbox}; in any mail app."
    yield f"To see it happen: {config.command('status --watch')}"
