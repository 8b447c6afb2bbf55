"""Secrets: read once from systemd's credentials or the environment, and never shown.

https://systemd.io/CREDENTIALS: ``$CREDENTIALS_DIRECTORY`` holds one file per credential. A secret
never appears in a message, a log line or a ``repr``.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config
from mailroom.wire.urls import origin

_VARIABLES = {
    "jmap-token": "MAILROOM_JMAP_TOKEN",
    "jmap-password": "MAILROOM_JMAP_PASSWORD",
    "carddav-password": "MAILROOM_CARDDAV_PASSWORD",
}
# The names of the credentials.
SECRETS = tuple(_VARIABLES)
TOKEN, PASSWORD, CARDDAV = SECRETS
# The credential with the secrets of many accounts (``engine/accountsecrets``).
ACCOUNT_SECRETS = "account-secrets"
# A credential that systemd has decrypted has another name (``Installation.encrypted_file``).
_DECRYPTED = "{}.encrypted"
_USERNAME = "MAILROOM_CARDDAV_USERNAME"

_FROM_DIRECTORY = "set (from the credentials directory)"
_FROM_ENVIRONMENT = "set (from the environment)"
_NOT_SET = "not set"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets found. ``sources`` says of each secret whether it is set and where it is from;
    ``is_shared`` whether the password is shared by all accounts."""

    jmap_token: str | None = field(default=None, repr=False)
    jmap_password: str | None = field(default=None, repr=False)
    carddav_username: str | None = field(default=None, repr=False)
    carddav_password: str | None = field(default=None, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)
    is_shared: bool = False

    def or_shared(self, shared: "Credentials") -> "Credentials":
        """The same for an account without a secret of its own: it gets the shared passwords."""
        own = {name: told for name, told in self.sources.items() if told != _NOT_SET}
        return replace(
            self,
            jmap_password=shared.jmap_password,
            carddav_password=self.carddav_password or shared.carddav_password,
            sources={**shared.sources, "jmap-token": _NOT_SET, **own},
            is_shared=True,
        )


@dataclass(frozen=True, slots=True)
class Bearer:
    """Log-in by token (RFC 6750); with ``authorize_as`` on behalf of somebody else."""

    token: str = field(repr=False)
    authorize_as: str | None = None


@dataclass(frozen=True, slots=True)
class Basic:
    """Log-in by password (RFC 7617). Without ``username``, the one that the JMAP session names is
    used; with ``authorize_as`` on behalf of somebody else."""

    username: str | None
    password: str = field(repr=False)
    authorize_as: str | None = None


@dataclass(frozen=True, slots=True)
class Logins:
    """How to log in at either server. ``carddav`` is None if there is no secret for it: then
    contacts go by JMAP. ``carddav_secret`` names its credential. ``is_shared``: all accounts share
    the password; it is sent to the configured server only, even if that refers to others."""

    jmap: Bearer | Basic
    carddav: Basic | None
    carddav_secret: str = "carddav-password"
    is_shared: bool = False


def are_given(environ: Mapping[str, str]) -> bool:
    """Whether the environment has secrets, or says where they are."""
    return any(environ.get(name) for name in ("CREDENTIALS_DIRECTORY", *_VARIABLES.values()))


def load_credentials(environ: Mapping[str, str]) -> Credentials:
    """Return the secrets from ``$CREDENTIALS_DIRECTORY``, or else from their variables.

    Raises ``ConfigurationError`` with everything that is unreadable, empty or malformed. ``logins``
    complains of what is missing.
    """
    problems: list[str] = []
    values: dict[str, str | None] = {}
    sources: dict[str, str] = {}
    for name in _VARIABLES:
        try:
            values[name], sources[name] = _find(name, environ)
        except ConfigurationError as error:
            problems += error.problems
    username = environ.get(_USERNAME) or None
    if username and (":" in username or not username.isprintable()):  # RFC 7617, section 2
        problems.append(f"${_USERNAME} has a ':' or a control character; correct it")
    if problems:
        raise ConfigurationError(problems)
    return Credentials(
        jmap_token=values["jmap-token"],
        jmap_password=values["jmap-password"],
        carddav_username=username,
        carddav_password=values["carddav-password"],
        sources=sources,
    )


def variables(secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment in which :func:`load_credentials` finds these secrets."""
    return {_VARIABLES[name]: secret for name, secret in secrets.items()}


def replaced(stored: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The secrets once ``new`` ones are stored: a password takes the place of a token, which would
    be used instead."""
    gone = {TOKEN} if PASSWORD in new else set()
    return {**{name: stored[name] for name in stored.keys() - gone}, **new}


def logins(config: Config, credentials: Credentials) -> Logins:
    """Return how to log in at the servers of the configuration.

    A token is preferred to a password. The address book uses its own password, or else the mail
    server's if both have the same origin. Without either, contacts have to go by JMAP; the session
    tells whether they can. Raises ``ConfigurationError`` with all that is missing.
    """
    problems: list[str] = []
    username, password = config.jmap.username, credentials.jmap_password
    if not credentials.jmap_token:
        if not password:
            problems.append(
                f"no secret for the mail server: {config.command('login')} stores one (the "
                f"credential jmap-token, or ${_VARIABLES['jmap-token']}; for log-in by password "
                f"jmap-password, or ${_VARIABLES['jmap-password']})"
            )
        elif not username:
            problems.append("a password needs a user name: set jmap.username in the configuration")
    is_one_server = origin(config.jmap.url) == origin(config.carddav.url)
    shared = password if is_one_server else None
    carddav_password = credentials.carddav_password or shared
    # On one server a password serves for both, so the problem above already asks for it.
    is_asked_already = is_one_server and not credentials.jmap_token
    is_needed = config.contacts.by == "carddav" and not is_asked_already
    if not carddav_password and is_needed:
        problems.append(
            f"no password for the address book at {origin(config.carddav.url)}: "
            f"{config.command('login --carddav')} stores one (the credential carddav-password, or "
            f"${_VARIABLES['carddav-password']})"
        )
    if problems:
        raise ConfigurationError(problems)
    token, other = credentials.jmap_token, config.jmap.authorize_as
    return Logins(
        jmap=Bearer(token, other) if token else Basic(username, password or "", other),
        carddav=Basic(
            config.carddav.username or credentials.carddav_username or username,
            carddav_password,
            other if is_one_server else None,
        )
        if carddav_password
        else None,
        carddav_secret="carddav-password" if credentials.carddav_password else "jmap-password",
        is_shared=credentials.is_shared,
    )


def credential(name: str, directory: Path) -> tuple[str, Path] | None:
    """A credential's content and its file: the decrypted one, else the plain one; None if there is
    neither. Raises ConfigurationError."""
    for path in (directory / _DECRYPTED.format(name), directory / name):
        if (content := _content(path)) is not None:
            return content, path
    return None


def secret_in(name: str, path: Path) -> str | None:
    """The secret in a file; None if there is no file. Raises ConfigurationError."""
    content = _content(path)
    return None if content is None else _secret(name, content, path)


def described(secret: str | None) -> str:
    """Whether a secret of the credentials directory is set, for people."""
    return _NOT_SET if secret is None else _FROM_DIRECTORY


def _find(name: str, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """Return a secret and where it is from."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (found := credential(name, Path(directory))):
        return _secret(name, *found), _FROM_DIRECTORY
    variable = _VARIABLES[name]
    if secret := environ.get(variable, ""):
        return checked(name, secret, f"${variable}"), _FROM_ENVIRONMENT
    return None, _NOT_SET


def _secret(name: str, content: str, path: Path) -> str:
    secret = content.removesuffix("\n").removesuffix("\r")  # editors and echo add one
    if not secret:
        raise ConfigurationError([f"the credential {path} is empty; write the secret into it"])
    return checked(name, secret, f"the credential {path}")


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        fault = f"cannot read the credential {path}: {error.strerror}; check its owner and mode"
        raise ConfigurationError([fault]) from error
    except UnicodeDecodeError:
        # Not chained: the error would carry the secret.
        raise ConfigurationError([f"the credential {path} is not UTF-8; write it again"]) from None


def checked(name: str, secret: str, place: str) -> str:
    """Return the secret if it can stand in a header; ``place`` tells people where it is from.

    Raises ``ConfigurationError``, which says what is wrong without showing the secret.
    """
    if fault := fault_of_secret(name, secret):
        raise ConfigurationError([f"{place} {fault}; write the bare secret into it, one line"])
    return secret


def fault_of_secret(name: str, secret: str) -> str | None:
    """Why the secret cannot stand in a header, or None."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in secret):
        return "has a control character or more than one line"
    if name == "jmap-token" and not (secret.isascii() and " " not in secret):
        return "has characters that no token has (RFC 6750, section 2.1)"
    return None
