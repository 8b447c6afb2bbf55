"""Which server a mail address belongs to: what to try, in which order, and whether to trust it.

RFC 8620 §2.2: the SRV record ``_jmap._tcp`` of the domain, else the domain itself; at either,
``/.well-known/jmap``. Neither record nor redirect is signed, so the user must confirm a host
outside the domain before it gets a secret.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from mailroom.rules.addresses import canonical, is_usable
from mailroom.rules.configuration.servers import FASTMAIL_SESSION, session_url
from mailroom.wire.urls import origin

# Fastmail's most common domains. Its others, and domains hosted there, are recognised by their mail
# exchangers.
_FASTMAIL_DOMAINS = ("fastmail.com", "fastmail.fm")
_FASTMAIL_EXCHANGERS = "messagingengine.com"


@dataclass(frozen=True, slots=True)
class SrvTarget:
    """Where a service is (RFC 2782); the host is in lower case and without the final dot."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What DNS says about a domain. ``services`` are in the order to try; ``has_no_service``: DNS
    says that there is none. ``trouble`` is why nothing was learned; ``is_silent``: no name can be
    looked up."""

    services: tuple[SrvTarget, ...] = ()
    exchangers: tuple[str, ...] = ()
    is_unknown: bool = False
    has_no_service: bool = False
    trouble: str = ""
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A URL where the session may be, and what names it."""

    url: str
    source: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How a place answers without credentials. ``url`` is where it redirected to; ``schemes`` are
    its authentication schemes, in lower case. ``fault``: why it is not a JMAP server;
    ``is_untrusted``: it may be one, but an unknown authority signed its certificate."""

    url: str
    schemes: frozenset[str] = frozenset()
    fault: str = ""
    is_untrusted: bool = False


def domain_of(address: str) -> str:
    """The domain of a mail address, in ASCII. Raises ValueError, which says what is wrong, if the
    address is none."""
    given = address.strip()
    if "@" not in given:
        raise ValueError(f"{given!r} has no @: write an address like anna@example.org")
    whole = canonical(given)
    domain = whole.rpartition("@")[2]
    if not is_usable(whole) or "." not in domain.strip(".") or ".." in domain or "[" in domain:
        raise ValueError(f"{given!r} is not a mail address: write one like anna@example.org")
    return domain.rstrip(".")


def candidates(domain: str, names: DnsAnswer) -> Iterator[Candidate]:
    """Where to look, best first."""
    if _is_at_fastmail(domain, names):
        whose = "" if domain in _FASTMAIL_DOMAINS else f", where {domain} has its mail (MX)"
        yield Candidate(FASTMAIL_SESSION, f"Fastmail's{whose}")
        return
    for service in names.services:
        url = session_url(f"https://{service.host}:{service.port}")
        yield Candidate(url, f"named by the SRV record of {domain}")
    # With a silent name server, every further name would have to time out as well.
    is_hopeless = names.is_silent or names.is_unknown or names.has_no_service
    if not (names.services or is_hopeless):
        yield Candidate(session_url(f"https://{domain}"), f"at {domain} itself")


def why_none(domain: str, names: DnsAnswer) -> str:
    """Why no server was found, in words."""
    if names.is_silent:
        return names.trouble
    if names.is_unknown:
        return f"there is no domain {domain}"
    if names.has_no_service:
        return f"{domain} says that it has no JMAP server (SRV)"
    why = f" ({names.trouble})" if names.trouble else ""
    return f"no JMAP server was found for {domain}{why}"


def has_path(server: str) -> bool:
    """Whether somebody has named a resource, and not only a host."""
    url = session_url(server)
    return session_url(origin(url)) != url


def short(url: str) -> str:
    """A session's URL as the configuration writes it: only the host, if discovery from there finds
    it."""
    start = origin(url)
    return start.removeprefix("https://") if session_url(start) == url else url


def is_within(url: str, domain: str) -> bool:
    """Whether the URL's host is the domain itself or below it."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return host == domain or host.endswith(f".{domain}")


def needs_confirmation(url: str, domain: str, named: str | None) -> bool:
    """Whether the user must confirm this place before it gets a secret: it is neither in the
    address's domain nor at the server that the user named."""
    is_named = named is not None and origin(session_url(named)) == origin(url)
    is_fastmails = url == FASTMAIL_SESSION and domain in _FASTMAIL_DOMAINS
    return not (is_named or is_fastmails or is_within(url, domain))


def _is_at_fastmail(domain: str, names: DnsAnswer) -> bool:
    exchangers = names.exchangers
    is_there = any(f".{host}".endswith(f".{_FASTMAIL_EXCHANGERS}") for host in exchangers)
    return domain in _FASTMAIL_DOMAINS or (is_there and not names.services)
