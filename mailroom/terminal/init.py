"""``mailroom init``: the first evening in one command.

It looks at what is there, asks for what is missing, says what it will do, does it, and tests it.
When interrupted it says what is there; the next run finds that by itself and continues.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailroom.engine.configfile import load
from mailroom.engine.configwrite import write_configuration
from mailroom.engine.credentials import (
    PASSWORD,
    SECRETS,
    TOKEN,
    load_credentials,
    logins,
    replaced,
    variables,
)
from mailroom.engine.credstore import remove, store, stored
from mailroom.engine.manager import Manager
from mailroom.engine.unit import Installation
from mailroom.errors import ConfigurationError, CredentialsRefused, LastingTrouble, MailroomError
from mailroom.rules.account import proposal, questions
from mailroom.rules.account.questions import Knowledge
from mailroom.rules.account.steps import Inventory, Step, agreed, remaining
from mailroom.rules.configuration.config import Config
from mailroom.terminal.asking import Asking
from mailroom.terminal.context import context_for
from mailroom.terminal.harmless import harmless
from mailroom.terminal.interviewing import Interview
from mailroom.terminal.live import show_live
from mailroom.terminal.remote import Remote
from mailroom.terminal.screen import output
from mailroom.terminal.setup import show_setup
from mailroom.work.setup.completeness import Completeness, completeness

#: With ``--check``: something is left to do.
EXIT_WOULD_CHANGE = 3
_INTERRUPTED = 130


def show_init(
    installation: Installation, environ: Mapping[str, str], asking: Asking, *, is_check: bool
) -> int:
    """Do what is left of setting the installation up; with ``is_check``, only say what is left."""
    evening = _Evening(installation, environ, asking)
    if obstacle := evening.manager.obstacle():
        raise LastingTrouble(obstacle)
    try:
        return evening.check() if is_check else evening.set_up()
    except (KeyboardInterrupt, EOFError):
        evening.tell("", "Interrupted.")
        evening.tell_what_is_there()
        return _INTERRUPTED
    except MailroomError:
        evening.tell_what_is_there()
        raise


@dataclass(frozen=True, slots=True)
class _There:
    """What exists on this machine and in the account."""

    progress: Inventory
    config: Config | None
    secrets: Mapping[str, str]


class _Evening:
    """One run of ``mailroom init``."""

    def __init__(
        self, installation: Installation, environ: Mapping[str, str], asking: Asking
    ) -> None:
        self.manager = Manager(installation, environ)
        self._installation = installation
        self._environ = environ
        self._asking = asking
        self._console = output()
        self._told_last = ""  # of what is there

    def check(self) -> int:
        """Say what is left, and change nothing."""
        there = self._look()
        left = remaining(there.progress)
        self.tell(*(f"would {step}" for step in left))
        self.tell(*(f"in the way: {each}" for each in there.progress.obstacles))
        if not left:
            self.tell(questions.WHOLE)
        return EXIT_WOULD_CHANGE if left else 0

    def set_up(self) -> int:
        """Do all that is left, from the questions to the test mail."""
        there = self._look()
        left = remaining(there.progress)
        if not left:
            self.tell(questions.WHOLE)
            self._tell_more(there.config)
            return 0
        self.tell_what_is_there()
        known = self._interview(there) if {Step.CONFIGURATION, Step.SECRET} & set(left) else None
        if known and not known.is_configured:
            left = agreed(left, known.screening)
        if not self._is_agreed(left, known):
            self.tell("Nothing has been changed.")
            return 1
        secrets = replaced(there.secrets, self._keep(left, known) if known else {})
        self._set_up(secrets, rules=Step.RULES in left)
        self._start()
        return self._prove(secrets)

    # What is there

    def _look(self) -> _There:
        """Raises ConfigurationError if the existing file is faulty, LastingTrouble if we may not
        look for it, and TransientError."""
        is_there = _is_there(self._installation.config)
        config = load(self._installation.config) if is_there else None
        if config:
            self._tell_differences(config)
        secrets = stored(self._installation)
        progress = Inventory(
            has_configuration=is_there,
            has_secret=False,
            is_enabled=self.manager.is_enabled,
            is_active=self.manager.is_active,
        )
        if config is None:
            return _There(progress, None, secrets)
        try:
            account = self._account(config, secrets)
        except CredentialsRefused as error:
            self.tell(f"The stored secret is refused: {error}")
            return _There(progress, config, {})
        except ConfigurationError:
            return _There(progress, config, secrets)  # one is missing
        progress = replace(
            progress,
            has_secret=True,
            missing=account.missing,
            obstacles=account.obstacles,
            has_rules=account.has_rules,
        )
        return _There(progress, config, secrets)

    def _tell_differences(self, config: Config) -> None:
        found = list(proposal.differences(config, self._asking.given))
        if found:
            self.tell(f"{self._installation.config} is there and stays as it is:", *found)

    def _account(self, config: Config, secrets: Mapping[str, str]) -> Completeness:
        context = context_for(config, logins(config, load_credentials(variables(secrets))))
        try:
            return context.run(completeness(context.loop, context.config, context.clients))
        finally:
            context.loop.close()

    def tell_what_is_there(self) -> None:
        """Say what exists: from before, or from an interrupted run."""
        made = [f"the configuration {self._installation.config}"]
        made = made if os.path.exists(self._installation.config) else []
        made += [f"the secret {name}" for name in SECRETS if self._has(name)]
        made += ["the running service"] if self.manager.is_active else []
        told = f"Already there: {', '.join(made)}. `mailroom init` continues from there."
        if made and told != self._told_last:
            self.tell(told)
            self._told_last = told

    def _has(self, name: str) -> bool:
        files = self._installation.secret_file(name), self._installation.encrypted_file(name)
        return any(map(os.path.exists, files))

    # The interview

    def _interview(self, there: _There) -> Knowledge:
        is_system = self._installation.is_system
        interview = Interview(
            self._console, self._asking, there.config, there.secrets, is_system=is_system
        )
        return interview.hold(self._beginning(there.config))

    def _beginning(self, config: Config | None) -> Knowledge:
        """What is known without asking."""
        login = self._asking.login
        if config is None:
            return Knowledge(address_guess=self._environ.get("EMAIL"), login=login)
        return proposal.known_from(config, login)

    def _is_agreed(self, left: Sequence[Step], known: Knowledge | None) -> bool:
        """Say what will be done, and ask whether to do it."""
        self.tell("", "This will be done now:")
        for step in left:
            self.tell(f"  {step}{self._where(step)}")
        if known and Step.CONFIGURATION in left:
            text = proposal.configuration(known)
            self.tell("", *(f"    {line}".rstrip() for line in text.splitlines()))
        return not self._asking.may_ask or self._asking.agrees(questions.go_on())

    def _where(self, step: Step) -> str:
        match step:
            case Step.CONFIGURATION:
                return f" ({self._installation.config})"
            case Step.SECRET:
                return f" ({self._installation.secrets})"
            case Step.SERVICE:
                return f" ({' '.join(self._installation.systemctl)} … {self._installation.unit})"
            case _:
                return ""

    # The steps

    def _keep(self, left: Sequence[Step], known: Knowledge) -> Mapping[str, str]:
        """Write the configuration, then the secrets, the mail server's last: if that exists, all
        exist."""
        if Step.CONFIGURATION in left:
            text = proposal.configuration(known)
            write_configuration(self._installation.config, text)
            self.tell(f"configuration: {self._installation.config}")
        secrets = proposal.credentials(known)
        for name in sorted(secrets):
            kept = store(self._installation, name, secrets[name])
            how = " (encrypted: only this host can read it)" if kept.is_encrypted else ""
            self.tell(f"secret: {kept.path}{how}")
        if PASSWORD in secrets:
            for path in remove(self._installation, TOKEN):
                self.tell(f"removed: {path}: the token would be used instead of the password")
        return secrets

    def _set_up(self, secrets: Mapping[str, str], *, rules: bool) -> None:
        """Raises LastingTrouble if some of it cannot be made."""
        self.tell("", "Setting up the account:")
        environ = {**self._environ, **variables(secrets)}
        show_setup(self._installation, environ, apply=True, rules=rules, lets_in=False)
        account = self._account(load(self._installation.config), secrets)
        if account.obstacles or account.missing:
            lacking = [f"{name} is missing" for name in account.missing]
            raise LastingTrouble("; ".join([*account.obstacles, *lacking]))
        if not (rules or account.has_rules):  # rules from an earlier time have to go
            self._set_up(secrets, rules=True)

    def _start(self) -> None:
        self.tell("", "Starting the service …")
        self.manager.start()
        self.tell(f"{self._installation.unit}: running, and enabled")

    def _prove(self, secrets: Mapping[str, str]) -> int:
        """Triage a sender that does not exist, from tap to end."""
        self.tell("", "Trying it with a test mail, which is removed afterwards:")
        remote = Remote.of(self._installation)
        environ = {**self._environ, **variables(secrets)}
        code = show_live(self._installation, environ, remote.status, None)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        if code == 0:
            self.tell("All is well.")
        self._tell_more(load(self._installation.config))
        return code

    # What is said

    def tell(self, *lines: str) -> None:
        for line in lines:
            self._console.print(harmless(line), markup=False)

    def _tell_more(self, config: Config | None) -> None:
        """What the user may want to do now."""
        assert config is not None
        self.tell(*questions.afterwards(config))
        caller = self._environ.get("SUDO_USER")
        if self._installation.is_system and caller:
            self.tell(*questions.without_sudo(caller))
        if not self._installation.is_system and not self.manager.lingers():
            self.tell(*questions.LINGER)


def _is_there(path: Path) -> bool:
    """Whether it exists. Raises LastingTrouble if we may not know."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LastingTrouble(
            f"cannot look for {path}: {error.strerror}; check the folder, and whose it is"
        ) from error
    return True
