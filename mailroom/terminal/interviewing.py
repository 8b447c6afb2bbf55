"""Holds the interview of ``mailroom init``: asks the questions, and finds out what it can in
between. :mod:`mailroom.rules.account.interview` decides the order.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from rich.console import Console

from mailroom.engine.cafile import fault_of_ca_file
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.credentials import (
    fault_of_secret,
    load_credentials,
    logins,
    replaced,
    variables,
)
from mailroom.engine.loop import Loop
from mailroom.engine.names import ask_about
from mailroom.engine.transfer import Http, Transfer
from mailroom.errors import CredentialsRefused, LastingTrouble, UsageError
from mailroom.rules.account import interview, questions
from mailroom.rules.account.autodiscovery import candidates, has_path, why_none
from mailroom.rules.account.interview import MOST_REFUSALS, Action, next_move
from mailroom.rules.account.proposal import configuration, credentials
from mailroom.rules.account.questions import Abilities, Knowledge, Question, Topic
from mailroom.rules.configuration.config import Config, Tls
from mailroom.rules.configuration.servers import session_url
from mailroom.rules.configuration.text import parse
from mailroom.service import USER_AGENT
from mailroom.terminal.asking import Asking, absolute
from mailroom.terminal.context import Context, context_for
from mailroom.terminal.screen import plain, tick
from mailroom.wire.urls import without_query
from mailroom.work.setup.abilities import abilities, taken
from mailroom.work.setup.autodiscovery import first_of, look_at
from mailroom.work.setup.check import Finding

T = TypeVar("T")


class Interview:
    """``config`` is the existing configuration, if any: then only secrets are asked for that are
    not stored yet. ``is_system``: the service is the system's."""

    def __init__(
        self,
        console: Console,
        asking: Asking,
        config: Config | None,
        secrets: Mapping[str, str],
        *,
        is_system: bool,
    ) -> None:
        self._is_system = is_system
        self._secrets = secrets
        self._console = console
        self._asking = asking
        self._config = config
        self._actions: dict[Action, Callable[[Knowledge], Knowledge]] = {
            Action.DISCOVER: self._discover,
            Action.PROBE: self._probe,
            Action.TRY: self._try,
            Action.LOOK: self._look,
        }

    def hold(self, known: Knowledge) -> Knowledge:
        """Ask and look until everything is known. Raises UsageError if an answer is missing and
        nobody can be asked, and any error that no other answer can correct."""
        if self._asking.has(Topic.CA_FILE) and not known.is_configured:
            known = self._ask(known, questions.which_ca_file(known))
        while (move := next_move(known)) is not None:
            if isinstance(move, Question):
                known = self._ask(known, move)
            else:
                known = self._actions[move](known)
        return known

    def _ask(self, known: Knowledge, question: Question) -> Knowledge:
        while True:
            answer = self._asking.answer(question)
            try:
                if question.topic is Topic.CA_FILE:
                    answer = self._ca_file(answer)
                if question.is_secret:
                    _check_secret(question, answer)
                return interview.accept(known, question, answer)
            except ValueError as error:
                self._mend(UsageError(f"{question.option}: {error}"), str(error))

    def _ca_file(self, answer: str) -> str:
        """The file's absolute path. Raises ValueError that says what is wrong with the file."""
        if answer in ("", questions.NO_CA_FILE):
            return answer
        path = absolute(answer)
        if fault := fault_of_ca_file(path, is_system=self._is_system):
            raise ValueError(f"{path} {fault}")
        return path

    def _mend(self, error: Exception, told: str) -> None:
        """Say what is wrong, for a new answer; raise the error if nobody can be asked."""
        if not self._asking.may_ask:
            raise error
        self._console.print(f"[red]✗[/] {plain(told)}")

    def _discover(self, known: Knowledge) -> Knowledge:
        if self._asking.has(Topic.SERVER):
            return replace(known, is_discovered=True)
        domain = known.domain
        self._console.print(f"\nLooking for the mail server of {plain(domain)} …")
        names = ask_about(domain)
        if names.is_unknown and known.address != known.address_guess:
            told = f"there is no domain {domain}: is the address right?"
            self._mend(UsageError(f"--address: {told}"), told)
            return replace(known, address=None, address_guess=known.address)
        with _web(known) as (loop, http):
            found = _run(loop, first_of(loop, http, candidates(domain, names)))
        none_found = "" if found else why_none(domain, names)
        return replace(known, is_discovered=True, found=found, none_found=none_found)

    def _probe(self, known: Knowledge) -> Knowledge:
        assert known.server is not None
        with _web(known) as (loop, http):
            seen = _run(loop, look_at(loop, http, session_url(known.server)))
        if seen.fault and not seen.is_untrusted:
            told = f"no JMAP server at {without_query(known.server)}: {seen.fault}"
            if has_path(known.server):
                told += ": check the path, or give the host alone"
            self._mend(LastingTrouble(f"{told} (--server)"), told)
        return interview.probed(known, seen)

    def _try(self, known: Knowledge) -> Knowledge:
        self._console.print("\nLogging in, and looking at what the account can do …")
        try:
            with self._context(known) as context:
                able = context.run(abilities(context.loop, context.config, context.clients))
        except CredentialsRefused as error:
            told = questions.refusal(known)
            if known.refusals >= MOST_REFUSALS:
                raise
            self._mend(CredentialsRefused(f"{told}: {error}"), told)
            return interview.refused(known)
        for finding in findings(able):
            tick(self._console, finding)
        known = interview.tried(known, able)
        if not able.contacts and known.refusals >= MOST_REFUSALS:
            raise LastingTrouble(able.no_contacts)
        return known

    def _look(self, known: Knowledge) -> Knowledge:
        with self._context(known) as context:
            return replace(
                known, taken=context.run(taken(context.loop, context.config, context.clients))
            )

    @contextmanager
    def _context(self, known: Knowledge) -> Iterator[Context]:
        """The account as it would be configured now. Raises ConfigurationError for a secret that is
        malformed."""
        config = self._config or parse(configuration(known), "the configuration")
        given = load_credentials(variables(replaced(self._secrets, credentials(known))))
        context = context_for(config, logins(config, given))
        try:
            yield context
        finally:
            context.loop.close()


def findings(able: Abilities) -> Iterator[Finding]:
    """What the account can do, in words."""
    yield Finding("mail", f"{able.mail}; a mail can be in several mailboxes, so labels work")
    if able.contacts:
        yield Finding("contacts", able.contacts)
    else:
        yield Finding("contacts", able.no_contacts, is_doubtful=True)
    if able.no_push:
        told = f"{able.no_push}: what you do is seen within a minute, instead of at once"
        yield Finding("push", told, is_doubtful=True)
    else:
        yield Finding("push", "the server reports at once what you do")
    if able.no_rules:
        told = f"{able.no_rules}: Mailroom can sort new mail itself"
        yield Finding("rules for new mail", told, is_doubtful=True)
    else:
        yield Finding("rules for new mail", "the server takes them (Sieve by JMAP)")


def _check_secret(question: Question, answer: str) -> None:
    """Raises ValueError if it cannot be a secret: a key such as an arrow was typed, or the file
    has several lines."""
    name = "jmap-token" if question.topic is Topic.TOKEN else "jmap-password"
    if fault := fault_of_secret(name, answer):
        raise ValueError(f"this secret {fault}")


@contextmanager
def _web(known: Knowledge) -> Iterator[tuple[Loop, Http]]:
    """HTTP without credentials."""
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, USER_AGENT, Tls(known.ca_file))
    try:
        yield loop, transfer
    finally:
        transfer.close()
        loop.close()


def _run(loop: Loop, coroutine: Coroutine[Any, Any, T]) -> T:
    task = loop.spawn(coroutine, "init")
    while not task.done:
        loop.turn()
    return task.result()
