"""The servers under contract, and a plain client that speaks to either."""

import base64
import http.client
import imaplib
import json
import os
import smtplib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

import pytest
from _pytest.mark.structures import ParameterSet

from tests.sandbox import Profile, serve
from tests.sandbox.sieve import SieveSandbox

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"
SUBMISSION = "urn:ietf:params:jmap:submission"
CONTACTS = "urn:ietf:params:jmap:contacts"
#: RFC 9661's, and what Cyrus had before it.
SIEVE = ("urn:ietf:params:jmap:sieve", "https://cyrusimap.org/ns/jmap/sieve")
TIMEOUT_SECONDS = 15
SENDER = "sender@example.org"
NO_HEADERS: Mapping[str, str] = {}

T = TypeVar("T")
Json = Any


class Server(Protocol):
    """What a test needs of a server beyond JMAP and CardDAV."""

    #: The server and its series, whose facts it is held to.
    kind: str
    #: The server and its version, as ``docs/servers.md`` has it; of the sandbox, that.
    version: str
    url: str
    user: str
    password: str
    session_path: str
    #: The default address book, with a slash at its end.
    book_path: str
    #: Whether a mail may arrive a moment after it was taken.
    queues: bool

    def deliver(
        self,
        from_header: str | None,
        subject: str,
        sender: str = SENDER,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """Have a mail arrive whose From header is this: in Inbox, or where a script says.

        ``sender`` is that of the envelope. There is a Message-ID, unless ``headers`` have one.
        """

    def drag(self, subject: str, source: str, destination: str) -> Iterator[str]:
        """Move the mail of this subject between top-level mailboxes, as IMAP programs without MOVE
        do: the names of the steps, each when it is done."""

    def close(self) -> None:
        """Let the server go."""


class SandboxServer:
    version = "sandbox"
    queues = False
    user = "alice"
    password = "secret"
    session_path = "/jmap/"
    book_path = f"/dav/addressbooks/user/{user}/Default/"

    def __init__(self, profile: Profile) -> None:
        self.kind = profile.name
        # Whoever waits for an index asks more often than a thousand times a minute: as the real
        # ones are configured here.
        limits = replace(profile.limits, max_requests_per_minute=None)
        profile = replace(profile, limits=limits)
        self._sandbox = SieveSandbox(profile, user=self.user, password=self.password)
        self._sandbox.standard_account()
        self._running = serve(self._sandbox)
        self.url = self._running.url

    def deliver(
        self,
        from_header: str | None,
        subject: str,
        sender: str = SENDER,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        others = dict(headers)
        ids = {
            name: _ids(others.pop(header, ""))
            for name, header in (
                ("message_id", "Message-ID"),
                ("in_reply_to", "In-Reply-To"),
                ("references", "References"),
            )
        }
        self._sandbox.arrive(
            from_header,
            subject,
            return_path=sender,
            to=others.pop("To", None),
            cc=others.pop("Cc", None),
            bcc=others.pop("Bcc", None),
            headers=others,
            message_id=" ".join(ids["message_id"]),
            in_reply_to=ids["in_reply_to"],
            references=ids["references"],
        )

    def drag(self, subject: str, source: str, destination: str) -> Iterator[str]:
        in_source = self._sandbox.mails_in(source)
        [mail_id] = (id_ for id_ in in_source if self._sandbox.mail(id_).subject == subject)
        return self._sandbox.drag(mail_id, source, destination)

    def close(self) -> None:
        self._running.close()


class CyrusServer:
    """A Cyrus that somebody has booted: MAILROOM_CYRUS_URL, _USER, _PASSWORD, and
    _LMTP and _IMAP (host:port)."""

    kind = "cyrus-3.10"
    queues = False
    session_path = "/jmap/"

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.url = environment["MAILROOM_CYRUS_URL"].rstrip("/")
        self.version = environment.get("MAILROOM_CYRUS_VERSION", "Cyrus")
        self.user = environment.get("MAILROOM_CYRUS_USER", "alice")
        self.password = environment.get("MAILROOM_CYRUS_PASSWORD", "secret")
        self._lmtp = environment.get("MAILROOM_CYRUS_LMTP", "127.0.0.1:2003")
        self._imap = environment.get("MAILROOM_CYRUS_IMAP", "127.0.0.1:1143")
        self.book_path = f"/dav/addressbooks/user/{self.user}/Default/"

    def deliver(
        self,
        from_header: str | None,
        subject: str,
        sender: str = SENDER,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        send(self._lmtp, self.user, sender, message(from_header, subject, headers))

    def drag(self, subject: str, source: str, destination: str) -> Iterator[str]:
        return drag(self._imap, self.user, self.password, subject, source, destination)

    def close(self) -> None:
        """Leave it running: it is not ours."""


def message(from_header: str | None, subject: str, headers: Mapping[str, str]) -> bytes:
    """Return a mail with these headers."""
    head = {"Message-ID": f"<{uuid.uuid4()}@example.org>", "Subject": subject} | dict(headers)
    if from_header is not None:
        head["From"] = from_header
    lines = [f"{name}: {value}" for name, value in head.items()]
    return "\r\n".join([*lines, "", "Hello", ""]).encode()


def send(lmtp: str, user: str, sender: str, content: bytes) -> None:
    """Deliver a mail by LMTP at ``host:port``."""
    host, _, port = lmtp.partition(":")
    with smtplib.LMTP(host, int(port)) as connection:
        connection.sendmail(sender, [user], content)


def drag(
    imap: str, user: str, password: str, subject: str, source: str, destination: str
) -> Iterator[str]:
    """Drag a mail by IMAP at ``host:port``, where all mailboxes are below Inbox."""
    host, _, port = imap.partition(":")
    with imaplib.IMAP4(host, int(port), timeout=TIMEOUT_SECONDS) as connection:
        connection.login(user, password)
        connection.select("INBOX" if source == "Inbox" else f"INBOX/{source}")
        [number] = connection.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split()
        uid = number.decode()
        assert connection.uid("COPY", uid, f"INBOX/{destination}")[0] == "OK"
        yield "copied"
        connection.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
        yield "deleted"
        connection.expunge()
        yield "expunged"


def _ids(header: str) -> list[str]:
    return [each.strip("<>") for each in header.split()]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Json:
        return json.loads(self.body)


class Client:
    """One connection to a server, and what every test says over it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        credentials = f"{server.user}:{server.password}".encode()
        self.authorization = f"Basic {base64.b64encode(credentials).decode()}"
        self._connection = self.connect()
        self.session: Json = self.request("GET", server.session_path).json()
        self.account_id: str = self.session["primaryAccounts"][MAIL]
        self._api_path = urlsplit(urljoin(server.url, self.session["apiUrl"])).path
        wanted = (CORE, MAIL, CONTACTS, *SIEVE)
        self.using = [name for name in wanted if name in self.session["capabilities"]]

    def connect(self) -> http.client.HTTPConnection:
        address = urlsplit(self.server.url)
        return http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=TIMEOUT_SECONDS
        )

    def close(self) -> None:
        self._connection.close()

    def request(
        self, method: str, path: str, body: bytes | str = b"", **headers: str | None
    ) -> Answer:
        """Send one request; ``If_Match="x"`` is a header, None leaves one out."""
        whole = {"Authorization": self.authorization} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        content = body.encode() if isinstance(body, str) else body
        sent = {name: value for name, value in whole.items() if value is not None}
        self._connection.request(method, path, content or None, sent)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    # JMAP

    def post(self, content: Json) -> Answer:
        return self.request(
            "POST", self._api_path, json.dumps(content), Content_Type="application/json"
        )

    def calls(self, *calls: tuple[str, Json]) -> list[tuple[str, Json]]:
        """Make calls named 0, 1, 2 … in one request and return the names and arguments."""
        answer = self.post(self._content(calls))
        assert answer.status == 200, answer
        return [(name, arguments) for name, arguments, _ in answer.json()["methodResponses"]]

    def call_by(self, connection: http.client.HTTPConnection, *calls: tuple[str, Json]) -> None:
        """Send the same by a connection of the test's own, and wait for nothing."""
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        body = json.dumps(self._content(calls))
        connection.request("POST", self._api_path, body, headers)

    def _content(self, calls: Sequence[tuple[str, Json]]) -> Json:
        return {
            "using": self.using,
            "methodCalls": [
                [name, {"accountId": self.account_id} | arguments, str(index)]
                for index, (name, arguments) in enumerate(calls)
            ],
        }

    def call(self, method: str, **arguments: Json) -> Json:
        """Make one call and return its arguments."""
        [(name, answer)] = self.calls((method, arguments))
        assert name == method, answer
        return answer

    def error(self, method: str, **arguments: Json) -> Json:
        """Make one call that must fail and return the error."""
        [(name, answer)] = self.calls((method, arguments))
        assert name == "error", answer
        return answer

    def state(self) -> str:
        state: str = self.call("Email/get", ids=[])["state"]
        return state

    def inbox(self) -> str:
        boxes = self.call("Mailbox/get", ids=None, properties=["role"])["list"]
        inbox: str = next(box["id"] for box in boxes if box["role"] == "inbox")
        return inbox

    def new_mailbox(self, **properties: Json) -> str:
        wanted = {"name": unique("box")} | properties
        answer = self.call("Mailbox/set", create={"new": wanted})
        mailbox_id: str = answer["created"]["new"]["id"]
        return mailbox_id

    def mail(self, from_header: str | None = "Bob <bob@example.org>") -> str:
        """Have a mail delivered and return its id."""
        subject = unique("mail")
        self.server.deliver(from_header, subject)
        inbox = self.inbox()

        def found() -> str | None:
            (_, _), (_, got) = self.calls(
                (
                    "Email/query",
                    {
                        "filter": {"inMailbox": inbox},
                        "sort": [{"property": "receivedAt", "isAscending": False}],
                        "limit": 50,
                    },
                ),
                (
                    "Email/get",
                    {
                        "#ids": {"resultOf": "0", "name": "Email/query", "path": "/ids"},
                        "properties": ["subject"],
                    },
                ),
            )
            return next((m["id"] for m in got["list"] if m["subject"] == subject), None)

        return eventually(found)

    def arrive(
        self,
        from_header: str | None = "Bob <bob@example.org>",
        subject: str | None = None,
        sender: str = SENDER,
        **headers: str,
    ) -> list[str]:
        """Have a mail delivered, ``List_Id="x"`` being a header, and return the ids of what was
        created by it."""
        since = self.state()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.deliver(from_header, subject or unique("mail"), sender, named)
        created: list[str] = self.changes(since)["created"]
        if created or not self.server.queues:
            return created
        return eventually(lambda: self.changes(since)["created"] or None)

    def get(self, mail_id: str, *properties: str) -> Json:
        """Return these properties of a mail."""
        [mail] = self.call("Email/get", ids=[mail_id], properties=properties)["list"]
        return {name: mail[name] for name in properties}

    def changes(self, since: str, most: int | None = None) -> Json:
        limit = {} if most is None else {"maxChanges": most}
        return self.call("Email/changes", sinceState=since, **limit)

    def mail_in(self, *mailbox_ids: str) -> str:
        """Have a mail delivered and put into exactly these mailboxes."""
        mail_id = self.mail()
        self.patch(mail_id, mailboxIds=dict.fromkeys(mailbox_ids, True))
        return mail_id

    def patch(self, mail_id: str, **patch: Json) -> Json:
        return self.call("Email/set", update={mail_id: patch})

    def relabel(self, mail_id: str, patch: Mapping[str, object]) -> Json:
        """Patch single mailboxes of a mail: id → true or null."""
        pointers = {f"mailboxIds/{id_}": value for id_, value in patch.items()}
        return self.call("Email/set", update={mail_id: pointers})

    def mailboxes_of(self, mail_id: str) -> set[str]:
        [mail] = self.call("Email/get", ids=[mail_id], properties=["mailboxIds"])["list"]
        return set(mail["mailboxIds"])

    def is_gone(self, mail_id: str) -> bool:
        return bool(self.call("Email/get", ids=[mail_id], properties=["id"])["notFound"])

    def query(self, filter_: Json, **arguments: Json) -> list[str]:
        ids: list[str] = self.call("Email/query", filter=filter_, **arguments)["ids"]
        return ids


class EventStream:
    """An event source as it comes over the wire, one event at a time."""

    def __init__(self, client: Client, query: str, **headers: str) -> None:
        self._connection = client.connect()
        whole = {"Authorization": client.authorization, "Accept": "text/event-stream"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        self._connection.request("GET", f"/jmap/eventsource/?{query}", headers=whole)
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers

    def event(self) -> dict[str, str]:
        """Return the fields of the next event; empty at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self._response.readline():
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name:
                fields[name] = value
            elif fields:
                return fields
        return fields

    def changed(self, client: Client) -> dict[str, str]:
        """Return the states that the next event names, which must be a state event."""
        event = self.event()
        assert event["event"] == "state", event
        states: dict[str, str] = json.loads(event["data"])["changed"][client.account_id]
        return states

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def servers(*names: str) -> list[ParameterSet]:
    """Return parameters for the fixture of that name: ``sandbox PROFILE``, or a variable.

    A variable that is not set is left out: nobody has such a server at hand without knowing.
    """
    return [
        pytest.param(
            name, marks=pytest.mark.sandbox if name.startswith("sandbox ") else pytest.mark.system
        )
        for name in names
        if name.startswith("sandbox ") or name in os.environ
    ]


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def eventually(probe: Callable[[], T | None]) -> T:
    """Ask until there is an answer: a real server's index and its push run behind."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (result := probe()) is not None:
            return result
    raise AssertionError("it did not happen in time")
