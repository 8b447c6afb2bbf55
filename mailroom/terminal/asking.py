"""Where ``mailroom init`` gets its answers: from options, a file, or the person at the terminal."""

import getpass
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TextIO

from mailroom.errors import UsageError
from mailroom.rules.account.questions import SECRETS, Login, Question, Topic
from mailroom.terminal.answerfile import MAILBOXES, answers_in, secret_in
from mailroom.terminal.harmless import harmless

_PLAIN = tuple(
    topic
    for topic in Topic
    if topic not in (*SECRETS, Topic.TRUST, Topic.LOGIN, Topic.MAILBOX, Topic.GO)
)
_FILES = {f"{topic}-file": topic for topic in SECRETS}
_KNOWN = (*map(str, _PLAIN), *_FILES, MAILBOXES)
# Longer lines are hard to read.
_WIDEST = 88


class Asking:
    """``given`` are answers by topic, ``mailboxes`` those about mailboxes by their names. With
    ``may_ask`` the other questions are asked at the terminal, otherwise the defaults are used."""

    def __init__(
        self, given: Mapping[Topic, str], mailboxes: Mapping[str, str], *, may_ask: bool
    ) -> None:
        self._given = dict(given)
        self._mailboxes = dict(mailboxes)
        self.may_ask = may_ask

    @property
    def login(self) -> Login | None:
        """How to log in, if a secret was given."""
        if Topic.TOKEN in self._given:
            return "token"
        return "password" if Topic.PASSWORD in self._given else None

    @property
    def given(self) -> Mapping[Topic, str]:
        """The answers that were given beforehand and not used yet, without secrets."""
        return {topic: each for topic, each in self._given.items() if topic not in SECRETS}

    def has(self, topic: Topic) -> bool:
        """Whether an answer was given beforehand and not used yet."""
        return topic in self._given

    def answer(self, question: Question) -> str:
        """Raises UsageError if there is no answer; at the terminal KeyboardInterrupt and EOFError.

        An answer given beforehand is used once: if the question comes again, it was wrong.
        """
        known = self._mailboxes if question.topic is Topic.MAILBOX else self._given
        key = question.subject if question.topic is Topic.MAILBOX else question.topic
        if (given := known.pop(key, None)) is not None:  # type: ignore[call-overload]
            return given
        if self.may_ask:
            return self._ask(question)
        if question.default is None or question.needs_a_person:
            why = " ".join(question.why)
            raise UsageError(f"no answer to {question.prompt!r}: give {question.option} ({why})")
        return question.default

    def agrees(self, question: Question) -> bool:
        """Whether a yes-or-no question is answered with yes."""
        return self._ask(question).lower() in ("y", "yes")

    def _ask(self, question: Question) -> str:
        sys.stdout.write("\n" + _filled(question.why))
        choices = f" ({'/'.join(question.choices)})" if question.choices else ""
        default = f" [{harmless(question.default)}]" if question.default else ""
        prompt = f"{question.prompt}{choices}{default}: "
        if question.is_secret:
            return getpass.getpass(prompt)
        return input(prompt).strip() or question.default or ""


def _filled(lines: Iterable[str]) -> str:
    """The lines, indented; those too long for the terminal go on in the next."""
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    wrapper = textwrap.TextWrapper(
        max(width, 1),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{wrapper.fill(harmless(line))}\n" for line in lines)


def asking(options: SimpleNamespace, stdin: TextIO, *, may_ask: bool) -> Asking:
    """The answers from the command's options and the file of ``--answers``. Raises UsageError."""
    answers, mailboxes = answers_in(options.answers, _KNOWN) if options.answers else ({}, {})
    for name in (*map(str, _PLAIN), *_FILES):
        if (value := getattr(options, name.replace("-", "_"))) is not None:
            answers[name] = value
    mailboxes |= dict(_pair(each) for each in options.mailbox or ())
    given = {Topic(name): value for name, value in answers.items() if name not in _FILES}
    if Topic.CA_FILE in given:
        given[Topic.CA_FILE] = absolute(given[Topic.CA_FILE])
    for name in _FILES.keys() & answers.keys():
        given[_FILES[name]] = secret_in(answers[name], stdin)
    may_ask = may_ask and not options.answers and stdin.isatty()
    return Asking(given, mailboxes, may_ask=may_ask)


def absolute(path: str) -> str:
    """The absolute path: the configuration is also read from other folders."""
    return os.path.abspath(os.path.expanduser(path))


def _pair(text: str) -> tuple[str, str]:
    name, equals, other = text.partition("=")
    if not (name and equals and other):
        raise UsageError(f"--mailbox {text}: write NAME=OTHER")
    return name, other
