"""Whom TLS trusts: the system's authorities and the user's own, in one file as libcurl wants it."""

import os
from pathlib import Path

# PyPI's wheels carry an OpenSSL that knows no CA path of the system.
_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Authorities:
    """``path`` is for libcurl's CAINFO; empty: let it look where it was built to look.

    ``ca_file`` (PEM) is trusted besides the system's. One that cannot be used is handed on alone,
    so that libcurl says so of every connection and nothing is trusted in its stead.
    """

    def __init__(self, ca_file: str | None = None, system: Path = _SYSTEM_BUNDLE) -> None:
        self._memory: int | None = None
        self.path = str(system) if system.exists() else ""
        if ca_file is not None:
            self.path = self._with_own(ca_file, system) or ca_file

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
