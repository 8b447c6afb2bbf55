"""What Sieve scripts do to mail that arrives: which tests hold, where it goes, with what keywords.

One script asks many tests at once: each that holds sets a flag of its own.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.contract.peers import SENDER, Client, servers, unique

pytestmark = pytest.mark.parametrize(
    "server",
    servers(
        "sandbox cyrus-3.10",
        "sandbox cyrus-3.13",
        "MAILROOM_CYRUS_URL",
        "CYRUS313",
    ),
    indirect=True,
)

REQUIRE = (
    'require ["fileinto", "copy", "mailbox", "mailboxid", "imap4flags", "envelope", "include",'
    ' "special-use", "vnd.cyrus.jmapquery"];\n'
)

Script = Callable[..., None]
Filed = tuple[set[str], set[str]]


class Scripts:
    """The scripts of the user, of which none is left."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids: list[str] = []

    def put(self, text: str, *, name: str | None = None, is_active: bool = True) -> Any:
        """Put a script and make it the active one; returns the error, None if it is taken."""
        path = f"/jmap/upload/{self._client.account_id}/"
        answer = self._client.request("POST", path, text, Content_Type="application/sieve")
        new = {"name": name or unique("script"), "blobId": answer.json()["blobId"]}
        activate = {"onSuccessActivateScript": "#new"} if is_active else {}
        answered = self._client.call("SieveScript/set", create={"new": new}, **activate)
        if answered["notCreated"]:
            return answered["notCreated"]["new"]
        old, self._ids = self._ids, [*self._ids, answered["created"]["new"]["id"]]
        if is_active and name is None:
            self._remove(old)
        return None

    def clear(self) -> None:
        """Leave the server without one."""
        self._client.call("SieveScript/set", onSuccessActivateScript=None)
        self._remove(self._ids)

    def _remove(self, ids: list[str]) -> None:
        if ids:
            self._client.call("SieveScript/set", destroy=ids)
        self._ids = [id_ for id_ in self._ids if id_ not in ids]


@pytest.fixture
def scripts(client: Client) -> Iterator[Scripts]:
    scripts = Scripts(client)
    yield scripts
    scripts.clear()


@pytest.fixture
def people(client: Client) -> Iterator[Callable[..., str]]:
    """Put cards, which are gone at the end; returns the UID."""
    paths = []

    def put(uid: str, *emails: str, lines: Sequence[str] = (), version: str = "3.0") -> str:
        card = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}", f"FN:{uid}", f"N:{uid};;;;"]
        card += [*(f"EMAIL:{email}" for email in emails), *lines, "END:VCARD", ""]
        paths.append(f"{client.server.book_path}{unique('card')}.vcf")
        answer = client.request("PUT", paths[-1], "\r\n".join(card), Content_Type="text/vcard")
        assert answer.status == 201, answer
        return uid

    yield put
    for path in paths:
        client.request("DELETE", path)


def holding(
    client: Client,
    scripts: Scripts,
    tests: Sequence[str],
    from_: str = "b@x.example",
    sender: str = SENDER,
    **headers: str,
) -> dict[str, bool]:
    """Return which tests hold for a mail."""
    lines = [f'if {test} {{ addflag "c{number}"; }}' for number, test in enumerate(tests)]
    assert scripts.put("\n".join([REQUIRE, *lines])) is None
    [mail_id] = client.arrive(from_, sender=sender, **headers)
    keywords = client.get(mail_id, "keywords")["keywords"]
    return {test: f"c{number}" in keywords for number, test in enumerate(tests)}


def check(
    client: Client, scripts: Scripts, expected: dict[str, bool], *args: str, **headers: str
) -> None:
    assert holding(client, scripts, list(expected), *args, **headers) == expected


def query(**filter_: Any) -> str:
    return f"jmapquery text:\n{json.dumps(filter_)}\n.\n"


# Headers


def test_a_header_is_compared_whole_in_part_and_by_pattern(
    client: Client, scripts: Scripts
) -> None:
    expected = {
        'header :is "subject" "hello world"': True,
        'header "Subject" "HELLO WORLD"': True,
        'header :is :comparator "i;octet" "subject" "HELLO WORLD"': False,
        'header :is "subject" "hello"': False,
        'header :contains "subject" "lo wo"': True,
        'header :matches "subject" "hello*"': True,
        'header :matches "subject" "h?llo world"': True,
        'header :matches "subject" "hello"': False,
        'header :contains "list-id" "<news.example.org>"': True,
        'header :matches "list-id" "*<news.example.org>*"': True,
        'header :is "list-id" "\\"News\\" <news.example.org>"': True,
        'header :contains ["x-none", "x-spam"] ["foo", "yes"]': True,
        'header :is "x-spam" "Yes"': True,
        'header :contains "x-none" ""': False,
        'header :is "x-none" ""': False,
        'header :is "return-path" "<sender@example.org>"': True,
        'exists "list-id"': True,
        'exists ["list-id", "x-none"]': False,
        'not exists "x-none"': True,
        "true": True,
        "false": False,
        "anyof(false, true)": True,
        "allof(true, false)": False,
        'envelope :is "from" "sender@example.org"': True,
        'envelope :domain :is "from" "example.org"': True,
        'header :contains "content-type" "multipart/report"': False,
    }
    named = {"List_Id": '"News" <news.example.org>', "X_Spam": " Yes "}
    check(client, scripts, expected, subject="hello world", **named)


def test_a_bounce_is_told_by_its_return_path_and_its_content(
    client: Client, scripts: Scripts
) -> None:
    expected = {
        'header :is "return-path" "<>"': True,
        'header :contains "return-path" "<>"': True,
        'address :is "return-path" ""': False,
        'envelope :is "from" ""': True,
        'exists "return-path"': True,
        'header :contains "content-type" "multipart/report"': True,
        'header :matches "content-type" "multipart/report*"': True,
    }
    report = "multipart/report; report-type=delivery-status; boundary=x"
    check(client, scripts, expected, "MAILER-DAEMON@x.example", "", Content_Type=report)


def test_an_address_is_compared_without_its_name(client: Client, scripts: Scripts) -> None:
    expected = {
        'address :is "from" "Bob@Example.org"': True,
        'address :is "from" "second@other.example"': True,
        'address :is ["from", "sender"] "list@s.example"': True,
        'address :domain :is "from" "example.org"': True,
        'address :domain "from" "EXAMPLE.org"': True,
        'address :domain :matches "from" "*.org"': True,
        'address :domain :matches "from" "*.example.org"': False,
        'address :localpart "from" "bob"': True,
        'address :all :is "from" "bob"': False,
        'address :matches "from" "*@example.org"': True,
        'address :contains "from" "ob@ex"': True,
        'address :contains "from" "Bob S"': False,
        'address :is "to" ["a@b.example", "c@d.example"]': True,
        'address :is "cc" "bob@example.org"': False,
        'address :contains "cc" ""': False,
        'address :is "from" ""': False,
        'address :is "return-path" "sender@example.org"': True,
    }
    senders = "Bob Smith <bob@example.org>, second@other.example"
    headers = {"To": "A <a@b.example>", "Sender": "list@s.example"}
    check(client, scripts, expected, senders, **headers)


# Contacts


def test_a_contact_is_known_by_any_address_of_any_from(
    client: Client, scripts: Scripts, people: Callable[..., str]
) -> None:
    host = f"{unique('h')}.example"
    uid, group = people(unique("u"), f"Bob@{host}", f"bob2@{host}"), unique("g")
    lines = ["X-ADDRESSBOOKSERVER-KIND:group", f"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:{uid}"]
    people(group, lines=lines)
    people(unique("u"), f"cat@{host}")
    member, known = query(fromContactGroupId=group), query(fromAnyContact=True)
    # From → whether it is a member's and a contact's
    cases = {
        f"Bob <bob@{host}>": (True, True),
        f"BOB2@{host}": (True, True),
        f"cat@{host}": (False, True),
        f"x@{host}": (False, False),
        f"z@no.example, bob@{host}": (True, True),
        f"bob@{host}, z@no.example": (True, True),
        f"Friends: bob@{host};": (True, True),
        f"z@no.example (bob@{host})": (False, False),
        f'"bob@{host}" <z@no.example>': (False, False),
        "bob": (False, False),
    }
    for from_, (is_member, is_known) in cases.items():
        found = holding(client, scripts, [member, known], from_, Sender=f"bob@{host}")
        assert found == {member: is_member, known: is_known}, from_
    other = query(fromContactGroupId=group.upper())
    assert holding(client, scripts, [other], f"bob@{host}") == {other: False}


def test_an_address_in_a_card_is_a_pattern(
    client: Client, scripts: Scripts, people: Callable[..., str]
) -> None:
    host = f"{unique('h')}.example"
    patterns = ("*@whole.", "*@*.sub.", "bo*@pre.", "q?x@que.", "b[ou]b@set.", "b_b@und.")
    people(unique("u"), *(f"{pattern}{host}" for pattern in patterns), f"{host}@*")
    known = query(fromAnyContact=True)
    cases = {
        f"x@whole.{host}": True,
        f"x@deep.whole.{host}": False,
        f"x@a.sub.{host}": True,
        f"x@sub.{host}": False,
        f"bobby@pre.{host}": True,
        f"rob@pre.{host}": False,
        f"qax@que.{host}": False,
        f"q?x@que.{host}": True,
        f"bob@set.{host}": False,
        f"bxb@und.{host}": False,
        f"{host}@any.example": True,
    }
    found = {from_: holding(client, scripts, [known], from_)[known] for from_ in cases}
    assert found == cases


def test_a_member_is_named_by_its_uid_exactly(
    client: Client, scripts: Scripts, people: Callable[..., str]
) -> None:
    host, bare, prefixed, v4 = (unique(letter) for letter in "hbpv")
    people(bare, f"bare@{host}.example")
    people(f"urn:uuid:{prefixed}", f"prefixed@{host}.example")
    people(v4, f"v4@{host}.example", version="4.0")
    apple, group_4, of_prefixed, of_bare, of_bare_4 = (unique("g") for _ in range(5))

    def members(*values: str, version: str = "3.0") -> list[str]:
        head = "X-ADDRESSBOOKSERVER-" if version == "3.0" else ""
        return [f"{head}KIND:group", *(f"{head}MEMBER:{value}" for value in values)]

    people(apple, lines=members(f"urn:uuid:{bare}", f"urn:uuid:{prefixed}"))
    names_4 = members(f"urn:uuid:{v4}", f"urn:uuid:{prefixed}", version="4.0")
    people(group_4, lines=names_4, version="4.0")
    people(of_bare_4, lines=members(v4, version="4.0"), version="4.0")
    people(of_prefixed, lines=members(f"urn:uuid:urn:uuid:{prefixed}"))
    people(of_bare, lines=members(bare))
    is_exact = client.server.kind == "cyrus-3.13"  # in groups of vCard 4
    cases = {
        "bare": {apple},
        "prefixed": {of_prefixed, group_4} if is_exact else {of_prefixed},
        "v4": {of_bare_4} if is_exact else {group_4},
    }
    groups = [apple, group_4, of_prefixed, of_bare, of_bare_4]
    asked = {group: query(fromContactGroupId=group) for group in groups}
    for local_part, expected in cases.items():
        found = holding(client, scripts, list(asked.values()), f"{local_part}@{host}.example")
        assert {group for group in groups if found[asked[group]]} == expected, local_part


def test_a_query_may_combine_conditions(
    client: Client, scripts: Scripts, people: Callable[..., str]
) -> None:
    address = f"{unique('bob')}@example.org"
    people(unique("u"), address)
    both = [{"fromAnyContact": True}, {"subject": "hello"}]
    expected = {
        query(operator="AND", conditions=both): True,
        query(operator="NOT", conditions=[{"fromAnyContact": True}]): False,
        query(fromAnyContact=True, subject="nope"): False,
        query(fromAnyContact=False): False,
        query(): True,
    }
    check(client, scripts, expected, address, subject="hello you")


# Actions

#: Commands → what becomes of the mail: where it is, and with which keywords. {name} is the id of a
#: mailbox. FAILED stands for Inbox alone, with what says so.
FAILED: Filed = ({"Inbox"}, {"$sievefailed"})
ACTIONS: dict[str, Filed] = {
    "": ({"Inbox"}, set()),
    "keep;": ({"Inbox"}, set()),
    "stop; discard;": ({"Inbox"}, set()),
    "keep; discard;": ({"Inbox"}, set()),
    'fileinto :mailboxid "{a}" "A";': ({"a"}, set()),
    'fileinto :copy :mailboxid "{a}" "A";': ({"a", "Inbox"}, set()),
    'fileinto :mailboxid "{a}" "A"; keep;': ({"a", "Inbox"}, set()),
    'fileinto :mailboxid "{a}" "A"; fileinto :mailboxid "{b}" "B";': ({"a", "b"}, set()),
    'fileinto :mailboxid "{a}" "A"; fileinto :mailboxid "{a}" "A";': ({"a"}, set()),
    'fileinto :copy :mailboxid "{a}" "A"; discard;': ({"a"}, set()),
    'if true {{ fileinto :mailboxid "{a}" "A"; stop; }} keep;': ({"a"}, set()),
    'if false {{ keep; }} elsif true {{ fileinto :mailboxid "{a}" "A"; }} else {{ keep; }}': (
        {"a"},
        set(),
    ),
    'fileinto :mailboxid "{a}" :flags "mailroom-waiting" "A";': ({"a"}, {"mailroom-waiting"}),
    'fileinto :mailboxid "{a}" :flags ["f1", "\\\\Seen", "f2 \\\\Flagged"] "A";': (
        {"a"},
        {"f1", "f2", "$seen", "$flagged"},
    ),
    'addflag "f1"; addflag ["f2", "f3 f4"]; removeflag "f2"; fileinto :mailboxid "{a}" "A";': (
        {"a"},
        {"f1", "f3", "f4"},
    ),
    'addflag "f1"; setflag "f2"; keep;': ({"Inbox"}, {"f2"}),
    'addflag "f1";': ({"Inbox"}, {"f1"}),
    'addflag "f1"; keep :flags "f2";': ({"Inbox"}, {"f2"}),
    'fileinto :mailboxid "{a}" "A"; addflag "f1";': ({"a"}, set()),
    'fileinto :mailboxid "{a}" :flags "f1" "A"; fileinto :mailboxid "{b}" :flags "f2" "B";': (
        {"a", "b"},
        {"f1", "f2"},
    ),
    'fileinto :mailboxid "{a}" :flags "f1" "A"; fileinto :flags "f2" "INBOX/{name}";': (
        {"a"},
        {"f2"},
    ),
    'fileinto :mailboxid "{a}" :flags "f1" "A"; fileinto :mailboxid "{a}" "A";': ({"a"}, set()),
    'keep :flags "f1"; fileinto :flags "f2" "INBOX";': ({"Inbox"}, {"f2"}),
    'addflag "f1"; fileinto :copy :flags "f2" "INBOX";': ({"Inbox"}, {"f1"}),
    'addflag "f1"; if hasflag "f1" {{ fileinto :mailboxid "{a}" "A"; }}': ({"a"}, {"f1"}),
    'if mailboxidexists "{a}" {{ addflag "f1"; }} if mailboxidexists "x" {{ addflag "f2"; }}': (
        {"Inbox"},
        {"f1"},
    ),
    'fileinto :mailboxid "nowhere" "INBOX/{name}";': ({"a"}, set()),
    'fileinto "INBOX/{name}";': ({"a"}, set()),
    'fileinto "INBOX";': ({"Inbox"}, set()),
    'fileinto "{name}";': FAILED,
    'fileinto :mailboxid "nowhere" "{name}";': FAILED,
    'fileinto "INBOX/Nowhere";': FAILED,
    'fileinto :specialuse "\\\\Important" "INBOX/Nowhere";': FAILED,
    'addflag "f1"; fileinto "Nowhere";': FAILED,
    'discard; fileinto "Nowhere";': FAILED,
    'fileinto "Nowhere"; fileinto :mailboxid "{a}" "A";': FAILED,
    'fileinto :mailboxid "{a}" "A"; fileinto "Nowhere";': ({"a", "Inbox"}, {"$sievefailed"}),
    'keep :flags "f1"; fileinto "Nowhere";': ({"Inbox"}, {"f1"}),
    'fileinto :mailboxid "{a}" "A"; include "absent";': FAILED,
    'include :optional "absent"; addflag "f1";': ({"Inbox"}, {"f1"}),
}


def test_a_script_says_where_a_mail_goes_and_with_which_keywords(
    client: Client, scripts: Scripts
) -> None:
    inbox, name = client.inbox(), unique("a")
    ids = {"a": client.new_mailbox(name=name, parentId=None), "b": client.new_mailbox()}
    names = {inbox: "Inbox"} | {id_: short for short, id_ in ids.items()}
    found = {}
    for commands in ACTIONS:
        assert scripts.put(REQUIRE + commands.format(**ids, name=name)) is None, commands
        [mail_id] = client.arrive()
        mail = client.get(mail_id, "mailboxIds", "keywords")
        found[commands] = ({names[id_] for id_ in mail["mailboxIds"]}, set(mail["keywords"]))
    assert {
        commands: filed for commands, filed in found.items() if filed != ACTIONS[commands]
    } == {}


def test_a_mail_that_is_discarded_was_never_there(client: Client, scripts: Scripts) -> None:
    assert scripts.put("discard;") is None
    since = client.state()
    assert client.arrive() == []
    assert client.changes(since)["destroyed"] == []


def test_a_mailbox_that_is_full_of_keywords_fails_the_script(
    client: Client, scripts: Scripts
) -> None:
    box, inbox = client.new_mailbox(), client.inbox()
    full = client.mail_in(box)
    client.patch(full, keywords={f"mailroom-test-{number}": True for number in range(100)})
    cases = {
        ':flags "mailroom-new" ': ({inbox}, {"$sievefailed"}),
        ':flags "mailroom-test-7" ': ({box}, {"mailroom-test-7"}),
        "": ({box}, set()),
    }
    for flags, expected in cases.items():
        assert scripts.put(f'{REQUIRE} fileinto :mailboxid "{box}" {flags} "Full";') is None
        [mail_id] = client.arrive()
        mail = client.get(mail_id, "mailboxIds", "keywords")
        assert (set(mail["mailboxIds"]), set(mail["keywords"])) == expected


def test_a_script_of_the_users_includes_another(client: Client, scripts: Scripts) -> None:
    box = client.new_mailbox()
    ours, mine = unique("ours"), unique("mine")
    text = f'{REQUIRE} fileinto :mailboxid "{box}" "Box"; return; discard;'
    assert scripts.put(text, name=ours, is_active=False) is None
    including = f'{REQUIRE} include :personal "{ours}"; addflag "after"; keep;'
    assert scripts.put(including, name=mine) is None
    [mail_id] = client.arrive()
    mail = client.get(mail_id, "mailboxIds", "keywords")
    assert set(mail["mailboxIds"]) == {box, client.inbox()}
    assert set(mail["keywords"]) == {"after"}


# What is refused

REFUSED = {
    "keep": "line 1: syntax error",
    "keep { }": "line 1: syntax error",
    "nonsense;": "line 1: syntax error",
    "if true { keep; ": "line 1: syntax error",
    "else { keep; }": "line 1: syntax error",
    'keep; require "fileinto";': "line 1: syntax error",
    'require "nonsense"; keep;': 'line 1: Unsupported feature(s) in "require": "nonsense"',
    'require "spamtest"; keep;': 'line 1: Unsupported feature(s) in "require": "spamtest"',
    'fileinto "INBOX";': 'line 1: fileinto extension MUST be enabled with "require" command',
    'require "fileinto";\nfileinto :copy "INBOX";': (
        'line 2: copy extension MUST be enabled with "require" command'
    ),
    'require "fileinto";\nfileinto :flags "x" "INBOX";': (
        'line 2: imap4flags extension MUST be enabled with "require" command'
    ),
    'require "fileinto";\nfileinto :mailboxid "x" "INBOX";': (
        'line 2: mailboxid extension MUST be enabled with "require" command'
    ),
    'if address :is "x-foo" "bob" { keep; }': (
        "line 1: header 'x-foo': not a valid header for an address test"
    ),
}
REFUSED_QUERIES = {
    "no json": "invalid jmapquery format",
    '{\\"nonsense\\": true}': "invalid jmapquery argument: 'nonsense'",
    '{\\"fromAnyContact\\": 1}': "invalid jmapquery argument: 'fromAnyContact'",
    '{\\"fromContactGroupId\\": 1}': "invalid jmapquery argument: 'fromContactGroupId'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_script_that_is_none_is_refused(client: Client, scripts: Scripts, text: str) -> None:
    error = scripts.put(text)
    assert error == {"type": "invalidScript", "description": f"{REFUSED[text]}\r\n"}


@pytest.mark.parametrize("filter_", REFUSED_QUERIES)
def test_a_query_that_is_none_is_refused(client: Client, scripts: Scripts, filter_: str) -> None:
    error = scripts.put(f'require "vnd.cyrus.jmapquery"; if jmapquery "{filter_}" {{ keep; }}')
    assert error["type"] == "invalidScript"
    assert error["description"].endswith(f": {REFUSED_QUERIES[filter_]}\r\n")


def test_a_script_may_be_no_larger_than_32_kib(client: Client, scripts: Scripts) -> None:
    assert scripts.put(f"# {'x' * 32_000}\nkeep;") is None
    assert scripts.put(f"# {'x' * 33_000}\nkeep;") == {"type": "tooLarge"}
