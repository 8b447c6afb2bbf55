"""Digest authentication (RFC 7616), as far as a server with one user and one nonce needs it."""

import re
import secrets
from hashlib import md5
from typing import Final

REALM: Final = "sandbox"
_PARAMETER: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^",\s]+))')


class Digest:
    """The server's side: a challenge, and whether an answer to it is the user's."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._nonce = secrets.token_hex(16)

    @property
    def challenge(self) -> str:
        """Return what stands in WWW-Authenticate."""
        return f'Digest realm="{REALM}", nonce="{self._nonce}", qop="auth", algorithm=MD5'

    def accepts(self, header: str | None, method: str) -> bool:
        """Say whether an Authorization header answers the challenge."""
        told = _parameters(header or "")
        if not (header or "").startswith("Digest ") or told.get("nonce") != self._nonce:
            return False
        expected = _response(told, method, self._user, self._password)
        return told.get("username") == self._user and told.get("response") == expected


def answer(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """Return the Authorization header that answers a challenge, as a client makes it."""
    told = _parameters(challenge) | {"uri": uri, "nc": "00000001", "cnonce": "c", "qop": "auth"}
    told |= {"username": user}
    told["response"] = _response(told, method, user, password)
    names = ("username", "realm", "nonce", "uri", "cnonce", "response")
    quoted = ", ".join(f'{name}="{told[name]}"' for name in names)
    return f"Digest {quoted}, nc={told['nc']}, qop=auth, algorithm=MD5"


def _parameters(header: str) -> dict[str, str]:
    return {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(header)}


def _response(told: dict[str, str], method: str, user: str, password: str) -> str:
    one = _md5(f"{user}:{REALM}:{password}")
    two = _md5(f"{method}:{told.get('uri', '')}")
    middle = ":".join(told.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
    return _md5(f"{one}:{middle}:{two}")


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
