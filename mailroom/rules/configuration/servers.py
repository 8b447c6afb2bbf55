"""What the ``url`` keys may say and which resource they mean.

Discovery is that of the RFCs: ``/.well-known/jmap`` (RFC 8620, section 2.2) and
``/.well-known/carddav`` (RFC 6764, section 5).
"""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from mailroom.wire.urls import origin

FASTMAIL_SESSION = "https://api.fastmail.com/jmap/session"
FASTMAIL_CARDDAV = "https://carddav.fastmail.com"

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_URL_CHARACTERS = re.compile(r"[!-~]+")


def session_url(given: str) -> str:
    """Return where the JMAP session is read, for a URL, an origin or a host alone."""
    return _discover(given, "/.well-known/jmap")


def carddav_url(given: str | None, session: str) -> str:
    """Return where the discovery of the address books starts.

    ``given`` is a URL, an origin, a host alone, or None: then it follows from the session's URL.
    """
    if given is None:
        host = urlsplit(session).hostname or ""
        is_fastmail = host == "fastmail.com" or host.endswith(".fastmail.com")
        given = FASTMAIL_CARDDAV if is_fastmail else origin(session)
    return _discover(given, "/.well-known/carddav")


def is_confidential(url: str) -> bool:
    """Whether a secret may be sent there: by TLS, or to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts))


def fault_of_url(given: str) -> str | None:
    """Return what is wrong with a ``url`` of the configuration and what to do, or None.

    The answer never repeats the URL: it may hold a password.
    """
    if not _URL_CHARACTERS.fullmatch(given):
        return "has spaces or characters beyond ASCII; write them %-encoded, hosts as xn--…"
    try:
        parts = urlsplit(_absolute(given))
        port = parts.port
    except ValueError:
        return "is not a URL; write it as https://mail.example.org/jmap/session"
    if "@" in parts.netloc:
        return (
            "holds a user name or a password; take them out of the URL "
            "(the name goes to the key username, the password to a credential)"
        )
    if parts.fragment:
        return "has a part after '#', which servers never see; take it away"
    if port == 0 or parts.netloc.endswith(":") or not _is_host(parts):
        return "names no host that can exist; write it as https://mail.example.org/jmap/session"
    return _fault_of_scheme(parts)


def _fault_of_scheme(parts: SplitResult) -> str | None:
    if is_confidential(parts.geturl()):
        return None
    if parts.scheme == "http":
        return "would send the secret in the clear; use https: (http: is for loopback only)"
    return "must begin with https://"


def _absolute(given: str) -> str:
    return given if "://" in given else f"https://{given}"


def _discover(given: str, well_known: str) -> str:
    url = _absolute(given)
    parts = urlsplit(url)
    is_bare = parts.path in ("", "/") and not parts.query
    return origin(url) + well_known if is_bare else url


def _is_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return bool(_NAME.fullmatch(host)) or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".")
    if _is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
