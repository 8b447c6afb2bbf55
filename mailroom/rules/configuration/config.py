"""The configuration as values: one class per section of the file, every default in one place.

Nothing here reads YAML: the running service keeps only these values, and the reader (``text``) with
its libraries runs in a child process that has ended by then.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mailroom.rules.configuration.categories import Triage, category_from
from mailroom.rules.configuration.servers import FASTMAIL_SESSION, carddav_url, session_url
from mailroom.rules.names import with_normal_names
from mailroom.wire.urls import without_query

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Screener = Literal["server", "mailroom", "off"]

#: The placeholder for the account's name in the defaults of many accounts.
ACCOUNT = "{account}"

# What makes a sender known without a decision.
EVIDENCE = ("contacts", "written", "conversations")

_LISTS = (
    ("triage", "categories"),
    ("triage", "own_addresses"),
    ("screening", "known"),
    ("screening", "providers"),
)


@dataclass(frozen=True, slots=True)
class Jmap:
    """Section ``jmap``. ``url`` is the session resource; ``username`` is for password log-in.
    ``authorize_as``: on whose behalf to log in, if that is somebody else."""

    url: str = FASTMAIL_SESSION
    username: str | None = None
    authorize_as: str | None = None


@dataclass(frozen=True, slots=True)
class Carddav:
    """Section ``carddav``. ``url`` is where discovery starts; None: the account's own choice."""

    url: str = carddav_url(None, FASTMAIL_SESSION)
    username: str | None = None
    addressbook: str | None = None


@dataclass(frozen=True, slots=True)
class ContactsWay:
    """Section ``contacts``. ``by`` is the way to them; ``auto``: whichever the server has."""

    by: Literal["auto", "jmap", "carddav"] = "auto"


@dataclass(frozen=True, slots=True)
class Tls:
    """Section ``tls``: who is trusted. ``ca_file`` is a PEM file of authorities; without
    ``system_authorities`` they are the only ones."""

    ca_file: str | None = None
    system_authorities: bool = True


@dataclass(frozen=True, slots=True)
class Polling:
    """Section ``polling``: spans in seconds; 0 <= quiet <= debounce <= 3."""

    poll_interval: float = 60
    debounce_seconds: float = 3
    quiet_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class Marks:
    """Section ``mailroom``: the labels and the contact group that are Mailroom's own."""

    label_error: str = "@MailroomError"
    label_warning: str = "@MailroomWarning"
    label_unscreen: str = "@ToScreener"
    label_domain: str = "@WholeDomain"
    label_list: str = "@WholeList"
    warnings_enabled: bool = True
    provenance_group: str = "Mailroom"

    @property
    def companions(self) -> tuple[str, ...]:
        """The labels that mean nothing alone: with a category's label they widen its decision."""
        return (self.label_domain, self.label_list)


@dataclass(frozen=True, slots=True)
class Screening:
    """Section ``screening``: who decides about new mail, and who is known without a decision.

    ``spam_header`` is a header and how its value begins; ``providers`` are domains, lower-cased.
    """

    by: Screener = "server"
    known: tuple[str, ...] = EVIDENCE
    spam_header: str | None = "X-Spam-Flag: YES"
    providers: tuple[str, ...] = ()

    @property
    def spam_mark(self) -> tuple[str, str] | None:
        """The header's name and how its value begins; None if no header counts."""
        name, _, value = (self.spam_header or "").partition(":")
        return (name.strip(), value.strip()) if value.strip() else None


@dataclass(frozen=True, slots=True)
class Daily:
    """Section ``digest``. ``at`` is the time of day of the daily mail, ``HH:MM``; None: no daily
    mail."""

    at: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Section ``limits``: what all accounts of the process ask of one server (an origin) together.

    ``connections_per_server``: requests under way at once, without push streams; as many more may
    be requests that the server has left unanswered for a second. ``starts_per_second``: how many
    accounts start there, open their stream anew, or poll again after a failure.
    """

    connections_per_server: int = 16
    starts_per_second: float = 10


@dataclass(frozen=True, slots=True)
class Logging:
    """Section ``logging``, for a terminal or a pipe; the journal gets fields instead."""

    level: Level = "info"
    format: Format = "text"


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. ``Config()`` is the empty file: the defaults, for Fastmail.

    ``owners`` are the users of the host who, like the group mailroom-control, may see the account
    and decide for it; ``option`` is what tells a command where the file is, empty if it finds it by
    itself.
    """

    jmap: Jmap = field(default_factory=Jmap)
    carddav: Carddav = field(default_factory=Carddav)
    contacts: ContactsWay = field(default_factory=ContactsWay)
    tls: Tls = field(default_factory=Tls)
    polling: Polling = field(default_factory=Polling)
    triage: Triage = field(default_factory=Triage)
    screening: Screening = field(default_factory=Screening)
    mailroom: Marks = field(default_factory=Marks)
    digest: Daily = field(default_factory=Daily)
    limits: Limits = field(default_factory=Limits)
    logging: Logging = field(default_factory=Logging)
    owners: tuple[str, ...] = ()
    option: str = field(default="", compare=False)

    @property
    def is_for_all(self) -> bool:
        """Whether it is the defaults of many accounts and says how all of them log in."""
        return ACCOUNT in f"{self.jmap.username} {self.jmap.authorize_as}"

    def command(self, words: str) -> str:
        """A command that works on this account, as the user has to type it."""
        return f"mailroom {words} {self.option}".rstrip()

    @property
    def account(self) -> str:
        """Whose mail it is, as people and logs see it."""
        return self.jmap.authorize_as or self.jmap.username or without_query(self.jmap.url)

    @property
    def managed_mailboxes(self) -> tuple[str, ...]:
        """Screener, labels, destinations, error and warning label: each once."""
        names = (
            self.triage.screener_mailbox,
            *self.triage.labels,
            self.mailroom.label_unscreen,
            *self.mailroom.companions,
            *self.triage.destinations,
            self.mailroom.label_error,
            self.mailroom.label_warning,
        )
        return tuple(dict.fromkeys(names))

    @property
    def required_mailboxes(self) -> tuple[str, ...]:
        """Those without which the service does not run. An account that an earlier version set up
        has no labels for domains and lists, and runs without them."""
        companions = self.mailroom.companions
        return tuple(name for name in self.managed_mailboxes if name not in companions)


def from_data(data: Mapping[str, Any]) -> Config:
    """Return the configuration that checked, plain data means (an object by the JSON Schema).

    A section that is missing or null is all defaults; URLs are resolved to the resource meant.
    """
    sections = {name: dict(each or {}) for name, each in data.items() if name != "owners"}
    jmap = sections.get("jmap", {})
    jmap["url"] = session_url(jmap.get("url", FASTMAIL_SESSION))
    carddav = sections.get("carddav", {})
    carddav["url"] = carddav_url(carddav.get("url"), jmap["url"])
    return Config(
        jmap=Jmap(**jmap),
        carddav=Carddav(**carddav),
        contacts=ContactsWay(**sections.get("contacts", {})),
        tls=Tls(**sections.get("tls", {})),
        polling=Polling(**sections.get("polling", {})),
        triage=_triage_from(sections.get("triage", {})),
        screening=_screening_from(sections.get("screening", {})),
        mailroom=Marks(**with_normal_names(sections.get("mailroom", {}))),
        digest=Daily(**sections.get("digest", {})),
        limits=Limits(**sections.get("limits", {})),
        logging=Logging(**sections.get("logging", {})),
        owners=tuple(data.get("owners") or ()),
    )


def to_data(config: Config) -> dict[str, Any]:
    """Return the configuration as plain data with every default spelled out.

    ``from_data(to_data(config)) == config``, except for its option.
    """
    data = asdict(config)
    del data["option"]  # it says where the file is, not what is in it
    for section, key in _LISTS:
        data[section][key] = list(data[section][key])
    data["owners"] = list(data["owners"])
    return data


def _screening_from(section: Mapping[str, Any]) -> Screening:
    given = dict(section)
    if given.get("by") is False:  # YAML 1.1 reads ``off`` as false
        given["by"] = "off"
    if "known" in given:
        given["known"] = tuple(each for each in EVIDENCE if each in given["known"])
    if "providers" in given:
        given["providers"] = tuple(domain.lower() for domain in given["providers"])
    return Screening(**given)


def _triage_from(section: Mapping[str, Any]) -> Triage:
    given = with_normal_names(section)
    if "categories" in given:
        given["categories"] = tuple(category_from(entry) for entry in given["categories"])
    if "own_addresses" in given:
        given["own_addresses"] = tuple(address.lower() for address in given["own_addresses"])
    return Triage(**given)
