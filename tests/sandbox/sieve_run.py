"""Runs a Sieve script over a mail that arrives (RFC 5228, 3894, 5232, 5490, 6609, 8579, 9042).

In two steps, as Cyrus 3.10.2 does, seen: the script is gone through and says what is to be done,
then that is done in its order. What fails in the first step leaves nothing to be done, what fails
in the second the rest undone; in either case the mail is in Inbox, with ``$sievefailed`` where the
server says so. Commands of the user's that the sandbox cannot run are an error of the test.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.sandbox.mail import Filing, Mail
from tests.sandbox.sieve_conditions import Circumstances, Conditions
from tests.sandbox.sieve_syntax import Node, read_script

FAILED: Final = "$sievefailed"
_SYSTEM_FLAGS: Final = {
    "\\seen": "$seen",
    "\\flagged": "$flagged",
    "\\answered": "$answered",
    "\\draft": "$draft",
}


class RunFailed(Exception):
    """The script fails at this point; the mail is not lost."""


class _Stop(Exception):
    """The script is at its end."""


class _Return(Exception):
    """The script that is included is at its end."""


@dataclass(frozen=True, slots=True)
class Server:
    """What the server offers to scripts."""

    inbox_id: str
    #: The mailbox that a fileinto means. Raises RunFailed where there is none.
    find: Callable[[Node], str]
    #: Whether a mailbox can have mail with these keywords.
    has_room: Callable[[str, Iterable[str]], bool]
    #: The text of another script of the user's, None where there is none.
    script: Callable[[str], str | None]
    #: The extensions that may be required.
    extensions: frozenset[str]
    marks_failure: bool = True


@dataclass(slots=True)
class _Action:
    """One thing to be done: into Inbox, or into the mailbox that a fileinto means."""

    flags: list[str]
    into: Node | None = None


@dataclass(slots=True)
class _Run:
    """The first step: goes through a script and gathers what is to be done."""

    server: Server
    conditions: Conditions
    actions: list[_Action] = field(default_factory=list)
    keeps_implicitly: bool = True
    included: set[str] = field(default_factory=set)

    def commands(self, commands: Iterable[Node]) -> None:
        is_decided = False
        for command in commands:
            match command.name:
                case "if":
                    is_decided = self._branch(command)
                case "elsif":
                    is_decided = is_decided or self._branch(command)
                case "else":
                    if not is_decided:
                        self.commands(command.block or ())
                case _:
                    self._command(command)

    def _branch(self, command: Node) -> bool:
        is_met = self.conditions.holds(command.tests[0])
        if is_met:
            self.commands(command.block or ())
        return is_met

    def _command(self, command: Node) -> None:
        match command.name:
            case "require":
                self._require(command)
            case "keep":
                self.actions.append(_Action(self._flags(command)))
                self.keeps_implicitly = False
            case "fileinto":
                self.actions.append(_Action(self._flags(command), command))
                self.keeps_implicitly = self.keeps_implicitly and command.has(":copy")
            case "discard":
                self.keeps_implicitly = False
            case "addflag" | "setflag" | "removeflag":
                self._change_flags(command)
            case "include":
                self._include(command)
            case "stop":
                raise _Stop
            case "return":
                raise _Return
            case name:
                raise NotImplementedError(f"the sandbox cannot run the Sieve command {name!r}")

    def _require(self, command: Node) -> None:
        """A server that validates has refused an unknown one before."""
        if unknown := sorted(set(command.strings()[-1]) - self.server.extensions):
            raise RunFailed(f"unknown: {unknown}")

    def _flags(self, command: Node) -> list[str]:
        named = command.value_of(":flags")
        return list(self.conditions.flags) if named is None else _split(named)

    def _change_flags(self, command: Node) -> None:
        named, flags = _split(command.strings()[-1]), self.conditions.flags
        if command.name == "setflag":
            flags[:] = named
        elif command.name == "addflag":
            flags += [flag for flag in named if flag not in flags]
        else:
            flags[:] = [flag for flag in flags if flag not in named]

    def _include(self, command: Node) -> None:
        [name] = command.strings()[-1]
        if command.has(":once") and name in self.included:
            return
        text = self.server.script(name)
        if text is None:
            if not command.has(":optional"):
                raise RunFailed(f"no script {name!r}")
            return
        self.included.add(name)
        try:
            self.commands(read_script(text))
        except _Return:
            return


def run_script(text: str, mail: Mail, around: Circumstances, server: Server) -> Filing:
    """Say where a mail goes by the user's active script."""
    run = _Run(server, Conditions(mail, around))
    try:
        run.commands(read_script(text))
    except (_Stop, _Return):
        pass
    except RunFailed:
        return _failed({}, server)
    places: dict[str, set[str]] = {}
    for action in run.actions:
        mailbox_id, keywords = _place(action, server)
        if mailbox_id is None:
            return _failed(places, server)
        places[mailbox_id] = keywords  # the last one's count
    if run.keeps_implicitly:
        places[server.inbox_id] = _keywords(run.conditions.flags)
    return Filing(places)


def _place(action: _Action, server: Server) -> tuple[str | None, set[str]]:
    """Return the mailbox and the keywords of an action, None where it fails."""
    keywords = _keywords(action.flags)
    try:
        mailbox_id = server.inbox_id if action.into is None else server.find(action.into)
    except RunFailed:
        return None, keywords
    return mailbox_id if server.has_room(mailbox_id, keywords) else None, keywords


def _failed(places: Mapping[str, set[str]], server: Server) -> Filing:
    """In Inbox, whatever was done before."""
    inbox = {server.inbox_id: {FAILED} if server.marks_failure else set()}
    return Filing({**inbox, **places})


def _split(flags: Iterable[str]) -> list[str]:
    """A string may have several flags (RFC 5232 §2)."""
    return [flag.lower() for each in flags for flag in each.split()]


def _keywords(flags: Iterable[str]) -> set[str]:
    named = (_SYSTEM_FLAGS.get(flag, flag) for flag in flags)
    return {keyword for keyword in named if not keyword.startswith("\\")}
