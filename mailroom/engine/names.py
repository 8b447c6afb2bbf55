"""What DNS says about the mail of a domain: its JMAP service and its mail exchangers.

libcurl asks for addresses only; SRV records (RFC 2782, RFC 8620 §2.2) and MX are asked for here,
with dnspython. It blocks, so only commands may use it. All questions about a domain together take
at most :data:`PATIENCE_SECONDS`, whatever the name servers do.
"""

import time
from typing import TYPE_CHECKING

from mailroom.rules.account.autodiscovery import DnsAnswer, SrvTarget

if TYPE_CHECKING:
    from dns.rdatatype import RdataType
    from dns.resolver import Answer

PATIENCE_SECONDS = 5.0
_SERVICE = "_jmap._tcp"


def ask_about(
    domain: str,
    patience_seconds: float = PATIENCE_SECONDS,
    name_server: tuple[str, int] | None = None,
) -> DnsAnswer:
    """What the machine's name servers, or the one given, say about ``domain`` (in ASCII).
    Never raises: if nothing could be learned, the answer's ``trouble`` says why.
    """
    try:
        import dns.exception  # noqa: PLC0415 - only needed here, and may be missing
        import dns.resolver  # noqa: PLC0415
    except ImportError:
        return DnsAnswer(trouble="python3-dnspython, which asks name servers, is not installed")
    try:
        return _Asking(domain, time.monotonic() + patience_seconds, name_server).names()
    except dns.exception.Timeout:
        trouble = f"the name server has not answered within {patience_seconds:g} s"
    except dns.resolver.NoResolverConfiguration:
        trouble = "this machine knows no name server (/etc/resolv.conf)"
    except (dns.exception.DNSException, OSError, ValueError) as error:
        trouble = f"the name server is of no help ({type(error).__name__})"
    return DnsAnswer(trouble=trouble, is_silent=True)


class _Asking:
    """The questions about one domain, until the instant ``end`` of the monotonic clock."""

    def __init__(self, domain: str, end: float, name_server: tuple[str, int] | None) -> None:
        from dns.resolver import Resolver  # noqa: PLC0415 - see ask_about

        self._domain = domain
        self._end = end
        self._resolver = Resolver(configure=name_server is None)
        if name_server:
            address, self._resolver.port = name_server
            self._resolver.nameservers = [address]

    def names(self) -> DnsAnswer:
        """Asks for mail exchangers first: they show whether the domain exists at all."""
        import dns.rdatatype  # noqa: PLC0415 - see ask_about

        exchangers = self._ask(self._domain, dns.rdatatype.MX)
        if exchangers is None:
            return DnsAnswer(is_unknown=True)
        found = self._ask(f"{_SERVICE}.{self._domain}", dns.rdatatype.SRV)
        # RFC 2782 chooses at random by weight among equal priorities; for one person, taking the
        # heaviest is as good.
        in_order = sorted(found or (), key=lambda each: (each.priority, -each.weight))
        services = [SrvTarget(_host(each.target), each.port) for each in in_order]
        return DnsAnswer(
            services=tuple(each for each in services if each.host),
            # A target of "." (RFC 2782): the domain says that it has no such service.
            has_no_service=bool(services) and not any(each.host for each in services),
            exchangers=tuple(_host(each.exchange) for each in exchangers),
        )

    def _ask(self, name: str, kind: "RdataType") -> "Answer | tuple[()] | None":
        """The records; empty if there are none of this kind, None if there is no such name."""
        import dns.exception  # noqa: PLC0415 - see ask_about
        import dns.name  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        left = self._end - time.monotonic()
        if left <= 0:
            raise dns.exception.Timeout
        try:
            return self._resolver.resolve(dns.name.from_text(name), kind, lifetime=left)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return ()


def _host(name: object) -> str:
    return str(name).rstrip(".").lower()
