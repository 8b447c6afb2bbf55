"""``mailroom login``: tries a new secret, stores it, and restarts the services that use it.

As root the trial runs as the service does, in its sandbox and its network. It gets the secret as it
would get a file, and not in an argument or the environment.
"""

import contextlib
import getpass
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import SimpleNamespace

from rich.console import Console

from mailroom.engine.accountfolder import account_names
from mailroom.engine.configfile import load_of
from mailroom.engine.confined import is_unit, run_confined
from mailroom.engine.credentials import (
    CARDDAV,
    PASSWORD,
    TOKEN,
    fault_of_secret,
    load_credentials,
    logins,
    variables,
)
from mailroom.engine.credstore import remove, store, stored
from mailroom.engine.handover import Taker
from mailroom.engine.manager import Manager
from mailroom.engine.shards import is_drained, services_here
from mailroom.engine.unit import Installation
from mailroom.errors import ConfigurationError, CredentialsRefused, MailroomError
from mailroom.rules.configuration.config import Config, ContactsWay
from mailroom.rules.configuration.fleet import may_have_shared_book_secret, may_have_shared_secret
from mailroom.rules.configuration.servers import FASTMAIL_SESSION
from mailroom.terminal.context import context_for
from mailroom.terminal.interviewing import findings
from mailroom.terminal.remote import which_account
from mailroom.terminal.screen import output, tick
from mailroom.terminal.secrets import files_for, holding
from mailroom.wire.urls import origin
from mailroom.work.setup.abilities import abilities
from mailroom.work.setup.check import Finding

SECRETS = "secrets"
_OPTIONS = {TOKEN: "--token", PASSWORD: "--password", CARDDAV: "--carddav"}
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Trying:
    """The secrets to try, by their names. ``is_shared``: all accounts share the password, so it is
    sent to no server other than the configured one."""

    secrets: Mapping[str, str]
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """Which secret it is, and what people call it."""

    name: str
    config: Config

    def __str__(self) -> str:
        match self.name:
            case "jmap-token":
                return "API token"
            case "jmap-password":
                return f"password of {self.config.jmap.username}"
            case _:
                return "password of the address book"

    @property
    def server(self) -> str:
        is_book = self.name == CARDDAV
        return origin(self.config.carddav.url if is_book else self.config.jmap.url)


def show_login(asked: Installation, options: SimpleNamespace) -> int:
    """Ask for the secret, try it, store it and use it. A refused one ends with exit code 77, and
    nothing is changed."""
    if asked.is_system and os.geteuid() != 0:
        raise ConfigurationError(
            [f"the secrets of {asked.unit}.service are root's: run it with sudo"]
        )
    console = output()
    trial = tried_as(asked)
    config = load_of(trial)
    kept: Mapping[str, str] = {}
    with contextlib.suppress(MailroomError):  # this command may replace an unreadable one
        kept = stored(asked)
    secret = Secret(options.secret or usual(config, kept), config)
    try:
        if not (typed := _asked_for(secret)):
            raise MailroomError("no secret was given: nothing is stored")
        if fault := fault_of_secret(secret.name, typed):
            raise ConfigurationError([f"this secret {fault}: nothing is stored"])
        trying = Trying({**kept, secret.name: typed}, is_shared=trial.member != asked.member)
        code = _tried(trial, options, secret, trying)
    except (KeyboardInterrupt, EOFError):
        sys.stdout.write("\nNothing is stored.\n")
        return _INTERRUPTED
    if code == 0:
        _keep(console, asked, secret.name, typed)
        _restart(console, asked)
    return code


def tried_as(asked: Installation) -> Installation:
    """The account with which the secret is tried. If there are many and none is named, the secret
    is the password shared by all: it is tried with an account both of whose servers may get it.
    Raises UsageError if they share none."""
    names = account_names(asked.config) if asked.member is None else []
    if not names:
        return asked
    defaults = load_of(asked)
    for name in names if defaults.is_for_all else []:
        trial = replace(asked, member=name)
        with contextlib.suppress(ConfigurationError):
            config = load_of(trial)
            if may_have_shared_secret(config, defaults) and may_have_shared_book_secret(
                config, defaults
            ):
                return trial
    raise which_account(None, names, len(names))


def usual(config: Config, kept: Mapping[str, str]) -> str:
    """Which secret is meant if no option says so: the mail server's, of the kind that is stored,
    else of the kind that the configuration suggests."""
    for name in (TOKEN, PASSWORD):
        if name in kept:
            return name
    has_tokens = config.jmap.username is None or config.jmap.url == FASTMAIL_SESSION
    return TOKEN if has_tokens else PASSWORD


def try_handed(asked: Installation, name: str, handed: Taker) -> int:
    """The trial itself, run as the service is."""
    return try_out(Secret(name, load_of(asked)), Trying(**json.loads(handed.read(SECRETS))))


def try_out(secret: Secret, trying: Trying) -> int:
    """Log in with the secret, and tell what the account can do. Raises CredentialsRefused."""
    console = output()
    config = secret.config
    given = dict(trying.secrets)
    if secret.name == PASSWORD:
        given.pop(TOKEN, None)  # it would be used instead
    if secret.name == CARDDAV:
        config = replace(config, contacts=ContactsWay("carddav"))
    who = logins(config, load_credentials(variables(given)))
    context = context_for(config, replace(who, is_shared=trying.is_shared))
    try:
        if secret.name == CARDDAV:
            tick(console, Finding("address book", context.run(context.clients.contacts.describe())))
            return 0
        for finding in findings(context.run(abilities(context.loop, config, context.clients))):
            tick(console, finding)
    except CredentialsRefused as error:
        told = f"{secret.server} refuses this {secret}: nothing is stored"
        raise CredentialsRefused(told) from error
    finally:
        context.loop.close()
    return 0


def _asked_for(secret: Secret) -> str:
    """What is typed, without showing it; if stdin is not a terminal, all of it."""
    if not sys.stdin.isatty():
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    kind = str(secret)
    return getpass.getpass(f"{kind[:1].upper()}{kind[1:]} at {secret.server} (nothing is shown): ")


def _tried(asked: Installation, options: SimpleNamespace, secret: Secret, trying: Trying) -> int:
    if not (asked.is_system and asked.unit and is_unit(asked.unit)):
        return try_out(secret, trying)
    files = files_for(options, asked)
    files[SECRETS] = partial(holding, json.dumps(asdict(trying)))
    arguments = [*options.arguments]
    if asked.member and options.account is None:
        arguments += ["--account", asked.member]
    if options.secret is None:
        arguments.append(_OPTIONS[secret.name])
    return run_confined(asked.unit, arguments, files, os.environ, has_secrets=False)


def _keep(console: Console, asked: Installation, name: str, secret: str) -> None:
    done = store(asked, name, secret)
    how = "encrypted for this host" if done.is_encrypted else "readable by its owner alone"
    tick(console, Finding("secret", f"stored, {how}: {done.path}"))
    if name == PASSWORD:
        for path in remove(asked, TOKEN):
            tick(console, Finding("secret", f"{path} removed: a token would be used instead"))


def _restart(console: Console, asked: Installation) -> None:
    if asked.shard or is_drained(asked):
        _restart_shards(console, asked)
    elif asked.unit is None:
        return
    elif Manager(asked, os.environ).renew():
        tick(console, Finding("service", f"{asked.unit} was restarted and uses it"))
    else:
        how = f"{' '.join(asked.systemctl)} start {asked.unit}"
        tick(console, Finding("service", f"it does not run: {how}", is_doubtful=True))


def _restart_shards(console: Console, asked: Installation) -> None:
    """Restart those that run here and use the secret. Others are for the cluster to start."""
    for service in services_here():
        if asked.member is None or (service.shard and service.shard.has(asked.member)):
            Manager(service, os.environ).renew()
            tick(console, Finding("service", f"{service.unit} was restarted and uses it"))
    of_one = f"shard {asked.shard}" if asked.shard else "its shard"
    which = of_one if asked.member else "a shard"
    told = f"it is only on this host: repeat this on every other host that may run {which}"
    tick(console, Finding("hosts", told, is_doubtful=True))
