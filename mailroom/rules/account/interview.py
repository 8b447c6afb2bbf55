"""The order of the questions of ``mailroom init``: what to ask or to find out next, given what is
known.

Nothing here asks or looks: :func:`next_move` returns a question, or an action that has to find
something out, and :func:`accept` takes an answer in.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from mailroom.rules.account import questions
from mailroom.rules.account.autodiscovery import Seen, domain_of, needs_confirmation, short
from mailroom.rules.account.questions import (
    FEWER,
    NO_CA_FILE,
    Abilities,
    Knowledge,
    Login,
    Question,
    Topic,
)
from mailroom.rules.configuration.categories import DEFAULT_CATEGORIES
from mailroom.rules.configuration.servers import FASTMAIL_SESSION, fault_of_url, session_url
from mailroom.rules.names import normal_name

# After this many refusals the user has to look something up.
MOST_REFUSALS = 5


class Action(StrEnum):
    """What has to be found out before the next question."""

    DISCOVER = "look for the server of the address"
    PROBE = "look at the server"
    TRY = "log in"
    LOOK = "look at the mailboxes"


Move = Question | Action | None


def next_move(known: Knowledge) -> Move:
    """What to ask or find out next; None once everything is known."""
    stages = (_about_server, _about_login, _about_contacts, _about_mailroom)
    return next((move for stage in stages if (move := stage(known))), None)


def accept(known: Knowledge, question: Question, answer: str) -> Knowledge:
    """What is known with the answer. Raises ValueError, which says what is wrong with it."""
    answer = answer if question.is_secret else answer.strip()
    if not answer:
        raise ValueError("an answer is needed here")
    if question.choices:
        answer = _chosen(answer, question.choices)
    return _TAKING[question.topic](known, question, answer)


def refused(known: Knowledge) -> Knowledge:
    """What is still known after the server has refused user and secret."""
    return replace(
        known,
        username=known.username if known.is_configured else None,
        former_username=known.username,
        secret=None,
        refusals=known.refusals + 1,
    )


def probed(known: Knowledge, seen: Seen) -> Knowledge:
    """What is known after a look at the server that the user named. If it is not a JMAP server, the
    user has to name another."""
    if seen.is_untrusted:
        return replace(known, is_untrusted=True)
    if seen.fault:
        return replace(known, server=None, found=None, none_found="")
    is_strange = needs_confirmation(seen.url, known.domain, known.server)
    return replace(known, seen=seen, is_trusted=not is_strange)


def tried(known: Knowledge, abilities: Abilities) -> Knowledge:
    """What is known after a log-in. If the contacts were not where the user said, the user is
    asked again."""
    known = replace(known, abilities=abilities)
    if abilities.contacts or known.contacts_secret is None:
        return known
    is_place_right = abilities.is_contacts_refused or known.is_configured
    return replace(
        known,
        contacts_server=known.contacts_server if is_place_right else None,
        contacts_username=known.contacts_username if known.is_configured else None,
        contacts_secret=None,
        refusals=known.refusals + 1,
    )


# The stages


def _about_server(known: Knowledge) -> Move:
    if known.address is None:
        return questions.which_address(known)
    if known.server is None:
        return questions.which_server(known) if known.is_discovered else Action.DISCOVER
    if known.is_untrusted:
        return questions.which_ca_file(known)
    if known.seen is None:
        return Action.PROBE
    return None if known.is_trusted else questions.trust(known, known.seen.url, "it leads there")


def _about_login(known: Knowledge) -> Move:
    login = _login(known)
    if login is None:
        return questions.which_login()
    if login == "password" and known.username is None:
        return questions.username(known)
    if known.secret is None:
        return questions.secret(known, login)
    return Action.TRY if known.abilities is None else None


def _login(known: Knowledge) -> Login | None:
    """How to log in, if it need not be asked."""
    if known.login is not None:
        return known.login
    assert known.seen is not None
    schemes = known.seen.schemes
    if known.seen.url == FASTMAIL_SESSION or schemes == {"bearer"}:
        return "token"
    return "password" if schemes and "bearer" not in schemes else None


def _about_contacts(known: Knowledge) -> Move:
    assert known.abilities is not None
    if known.abilities.contacts:
        return None
    if known.contacts_server is None:
        return questions.which_contacts_server(known, known.abilities.no_contacts)
    if known.contacts_username is None:
        return questions.contacts_username(known)
    return questions.contacts_password() if known.contacts_secret is None else Action.TRY


def _about_mailroom(known: Knowledge) -> Move:
    if known.categories is None:
        return questions.which_categories()
    if known.taken is None:
        return Action.LOOK
    for taken in known.taken:
        if taken.name not in known.mailboxes:
            return questions.mailbox(taken)
    return questions.screening(known) if known.screening is None else None


# Answers


def _chosen(answer: str, choices: tuple[str, ...]) -> str:
    """The choice meant; its first letters are enough."""
    meant = [each for each in choices if each.startswith(answer.lower())]
    if len(meant) != 1:
        raise ValueError(f"{answer!r} is not one of {', '.join(choices)}")
    return meant[0]


def _with_address(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    domain_of(answer)
    return replace(known, address=answer)


def _with_trust(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    if answer != "yes":
        return replace(known, found=None, none_found="", server=None, seen=None)
    if known.server is None and known.found is not None:
        seen = known.found[1]
        return replace(known, server=short(seen.url), **_looked_at(seen))
    return replace(known, is_trusted=True)


def _looked_at(seen: Seen) -> dict[str, Any]:
    """A server that discovery found and the user accepted. It is probed again if its certificate
    was not trusted."""
    return {"seen": None if seen.is_untrusted else seen, "is_trusted": True}


def _with_ca_file(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    if answer == NO_CA_FILE:
        return replace(known, found=None, none_found="", server=None, is_untrusted=False)
    return replace(known, ca_file=answer, is_untrusted=False)


def _with_server(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    """A server that the user names is trusted, and so is one that was found and agreed to."""
    if fault := fault_of_url(answer):
        raise ValueError(f"this URL {fault}")  # which may hold a password
    if known.found and session_url(answer) == known.found[1].url:
        return replace(known, server=answer, **_looked_at(known.found[1]))
    return replace(known, server=answer, seen=None, is_trusted=False)


def _with_login(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    return replace(known, login="token" if answer == "token" else "password")


def _with_contacts_server(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    if fault := fault_of_url(answer):
        raise ValueError(f"this URL {fault}")  # which may hold a password
    return replace(known, contacts_server=answer)


def _with_categories(known: Knowledge, _question: Question, answer: str) -> Knowledge:
    every = tuple(each.name for each in DEFAULT_CATEGORIES)
    return replace(known, categories=FEWER if answer == "fewer" else every)


def _with_mailbox(known: Knowledge, question: Question, answer: str) -> Knowledge:
    name, answer = question.subject, normal_name(answer)
    taken = next((each for each in known.taken or () if each.name == name), None)
    if answer == name and taken and not taken.is_usable:
        raise ValueError(f"{name} {taken.reason}: another name is needed")
    if known.mailbox(answer) == name != answer:
        raise ValueError(f"{answer} has just been replaced by {name}")
    # Another name may be taken as well.
    looked_at = known.taken if answer == name else None
    return replace(known, mailboxes={**known.mailboxes, name: answer}, taken=looked_at)


_TAKING: Mapping[Topic, Callable[[Knowledge, Question, str], Knowledge]] = {
    Topic.ADDRESS: _with_address,
    Topic.SERVER: _with_server,
    Topic.TRUST: _with_trust,
    Topic.CA_FILE: _with_ca_file,
    Topic.LOGIN: _with_login,
    Topic.USERNAME: lambda known, _, answer: replace(known, username=answer),
    Topic.TOKEN: lambda known, _, answer: replace(known, secret=answer),
    Topic.PASSWORD: lambda known, _, answer: replace(known, secret=answer),
    Topic.CONTACTS_SERVER: _with_contacts_server,
    Topic.CONTACTS_USERNAME: lambda known, _, answer: replace(known, contacts_username=answer),
    Topic.CONTACTS_PASSWORD: lambda known, _, answer: replace(known, contacts_secret=answer),
    Topic.CATEGORIES: _with_categories,
    Topic.MAILBOX: _with_mailbox,
    Topic.SCREENING: lambda known, _, answer: replace(known, screening=answer),
}
