"""Whom TLS trusts: the system's authorities and the user's own, in one file as libcurl wants it."""

import os
from pathlib import Path

from mailroom.rules.configuration.config import Tls

# PyPI's wheels carry an OpenSSL that knows no CA path of the system.
_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Authorities:
    """``path`` is for libcurl's CAINFO; empty: let it look where it was built to look.

    The user's file (PEM) is trusted besides the system's, or alone: then the 140 of the system,
    which GnuTLS would keep parsed, take no memory. A file that cannot be used is handed on alone,
    so that libcurl says so of every connection and nothing is trusted in its stead.
    """

    def __init__(self, tls: Tls, system: Path = _SYSTEM_BUNDLE) -> None:
        self._memory: int | None = None
        self.path = str(system) if system.exists() else ""
        if tls.ca_file is not None:
            joined = self._with_own(tls.ca_file, system) if tls.system_authorities else None
            self.path = joined or tls.ca_file

    def close(self) -> None:
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None

    def _with_own(self, ca_file: str, system: Path) -> str | None:
        try:
            own = Path(ca_file).read_bytes()
        except OSError:
            return None
        if b"-----BEGIN " not in own or not system.exists():
            return None
        # Not on disk: the service may have no place that it can write to.
        self._memory = os.memfd_create("authorities")
        with os.fdopen(os.dup(self._memory), "wb") as bundle:
            bundle.write(system.read_bytes() + b"\n" + own)
        return f"/proc/self/fd/{self._memory}"
