"""The session of a JMAP account (RFC 8620 §2): where everything is, and what the server allows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from mailroom.errors import LastingTrouble, ProtocolError
from mailroom.wire.jmap import CORE, MAIL, SIEVE, as_list, as_text, reading
from mailroom.wire.urls import expand

# How capabilities of Cyrus and Fastmail begin.
_CYRUS_EXTENSIONS = ("https://cyrusimap.org/", "https://www.fastmail.com/")
_STALWARTS_TEMPLATE = "/jmap/download/{accountId}/{blobId}/{name}?accept={type}"


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one request may hold (RFC 8620 §2); sizes in bytes."""

    calls: int
    get: int
    set: int
    request_bytes: int
    concurrent: int


@dataclass(frozen=True, slots=True)
class Session:
    """The parts of the session resource (RFC 8620 §2) that Mailroom uses.

    ``url`` is where it was found; ``api_url`` is absolute, the templates are as the server wrote
    them.
    """

    url: str
    api_url: str
    event_source_template: str | None
    account_id: str
    username: str
    state: str
    limits: SessionLimits
    capabilities: frozenset[str]
    upload_template: str | None = None
    download_template: str | None = None
    account_capabilities: frozenset[str] = frozenset()
    is_cyrus: bool = False
    sieve_extensions: frozenset[str] | None = None

    @property
    def is_stalwart(self) -> bool:
        """By its template for files (0.15.5), which differs from Cyrus' only in its beginning."""
        return not self.is_cyrus and (self.download_template or "").endswith(_STALWARTS_TEMPLATE)


def read_session(body: bytes, url: str) -> Session:
    """The session from its JSON. ``url`` is where it was found: its URLs may be relative to that.

    Raises LastingTrouble if Mailroom cannot work with the account.
    """
    with reading(f"the session at {url}"):
        data = json.loads(body)
        core = data["capabilities"].get(CORE, {})
        account_id = (data.get("primaryAccounts") or {}).get(MAIL)
        account = data["accounts"][account_id] if account_id is not None else {}
        _refuse_unworkable(account, url)
        return Session(
            url=url,
            api_url=urljoin(url, as_text(data["apiUrl"])),
            event_source_template=as_text(data.get("eventSourceUrl") or "") or None,
            account_id=as_text(account_id),
            username=str(data.get("username") or ""),
            state=str(data.get("state") or ""),
            limits=SessionLimits(
                calls=_limit(core, "maxCallsInRequest", 16, most=64),
                get=_limit(core, "maxObjectsInGet", 500, most=4096),
                set=_limit(core, "maxObjectsInSet", 500, most=4096),
                request_bytes=_limit(core, "maxSizeRequest", 10_000_000, most=10_485_760),
                concurrent=_limit(core, "maxConcurrentRequests", 4, most=16),
            ),
            capabilities=frozenset(data["capabilities"]),
            upload_template=as_text(data.get("uploadUrl") or "") or None,
            download_template=as_text(data.get("downloadUrl") or "") or None,
            account_capabilities=frozenset(account.get("accountCapabilities") or ()),
            is_cyrus=_is_cyrus(data),
            sieve_extensions=_sieve_extensions(account.get("accountCapabilities") or {}),
        )


def _sieve_extensions(capabilities: Mapping[str, Any]) -> frozenset[str] | None:
    """What scripts of this account may require (RFC 9661 §1.3); None if the server does not say."""
    told = (capabilities.get(SIEVE) or {}).get("sieveExtensions")
    return None if told is None else frozenset(map(as_text, as_list(told)))


def _is_cyrus(data: Mapping[str, Any]) -> bool:
    """Whether the server is Cyrus, or Fastmail, which runs on it. Cyrus has relative URLs (3.6.1,
    3.10.2 and 3.13.7, seen), and may name extensions of its own; a proxy may make the URLs
    absolute."""
    host = urlsplit(as_text(data["apiUrl"])).hostname
    is_extended = any(name.startswith(_CYRUS_EXTENSIONS) for name in data["capabilities"])
    return not host or is_extended or f".{host}".endswith(".fastmail.com")


def _refuse_unworkable(account: Mapping[str, Any], url: str) -> None:
    capability = (account.get("accountCapabilities") or {}).get(MAIL)
    if capability is None:
        raise LastingTrouble(
            f"the session at {url} offers no mail ({MAIL}): give the credentials access to mail"
        )
    if account.get("isReadOnly"):
        raise LastingTrouble(
            f"the account at {url} is read-only: give the credentials write access"
        )
    if capability.get("maxMailboxesPerEmail") == 1:
        raise LastingTrouble(
            f"the server at {url} keeps a mail in one folder only (maxMailboxesPerEmail is 1): "
            "Mailroom needs mailboxes that work as labels"
        )


def _limit(core: Mapping[str, Any], name: str, default: int, *, most: int) -> int:
    """A limit of the server. The defaults are the least that RFC 8620 §2 suggests to servers; a
    number that makes no sense counts as missing. ``most`` is what we ask of any server at most: at
    the high end, as much as Cyrus 3.10 allows."""
    told = core.get(name)
    return min(told, most) if isinstance(told, int) and told > 0 else default


def blob_url(template: str | None, session: Session, **values: str) -> str:
    """Where a blob goes or comes from (RFC 8620 §6): a URI template of level 1, filled in."""
    if template is None:
        raise ProtocolError(f"the session at {session.url} names no place for files")
    return urljoin(session.url, expand(template, {**values, "accountId": session.account_id}))
