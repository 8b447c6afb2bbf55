"""Decisions for more than one address: whole domains, and mailing lists.

A domain's decision is for the part that somebody has registered (``shop.example`` of
``news.shop.example``) and all below it. A public suffix (``co.uk``, ``github.io``) or a mail
provider would cover strangers: these are refused.
"""

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mailroom.rules.addresses import canonical

_LABEL = "[a-z0-9_-]{1,63}"
# A host name with a dot in it; one that ends in a number is an IP address.
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}")
_LONGEST_DOMAIN = 253  # RFC 1035 §2.3.4, as text
# RFC 2919 §2: a dot-atom of at most 255 octets. It goes into a script, so nothing else may.
_LIST_ID = re.compile(r"[!#-'+\-./0-9=?^_`a-z{|}~]+")
_LONGEST_LIST_ID = 255
_IN_BRACKETS = re.compile(r"<([^<>]*)>[^<>]*\Z")

# Where distributions keep the list; the copy in the library from PyPI is of 2019.
_SYSTEM_LIST = "/usr/share/publicsuffix/public_suffix_list.dat"

# Mail providers for everybody; under whatever suffix,
_PROVIDERS_ANYWHERE = frozenset({"gmx", "hotmail", "outlook", "yahoo"})
# and under these.
_PROVIDERS = frozenset(
    {"126.com", "163.com", "abv.bg", "alice.it", "aol.com", "aol.de", "arcor.de", "att.net"}
    | {"bell.net", "bellsouth.net", "bigpond.com", "bk.ru", "bluewin.ch", "bol.com.br"}
    | {"btinternet.com", "charter.net", "comcast.net", "cox.net", "daum.net", "disroot.org"}
    | {"duck.com", "earthlink.net", "email.com", "email.cz", "email.de", "fastmail.com"}
    | {"fastmail.fm", "free.fr", "freenet.de", "gmail.com", "googlemail.com", "hanmail.net"}
    | {"hey.com", "hispeed.ch", "home.nl", "icloud.com", "inbox.lv", "inbox.ru", "interia.pl"}
    | {"kpnmail.nl", "laposte.net", "libero.it", "list.ru", "live.at", "live.be", "live.ca"}
    | {"live.co.uk", "live.com", "live.com.au", "live.com.mx", "live.de", "live.dk", "live.fr"}
    | {"live.ie", "live.it", "live.nl", "live.no", "live.se", "mac.com", "mail.com", "mail.de"}
    | {"mail.ru", "mailbox.org", "mailfence.com", "me.com", "msn.com", "naver.com"}
    | {"neuf.fr", "ntlworld.com", "o2.pl", "onet.pl", "online.de", "optonline.net"}
    | {"optusnet.com.au", "orange.fr", "pm.me", "posteo.de", "posteo.net", "proton.me"}
    | {"protonmail.ch", "protonmail.com", "qq.com", "rambler.ru", "rediffmail.com"}
    | {"riseup.net", "rocketmail.com", "rogers.com", "runbox.com", "sapo.pt", "sbcglobal.net"}
    | {"seznam.cz", "sfr.fr", "shaw.ca", "sina.com", "skynet.be", "startmail.com"}
    | {"sympatico.ca", "t-online.de", "telenet.be", "terra.com.br", "tiscali.it", "tuta.com"}
    | {"tuta.io", "tutamail.com", "tutanota.com", "tutanota.de", "uol.com.br", "ukr.net"}
    | {"verizon.net", "virgilio.it", "virginmedia.com", "wanadoo.fr", "web.de", "wp.pl"}
    | {"ya.ru", "yandex.com", "yandex.ru", "yeah.net", "ymail.com", "ziggo.nl", "zoho.com"}
    | {"zohomail.com", "zohomail.eu"}
)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Which category whole domains and lists are in: its name, by canonical domain and list id.

    ``domain_days`` and ``list_days`` are the days (ISO 8601) of those decisions, as far as known.
    """

    domains: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    domain_days: Mapping[str, str] = field(default_factory=dict)
    list_days: Mapping[str, str] = field(default_factory=dict)

    def of_domain(self, address: str) -> str | None:
        """The category of the address's domain, or of the nearest one above it."""
        domain = domain_of(address)
        while domain:
            if (name := self.domains.get(domain)) is not None:
                return name
            domain = domain.partition(".")[2]
        return None

    def of_list(self, list_id: str | None) -> str | None:
        """The category of a mailing list by its canonical id."""
        return self.lists.get(list_id) if list_id else None


def domain_of(address: str) -> str:
    """The address's domain in canonical form."""
    return canonical_domain(address.rpartition("@")[2])


def canonical_domain(domain: str) -> str:
    """The form in which domains are compared: lower case, in ASCII, no dot at its end."""
    return canonical(f"@{domain.strip().rstrip('.')}")[1:]


def is_domain(domain: str) -> bool:
    """Whether a canonical domain is a valid name."""
    return len(domain) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(domain) is not None


def registrable_domain(address: str) -> str | None:
    """The domain of an address that somebody has registered, with all below it; None for a public
    suffix itself, an IP address, or a name without a dot."""
    domain = domain_of(address)
    if not is_domain(domain):
        return None
    labels = domain.split(".")
    own = len(labels) - len(_suffix(domain).split("."))
    return ".".join(labels[own - 1 :]) if own else None


def refusal(domain: str, providers: Collection[str] = ()) -> str | None:
    """Why this whole (canonical) domain cannot be decided about, in words for the user; None if it
    can. ``providers`` are further mail providers that the user has named."""
    if not is_domain(domain):
        return f"{domain} is not a domain"
    registrable = registrable_domain(f"@{domain}")
    if registrable is None:
        return f"{domain} is a public suffix: anybody can have a domain under it"
    if _is_provider(registrable, map(canonical_domain, providers), domain):
        return f"{domain} is a mail provider: anybody can have an address there"
    return None


def list_id(header: str) -> str | None:
    """The canonical id in a ``List-Id`` (RFC 2919 §3): ``Name <news.example.org>``; some write it
    without brackets. None if there is no usable one."""
    found = _IN_BRACKETS.search(header)
    text = "".join((found[1] if found else header).split()).lower()
    is_whole = _LIST_ID.fullmatch(text) is not None and len(text) <= _LONGEST_LIST_ID
    if not found and len(header.split()) > 1:
        return None
    return text if is_whole else None


def _is_provider(registrable: str, further: Iterable[str], domain: str) -> bool:
    return (
        registrable in _PROVIDERS
        or registrable.partition(".")[0] in _PROVIDERS_ANYWHERE
        or not {registrable, domain}.isdisjoint(further)
    )


def _suffix(domain: str) -> str:
    """The public suffix of a domain; of one that no rule knows, its last label."""
    suffix = str(_suffixes().get_tld(domain))
    return suffix if suffix and domain.endswith(suffix) else domain


@functools.cache
def _suffixes():  # type: ignore[no-untyped-def]
    # imported here: it costs 8 MiB and 0.2 s, which a service without whole domains saves
    from publicsuffix2 import PublicSuffixList  # noqa: PLC0415

    try:
        return PublicSuffixList(_SYSTEM_LIST)
    except OSError:
        return PublicSuffixList()
