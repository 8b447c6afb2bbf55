"""Whether a script of the user's runs ours (RFC 6609), by Sieve's grammar.

What stands in a comment, in a text, after a ``stop`` or in a branch that is never taken does not
run. What stands under a condition runs for some mail; only the user knows whether that is intended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from mailroom.wire.sieve_script import Command, Condition, ScriptError, read_script

_ENDS = ("stop", "return")


class Inclusion(IntEnum):
    """For how much of the mail that gets this far a script is run."""

    NEVER = 0
    SOMETIMES = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class _Course:
    """The effect of commands: whether ours is run, and whether the script certainly ends."""

    inclusion: Inclusion = Inclusion.NEVER
    is_over: bool = False


def inclusion(text: str, ours: str, others: Mapping[str, str]) -> Inclusion:
    """How the script ``text`` runs the personal script named ``ours``, directly or through
    ``others``: the user's scripts by name. A text that cannot be read counts as running nothing.
    """
    return _Walk(ours, others).run(text)


class _Walk:
    """Goes through a script and those that it includes, each once."""

    def __init__(self, ours: str, others: Mapping[str, str]) -> None:
        self._others = others
        self._known = {ours: Inclusion.ALWAYS}

    def run(self, text: str) -> Inclusion:
        try:
            return self._course(read_script(text)).inclusion
        except ScriptError:
            return Inclusion.NEVER

    def _course(self, commands: Sequence[Command]) -> _Course:
        found = Inclusion.NEVER
        rest = list(commands)
        while rest:
            command = rest.pop(0)
            if command.name == "if":
                chain = [command]
                while rest and rest[0].name in ("elsif", "else"):
                    chain.append(rest.pop(0))
                course = self._choice(chain)
            else:
                course = self._single(command)
            found = max(found, course.inclusion)
            if course.is_over:
                return _Course(found, is_over=True)
        return _Course(found)

    def _single(self, command: Command) -> _Course:
        if command.name in _ENDS:
            return _Course(is_over=True)
        if command.name == "include":
            return _Course(self._included(command))
        if command.block:  # of an extension: a loop (RFC 5703), which may or may not run
            return _Course(min(self._course(command.block).inclusion, Inclusion.SOMETIMES))
        return _Course()

    def _included(self, command: Command) -> Inclusion:
        """The script is one of the user's own unless the command says ``:global`` (§3.2)."""
        if "global" in command.tags or len(command.strings) != 1:
            return Inclusion.NEVER
        (name,) = command.strings
        if name not in self._known:
            self._known[name] = Inclusion.NEVER  # for one that includes itself
            # A stop in it ends only itself (seen: Cyrus 3.10.2); by the RFC it would end all.
            self._known[name] = self.run(self._others.get(name, ""))
        return self._known[name]

    def _choice(self, chain: Sequence[Command]) -> _Course:
        """An ``if`` with its branches: what all of them have in common is certain."""
        courses: list[_Course] = []
        for command in chain:
            truth = _truth(command.tests[0]) if command.tests else True
            if truth is not False:
                courses.append(self._course(command.block))
            if truth is True:
                break
        else:
            courses.append(_Course())
        least, most = min(c.inclusion for c in courses), max(c.inclusion for c in courses)
        sometimes = min(most, Inclusion.SOMETIMES)
        return _Course(max(least, sometimes), all(course.is_over for course in courses))


def _truth(test: Condition) -> bool | None:
    """The result of a test if it is the same for all mail; else None."""
    parts = [_truth(each) for each in test.tests]
    match test.name:
        case "true":
            return True
        case "false":
            return False
        case "not" if len(parts) == 1 and parts[0] is not None:
            return not parts[0]
        case "allof":
            return False if False in parts else (True if all(parts) else None)
        case "anyof":
            return True if True in parts else (None if None in parts else False)
    return None
