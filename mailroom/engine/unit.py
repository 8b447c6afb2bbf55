"""Which Mailroom a command is about: its unit, its configuration, its sockets, its secrets.

A host may have the system service, its instances (one account each), and a service of each user.
The system service and a user's may have many accounts, each with a file in a folder beside the
configuration. ``--account``, ``--config`` or ``--socket`` name what a command is about; without
them it looks for what is there. This module, and only this one, knows where things are.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from mailroom.engine.accountfolder import DEFAULTS, account_file, account_names
from mailroom.errors import ConfigurationError, MailroomError, UsageError
from mailroom.rules.configuration.shard import Shard

# User=mailroom-%i has to be a user name, which has at most 31 characters (systemd.exec(5)).
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,22}")
# Because of the groups mailroom-status and mailroom-control, systemd makes no dynamic user that is
# called so.
_TAKEN = ("status", "control")
# The word that tells Mailroom to run a command as the unit would; not a command for users.
AS_UNIT = "as-unit"
# Below /run, or the user's runtime folder: has a folder for each shard.
SHARDS = "mailroom-shard"
_STATUS = "status.sock"
_CONTROL = "control.sock"


@dataclass(frozen=True, slots=True)
class Installation:
    """One Mailroom of a host. None of its files has to exist.

    ``unit`` is the unit's name without its suffix, None if it was started by hand. ``account`` is
    the instance's name, None for the service without one. ``member`` is the one of its many
    accounts that a command is about, ``shard`` the part of them that it has. ``secrets`` is the
    folder with a file for each secret. ``looked_at``: if no configuration was named and none
    found, the files that were looked for. ``is_config_elsewhere``: a file at another place is used
    with it. ``content`` and ``member_content``: the text of the configuration and of the account's
    own file, if the caller has read them.
    """

    is_system: bool
    account: str | None
    unit: str | None
    config: Path
    status_socket: Path
    control_socket: Path
    secrets: Path
    looked_at: tuple[Path, ...] = ()
    is_config_elsewhere: bool = False
    content: str | None = None
    member: str | None = None
    shard: Shard | None = None
    member_content: str | None = None

    @property
    def file(self) -> Path:
        """The file that says most about the account: its own, else the configuration."""
        return self.config if self.member is None else account_file(self.config, self.member)

    def existing_config(self) -> Path:
        """The configuration file. Raises ConfigurationError if none was named and none found."""
        if self.looked_at:
            looked = " or ".join(map(str, self.looked_at))
            raise ConfigurationError(
                [
                    f"no configuration file at {looked}; mailroom init makes one, --config names "
                    "another"
                ]
            )
        return self.config

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command for the manager of its unit."""
        return ("systemctl",) if self.is_system else ("systemctl", "--user")

    def credential(self, name: str) -> str:
        """The name of a secret's file (of ``jmap-token``) in :attr:`secrets`."""
        if not self.is_system:
            return name
        return ".".join(["mailroom", *([self.account] if self.account else []), name])

    def secret_file(self, name: str) -> Path:
        """The file of a secret."""
        return self.secrets / self.credential(name)

    def encrypted_file(self, name: str) -> Path:
        """The file of a secret that is encrypted for this host. (A user has none.)

        It needs another name than the plain one: systemd would look for the plain one's name here,
        too (seen: systemd 252 and 257).
        """
        return Path(f"{self.secrets}.encrypted", f"{self.credential(name)}.encrypted")

    def look_up(self) -> str:
        """Where to see what the service does."""
        return f"see {self._systemctl('status')}" if self.unit else "see its log"

    def start_command(self) -> str:
        """How to start the service, if it has a unit."""
        return self._systemctl("start")

    def stop_command(self) -> str:
        """How to stop the service and keep it down."""
        if self.unit is None:
            return "Ctrl+C where it runs"
        if self.is_system and self.shard is None:
            return f"systemctl stop {self.unit}.socket {self.unit}.service"
        return self._systemctl("stop")

    def _systemctl(self, verb: str) -> str:
        return " ".join([*self.systemctl, verb, self.unit or ""])


def find(
    environ: Mapping[str, str],
    *,
    account: str | None = None,
    config: str | os.PathLike[str] | None = None,
    socket: Path | None = None,
    euid: int | None = None,
    root: Path = Path("/"),
) -> Installation:
    """The installation that the options name; without options, the user's own before the system's.

    ``$MAILROOM_CONFIG`` counts as ``--config``. A named file or socket is used whether it exists or
    not: falling back to another account's would be worse than failing. If no installation keeps its
    files there, it is used with the installation that is found without it. An ``account`` is one of
    many if a service has many; it is an instance only if nothing but the instance has its file.
    Raises :class:`MailroomError` for a name that no account can have.
    """
    places = _Places(environ, os.geteuid() if euid is None else euid, root)
    named = config or environ.get("MAILROOM_CONFIG")
    file = Path(named) if named else None
    found = (
        (places.of_socket(socket) if socket else None)
        or (places.of_config(file) if file else None)
        or places.first_found()
    )
    if account is not None:
        found = places.with_account(found, account, file, socket)
    is_by_hand = socket is not None and places.of_socket(socket) is None
    status = socket or found.status_socket
    return replace(
        found,
        unit=None if is_by_hand else found.unit,
        config=file or found.config,
        status_socket=status,
        control_socket=status.with_name(_CONTROL),
        is_config_elsewhere=file is not None and places.of_config(file) is None,
        looked_at=() if file or _is_there(found.config) else found.looked_at,
    )


def to_set_up(
    environ: Mapping[str, str],
    *,
    account: str | None = None,
    config: str | os.PathLike[str] | None = None,
    euid: int | None = None,
    root: Path = Path("/"),
) -> Installation:
    """The installation to set up, which does not have to exist yet: an instance if an ``account``
    is named, else root's is the system service and everybody else's their own. A ``config``, or
    ``$MAILROOM_CONFIG``, names the installation whose unit reads it. Raises :class:`UsageError` if
    no unit would, and :class:`MailroomError` as :func:`find` does."""
    user = os.geteuid() if euid is None else euid
    places = _Places(environ, user, root)
    found = places.system() if user == 0 or account is not None else places.user()
    if account is not None:
        found = places.with_account(found, account, None, None)
    option = "--config" if config else "$MAILROOM_CONFIG"
    config = config or environ.get("MAILROOM_CONFIG")
    if not config:
        return found
    named = places.of_config(Path(config))
    if named is None or (account is not None and named.file != found.file):
        wanted = found.file if account is not None else found.config
        raise UsageError(
            f"cannot set up {config}: the service that would be started reads {wanted}; leave "
            f"{option} out, or write the file by hand and try it with mailroom check --config"
        )
    return named


def behind(socket: Path) -> Installation:
    """The installation whose status socket this is."""
    return find({}, socket=socket)


def as_shard(system: Installation, shard: Shard, root: Path = Path("/")) -> Installation:
    """The same with only this shard of its accounts, as a unit and with sockets of its own."""
    folder = root / "run" / SHARDS / shard.instance
    return replace(
        system,
        shard=shard,
        unit=f"mailroom-shard@{shard.instance}",
        status_socket=folder / _STATUS,
        control_socket=folder / _CONTROL,
    )


def of_this_host(root: Path = Path("/")) -> list[Installation]:
    """The system services whose status sockets exist, ``mailroom.service`` first."""
    places = _Places({}, 0, root)
    found = sorted((root / "run/mailroom").glob(f"*/{_STATUS}"))
    accounts = [path.parent.name for path in found if _ACCOUNT.fullmatch(path.parent.name)]
    services = [places.system(), *map(places.system, accounts)]
    return [service for service in services if _is_there(service.status_socket)]


def checked_account(name: str) -> str:
    """The name of an instance. Raises :class:`MailroomError` if no instance can have that name."""
    if not _ACCOUNT.fullmatch(name):
        raise MailroomError(
            f"{name!r} cannot be an account's name: it may have at most 22 letters, digits, - and _"
        )
    if name in _TAKEN:
        raise MailroomError(
            f"{name!r} cannot be an account's name: its instance would run as the user"
            f" mailroom-{name}, and there is a group of that name"
        )
    return name


def _checked_member(name: str) -> str:
    from mailroom.rules.configuration.fleet import is_name  # noqa: PLC0415 - few commands need it

    if not is_name(name):
        raise MailroomError(
            f"{name!r} cannot be an account's name: it may have at most 64 letters, digits and"
            " @ . _ + -"
        )
    return name


def usual_sockets(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where services listen if no socket is named: a new one at the first of these places."""
    system = Path("/run/mailroom", _STATUS)
    runtime = _runtime_folder(environ)
    return (runtime / "mailroom" / _STATUS, system) if runtime else (system,)


def option(environ: Mapping[str, str], config: Path) -> str:
    """The option with which a command finds the file again: ``--account``, ``--config`` or
    nothing."""
    places = _Places(environ, os.geteuid(), Path("/"))
    found = places.of_config(config)
    if found is None:
        return f"--config {quote(str(config))}"
    return f"--account {found.account}" if found.account else ""


class _Places:
    """Where things are on this host, for this user."""

    def __init__(self, environ: Mapping[str, str], euid: int, root: Path) -> None:
        self._environ = environ
        self._euid = euid
        self._root = root
        self._etc = root / "etc/mailroom"
        self._run = root / "run"
        self._credstore = root / "etc/credstore"

    def with_account(
        self, found: Installation, account: str, file: Path | None, socket: Path | None
    ) -> Installation:
        """The one that has this account among many: ``found`` or the system's; else the instance.

        If nobody has a file of that name, the one with many accounts will report which it has.
        """
        is_by_hand = socket is not None and self.of_socket(socket) is None
        is_named = is_by_hand or file is not None
        candidates = [found] if is_named else [found, self.system()]
        configs = [file or each.config for each in candidates]
        names = list(map(account_names, configs))
        having = [
            each
            for each, config in zip(candidates, configs, strict=True)
            if config.name == DEFAULTS and _is_there(account_file(config, account))
        ]
        instance = self.system(account)
        if not having and not (_ACCOUNT.fullmatch(account) and _is_there(instance.config)):
            having = [each for each, theirs in zip(candidates, names, strict=True) if theirs]
            having += [found] if is_by_hand else []
        if having:
            return replace(having[0], member=_checked_member(account))
        checked_account(account)
        return instance

    def of_socket(self, path: Path) -> Installation | None:
        """Whose status or control socket this is, judged by its path."""
        if path.name not in (_STATUS, _CONTROL):
            return None
        match path.parts[len(self._run.parts) :] if path.is_relative_to(self._run) else ():
            case ("mailroom", _):
                return self.system()
            case ("mailroom", account, _) if _ACCOUNT.fullmatch(account):
                return self.system(account)
            case ("user", _, "mailroom", _):
                return self.user()
            case ("mailroom-shard", instance, _) if shard := Shard.of_instance(instance):
                return as_shard(self.system(), shard, self._root)
            case _:
                return None

    def of_config(self, path: Path) -> Installation | None:
        """Whose configuration this is, judged by its path."""
        path = Path(os.path.abspath(path))
        if path in self._user_files():
            return self.user()
        if path.parent != self._etc or path.suffix != ".yaml":
            return None
        if path.name == DEFAULTS:
            return self.system()
        return self.system(path.stem) if _ACCOUNT.fullmatch(path.stem) else None

    def first_found(self) -> Installation:
        """If nothing is named: the first with a configuration, and the first existing socket."""
        files = self._user_files()
        looked_at = (*files, self._etc / DEFAULTS)
        system, user = self.system(), self.user()
        is_system = not any(map(_is_there, files)) and (
            _is_there(system.config) or self._euid == 0 or not files
        )
        found = system if is_system else user
        sockets = (user.status_socket, system.status_socket, found.status_socket)
        status = next((path for path in sockets if _is_there(path)), found.status_socket)
        return replace(found, status_socket=status, looked_at=looked_at)

    def system(self, account: str | None = None) -> Installation:
        folder = self._run / "mailroom" / (account or "")
        return Installation(
            is_system=True,
            account=account,
            unit=f"mailroom@{account}" if account else "mailroom",
            config=self._etc / (f"{account}.yaml" if account else DEFAULTS),
            status_socket=folder / _STATUS,
            control_socket=folder / _CONTROL,
            secrets=self._credstore,
        )

    def user(self) -> Installation:
        runtime = _runtime_folder(self._environ) or self._run / f"user/{self._euid}"
        config = next(iter(self._user_files()), self._etc / DEFAULTS)
        return Installation(
            is_system=False,
            account=None,
            unit="mailroom",
            config=config,
            status_socket=runtime / "mailroom" / _STATUS,
            control_socket=runtime / "mailroom" / _CONTROL,
            secrets=config.parent,
        )

    def _user_files(self) -> list[Path]:
        """The user's file by the XDG base directory specification; none without a home."""
        base = self._environ.get("XDG_CONFIG_HOME", "")
        if not base.startswith("/"):  # the specification says to ignore relative ones
            home = self._environ.get("HOME", "")
            base = f"{home}/.config" if home.startswith("/") else ""
        return [Path(base, "mailroom", DEFAULTS)] if base else []


def _is_there(path: Path) -> bool:
    """Also False where we may not look, such as in /run/user from a service's sandbox."""
    return os.path.exists(path)


def _runtime_folder(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_RUNTIME_DIR``, unless it is relative (XDG base directory specification)."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) if runtime.startswith("/") else None
