"""Whom TLS trusts: the system's authorities and the user's, in one file as libcurl wants them."""

import os
from pathlib import Path

from mailroom.rules.configuration.config import Tls

# The OpenSSL in PyPI's wheels does not know the system's CA path.
_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Authorities:
    """``path`` is for libcurl's CAINFO; if empty, libcurl uses its built-in place.

    The user's file (PEM) is trusted in addition to the system's authorities, or alone. Alone it
    saves the memory of the system's 140, which GnuTLS would keep parsed. An unusable file is passed
    on alone: libcurl then reports it for every connection, and trusts nothing else instead.
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
        # Not on disk: the service may have no writable folder.
        self._memory = os.memfd_create("authorities")
        with os.fdopen(os.dup(self._memory), "wb") as bundle:
            bundle.write(system.read_bytes() + b"\n" + own)
        return f"/proc/self/fd/{self._memory}"
