"""What a server finds wrong with a Sieve script that it is given, in the words of Cyrus 3.10.2."""

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final

from tests.sandbox.profile import Profile
from tests.sandbox.sieve_conditions import ADDRESS_HEADERS, fault_of_query
from tests.sandbox.sieve_syntax import Node, SieveError, read_script

#: Those of Cyrus 3.10.2, but for what no script of a test has.
CYRUS_EXTENSIONS: Final = frozenset(
    [
        *("body", "copy", "date", "editheader", "envelope", "extlists", "fileinto", "ihave"),
        *("imap4flags", "include", "index", "mailbox", "mailboxid", "regex", "reject"),
        *("relational", "special-use", "subaddress", "vacation", "variables"),
        "vnd.cyrus.jmapquery",
    ]
)
#: Command, test or tag → the extension without which it is none.
_NEEDS: Final[Mapping[str, str]] = {
    "fileinto": "fileinto",
    ":copy": "copy",
    ":create": "mailbox",
    "mailboxexists": "mailbox",
    ":mailboxid": "mailboxid",
    "mailboxidexists": "mailboxid",
    ":specialuse": "special-use",
    "specialuse_exists": "special-use",
    "addflag": "imap4flags",
    "setflag": "imap4flags",
    "removeflag": "imap4flags",
    "hasflag": "imap4flags",
    ":flags": "imap4flags",
    "include": "include",
    "return": "include",
    "envelope": "envelope",
    ":regex": "regex",
    "set": "variables",
    "vacation": "vacation",
    "jmapquery": "vnd.cyrus.jmapquery",
}
_WITH_BLOCKS: Final = frozenset({"if", "elsif", "else"})
#: Others are none at all.
_COMMANDS: Final = _WITH_BLOCKS | frozenset(
    [
        *("keep", "stop", "discard", "fileinto", "addflag", "setflag", "removeflag"),
        *("include", "return", "redirect", "set", "vacation"),
    ]
)
_TESTS: Final = frozenset(
    [
        *("true", "false", "not", "allof", "anyof", "header", "address", "envelope", "exists"),
        *("size", "hasflag", "mailboxexists", "mailboxidexists", "specialuse_exists"),
        "jmapquery",
    ]
)


def fault_of(text: str, profile: Profile) -> str | None:
    """Return what is wrong with a script; that it is none at all is seen by every server."""
    try:
        commands = read_script(text)
        if profile.validates_sieve:
            _Checker(profile).script(commands)
    except SieveError as error:
        return str(error)
    return None


def extensions_of(profile: Profile) -> frozenset[str]:
    """Return the extensions that scripts may require."""
    named = profile.sieve_extensions
    return CYRUS_EXTENSIONS if named is None else frozenset(named)


class _Checker:
    """Goes through a script; every step raises SieveError where something is wrong."""

    def __init__(self, profile: Profile) -> None:
        self._known = extensions_of(profile)
        self._conditions = profile.sieve_conditions
        self._required: set[str] = set()

    def script(self, commands: list[Node]) -> None:
        """``require`` stands before everything else (RFC 5228 §3.2)."""
        first = list(takewhile(lambda command: command.name == "require", commands))
        for command in first:
            self._require(command)
        self._block(commands[len(first) :])

    def _require(self, command: Node) -> None:
        for name in (each for part in command.arguments if isinstance(part, list) for each in part):
            if name not in self._known:
                raise _wrong(command, f'Unsupported feature(s) in "require": "{name}"')
            self._required.add(name)

    def _block(self, commands: Iterable[Node]) -> None:
        before = ""
        for command in commands:
            follows = command.name not in ("elsif", "else") or before in ("if", "elsif")
            has_block = command.block is not None
            is_command = command.name in _COMMANDS and has_block == (command.name in _WITH_BLOCKS)
            if not (follows and is_command):
                raise _wrong(command, "syntax error")
            self._node(command)
            before = command.name

    def _node(self, node: Node) -> None:
        """Look at a command or a test and all that is in it."""
        tags = [each for each in node.arguments if isinstance(each, str)]
        for name in (node.name, *tags):
            needed = _NEEDS.get(name)
            if needed and needed not in self._required:
                raise _wrong(node, f'{needed} extension MUST be enabled with "require" command')
        if ":mailboxid" in tags and ":specialuse" in tags:
            raise _wrong(node, "tag :specialuse MUST NOT be used with tag :mailboxid")
        if node.name == "address":
            self._address(node)
        if node.name == "jmapquery" and (fault := self._query_fault(node)):
            raise _wrong(node, fault)
        for test in node.tests:
            if test.name not in _TESTS:
                raise _wrong(test, "syntax error")
            self._node(test)
        self._block(node.block or ())

    def _address(self, node: Node) -> None:
        headers = next(each for each in node.arguments if isinstance(each, list))
        for header in headers:
            if header.lower() not in ADDRESS_HEADERS:
                said = f"header '{header}': not a valid header for an address test"
                raise _wrong(node, said)

    def _query_fault(self, node: Node) -> str | None:
        text = next((each for each in node.arguments if isinstance(each, list)), [""])
        return fault_of_query(text[0], self._conditions)


def _wrong(node: Node, said: str) -> SieveError:
    return SieveError(f"line {node.line}: {said}")
