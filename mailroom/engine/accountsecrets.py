"""The secrets of many accounts: one credential, ``account-secrets``, with a line for each:
``anna.jmap-token: SECRET``.

A credential for each would be too many: systemd hands over 1 MiB in all, and 257 keeps it in a
tmpfs where each takes a page, so the service would not start with the 256th (seen: 257.13; 252.39
uses a ramfs without that limit). A few may still have files of their own: ``anna.jmap-token``, or
``accounts_anna.jmap-token``, as systemd names the files of a folder
(``LoadCredential=accounts:FOLDER``).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mailroom.engine.credentials import (
    ACCOUNT_SECRETS,
    SECRETS,
    Credentials,
    checked,
    credential,
    described,
    load_credentials,
    secret_in,
)
from mailroom.engine.unit import Installation
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config
from mailroom.rules.configuration.fleet import (
    is_name,
    may_have_shared_book_secret,
    may_have_shared_secret,
)

_FOLDER = "accounts_"


class AccountSecrets:
    """The secrets that the process was started with; read when first asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        directory = environ.get("CREDENTIALS_DIRECTORY")
        self._directory = Path(directory) if directory else None

    def of(self, account: str) -> Credentials:
        """The secrets of one account; with an empty name, those of all. Raises ConfigurationError
        with all their problems."""
        if not account:
            return load_credentials(self._environ)
        problems: list[str] = []
        values: dict[str, str | None] = {}
        for kind in SECRETS:
            try:
                values[kind] = self._find(kind, f"{account}.{kind}")
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        return Credentials(
            jmap_token=values["jmap-token"],
            jmap_password=values["jmap-password"],
            carddav_password=values["carddav-password"],
            sources={kind: described(secret) for kind, secret in values.items()},
        )

    @cached_property
    def lines(self) -> dict[str, str]:
        """Those that have a line. Raises ConfigurationError if the credential cannot be read."""
        if self._directory is None:
            return {}
        found = credential(ACCOUNT_SECRETS, self._directory)
        return {} if found is None else parse(found[0], f"the credential {found[1]}")

    def _find(self, kind: str, name: str) -> str | None:
        if secret := self.lines.get(name):
            return checked(kind, secret, f"the secret {name}")
        for file in (name, f"{_FOLDER}{name}"):
            if file in self._files and self._directory:
                return secret_in(kind, self._directory / file)
        return None

    @cached_property
    def _files(self) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self._directory or ""))
        except OSError:
            return frozenset()


def parse(text: str, place: str) -> dict[str, str]:
    """The secrets by their names; ``place`` tells people where the text is from. Raises
    ConfigurationError with the number of each faulty line, without showing it."""
    found: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, secret = line.partition(": ")
        account, _, kind = name.rpartition(".")
        if colon and kind in SECRETS and is_name(account):
            found[name] = secret
        else:
            problems.append(f"{place}:{number}: is not of the form anna.jmap-token: SECRET")
    if problems:
        raise ConfigurationError(problems)
    return found


def written(secrets: Mapping[str, str]) -> str:
    """The text that :func:`parse` reads."""
    return "".join(f"{name}: {secret}\n" for name, secret in sorted(secrets.items()))


def secrets_of(
    installation: Installation, config: Config, environ: Mapping[str, str]
) -> Credentials:
    """The secrets for a command about this installation, which has this ``config``."""
    from mailroom.engine.configfile import load_of  # noqa: PLC0415 - a circle otherwise

    if installation.member is None:
        return load_credentials(environ)
    own = AccountSecrets(environ).of(installation.member)
    defaults = load_of(replace(installation, member=None))
    return with_shared(own, lambda: load_credentials(environ), config, defaults)


def with_shared(
    own: Credentials, of_all: Callable[[], Credentials], config: Config, defaults: Config
) -> Credentials:
    """The secrets of an account with this ``config``: its own, else the passwords shared by all,
    each only for the server that the ``defaults`` name."""
    if own.jmap_token or own.jmap_password or not may_have_shared_secret(config, defaults):
        return own
    shared = of_all()
    if not may_have_shared_book_secret(config, defaults):
        sources = {**shared.sources, "carddav-password": described(None)}
        shared = replace(shared, carddav_password=None, sources=sources)
    return own.or_shared(shared)
