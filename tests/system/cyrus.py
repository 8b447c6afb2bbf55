"""Cyrus IMAP 3.10 on a test host, and a user of it: the real JMAP and CardDAV server of the tests.

Reference of the two files: imapd.conf(5) and cyrus.conf(5). What is set is what Debian's defaults
lack; the reasons stand beside it.
"""

import base64
import contextlib
import http.client
import imaplib
import json
import smtplib
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Self
from urllib.parse import quote
from xml.etree import ElementTree

from tests.system.host import Host

HTTP_PORT, HTTPS_PORT, IMAP_PORT, LMTP_PORT = 8008, 8443, 8143, 8024
LOOPBACK = "127.0.0.1"
PASSWORD = "secret"
READY_SECONDS = 30.0
# Who vouches for it where it is asked to be known by a name.
CA_FILE = "/etc/ssl/test/ca.pem"

MAIL = "urn:ietf:params:jmap:mail"
CORE = "urn:ietf:params:jmap:core"
SIEVE = "https://cyrusimap.org/ns/jmap/sieve"

_IMAPD_CONF = """\
configdirectory: /var/lib/cyrus
partition-default: /var/spool/cyrus/mail
defaultsearchtier: t1
t1searchpartition-default: /var/lib/cyrus/search
search_engine: {search_engine}
conversations: yes
conversations_db: twoskip
altnamespace: no
unixhierarchysep: yes
admins: admin
delete_mode: immediate
httpmodules: admin carddav jmap
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_mech_list: PLAIN LOGIN
sync_log: yes
sync_log_channels: squatter
jmap_pushpoll: {push_poll}
jmap_nonstandard_extensions: yes
idlesocket: /run/cyrus/socket/idle
lmtpsocket: /run/cyrus/socket/lmtp
notifysocket: /run/cyrus/socket/notify
sievedir: /var/lib/cyrus/sieve
syslog_prefix: cyrus
tls_server_cert: /etc/ssl/test/server.pem
tls_server_key: /etc/ssl/test/server.key
"""

_CYRUS_CONF = f"""\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
  idled   cmd="idled"
}}
SERVICES {{
  imap cmd="imapd"    listen="{LOOPBACK}:{IMAP_PORT}"
  http cmd="httpd"    listen="{LOOPBACK}:{HTTP_PORT}" maxchild=50
  https cmd="httpd -s" listen="{LOOPBACK}:{HTTPS_PORT}" maxchild=50
  lmtp cmd="lmtpd -a" listen="{LOOPBACK}:{LMTP_PORT}"
}}
DAEMON {{
  indexer cmd="squatter -R"
}}
"""


# Stalwart's answers leave out what is null.
_NULLS = ("notCreated", "notUpdated", "notDestroyed")


class CyrusError(Exception):
    """Cyrus answered other than it must; the message shows the answer."""


@dataclass(frozen=True, slots=True)
class Cyrus:
    """The mail server of a host, running."""

    host: Host

    @classmethod
    def start(cls, host: Host, *, push: bool = True, search: bool = True) -> Self:
        """Configure Cyrus, (re)start it, and wait until it accepts connections.

        Args:
            push: EventSource works; without it, the session names no ``eventSourceUrl``.
            search: filters by text work, once the indexer has seen a mail; without it, they fail.
        """
        settings = {
            "push_poll": "1s" if push else "0",
            "search_engine": "xapian" if search else "none",
        }
        host.write("/etc/imapd.conf", _IMAPD_CONF.format_map(settings))
        host.write("/etc/cyrus.conf", _CYRUS_CONF)
        folders = ("/var/lib/cyrus/search", "/var/lib/cyrus/sieve", "/run/cyrus/socket")
        host.run("install", "-d", "-o", "cyrus", "-g", "mail", *folders)
        # Restarts are counted against the unit; this fails only where there was none.
        host.run("systemctl", "reset-failed", "cyrus-imapd.service", check=False)
        host.run("systemctl", "restart", "cyrus-imapd.service")
        cyrus = cls(host)
        cyrus._await_ports()
        return cyrus

    @property
    def version(self) -> str:
        """``Cyrus 3.10.2``: as its package says, without Debian's revision."""
        told = self.host.run("dpkg-query", "--show", "--showformat=${Version}", "cyrus-imapd")
        return f"Cyrus {told.stdout.partition('-')[0]}"

    @property
    def url(self) -> str:
        """Where the host's own programs find it."""
        return f"http://{LOOPBACK}:{HTTP_PORT}"

    def certify(self, name: str) -> str:
        """Have it known by `name`, by the authority of CA_FILE; returns its https URL."""
        folder = CA_FILE.rpartition("/")[0]
        self.host.run("install", "--directory", folder)
        key = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout")
        new = ("openssl", "req", "-x509", *key)
        self.host.run(*new, f"{folder}/ca.key", "-out", CA_FILE, "-subj", "/CN=Test authority")
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        signed = ("-CA", CA_FILE, "-CAkey", f"{folder}/ca.key", "-out", f"{folder}/server.pem")
        self.host.run(*new, f"{folder}/server.key", *subject, *signed)
        self.host.run("chown", "cyrus", f"{folder}/server.key")
        return f"https://{name}:{HTTPS_PORT}"

    def act_for_others(self) -> None:
        """Take the header Authorize-As of ``admin``: as a backend of a Murder, which it needs to be
        for that (imap/httpd.c: proxy_authz). No user can be made from then on."""
        murder = "mupdate_server: 127.0.0.1\nproxyservers: admin\n"
        self.host.write("/etc/imapd.conf", self.host.read("/etc/imapd.conf") + murder)
        self.host.run("systemctl", "restart", "cyrus-imapd.service")
        self._await_ports()

    def user(self, name: str) -> "User":
        """A new user with an empty Inbox."""
        self._set_password("admin")
        self._set_password(name)
        self.host.run("chown", "cyrus:sasl", "/etc/sasldb2")
        self.host.run("chmod", "660", "/etc/sasldb2")
        with self._administration() as imap:
            for answer, _ in (
                imap.create(f"user/{name}"),
                imap.setacl(f"user/{name}", "admin", "lrswipkxtecda"),
            ):
                if answer != "OK":
                    raise CyrusError(f"creating the user {name}: {answer}")
        return User(self.host, name)

    def remove(self, user: "User") -> None:
        """With all that the user had: the next one of that name begins with nothing."""
        with self._administration() as imap:
            answer, text = imap.delete(f"user/{user.name}")
            if answer != "OK":
                raise CyrusError(f"removing the user {user.name}: {text}")

    def expire(self) -> None:
        """Remove what moved and deleted mail has left in its former mailboxes (cyr_expire(8))."""
        program = "/usr/lib/cyrus/bin/cyr_expire"
        self.host.run("runuser", "-u", "cyrus", "--", program, "-E", "1", "-X", "0")

    @contextlib.contextmanager
    def _administration(self) -> Iterator[imaplib.IMAP4]:
        with self.host.network():
            imap = imaplib.IMAP4(LOOPBACK, IMAP_PORT, timeout=READY_SECONDS)
        with imap:
            imap.login("admin", PASSWORD)
            yield imap

    def _set_password(self, name: str) -> None:
        self.host.run("saslpasswd2", "-p", "-c", name, stdin=PASSWORD)

    def _await_ports(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        for port in (IMAP_PORT, HTTP_PORT, LMTP_PORT):
            listening = f":{port:04X} 00000000:0000 0A"
            while listening not in self.host.read("/proc/net/tcp"):
                if time.monotonic() > deadline:
                    log = self.host.run("journalctl", "-u", "cyrus-imapd", "-n", "30").stdout
                    raise CyrusError(f"nothing listens on port {port}:\n{log}")


class User:
    """A user of Cyrus, doing what a person does with a mail app and an address book.

    ``account_id`` is JMAP's.
    """

    capabilities: tuple[str, ...] = (CORE, MAIL, SIEVE)

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self.name = self.account_id = name
        self.address = f"{name}@example.org"
        self._authorization = authorization(name)

    def receive(self, *messages: EmailMessage | bytes) -> None:
        """Deliver each message to the user."""
        self.receive_from("sender@example.net", *messages)

    def receive_from(self, return_path: str, *messages: EmailMessage | bytes) -> None:
        """Deliver each message to the user, with this sender on the envelope."""
        with self._host.network():
            lmtp = smtplib.LMTP(LOOPBACK, LMTP_PORT, timeout=READY_SECONDS)
        with lmtp:
            for message in messages:
                lmtp.sendmail(return_path, [self.name], bytes(message))

    def keep(self, mailbox: str, received_at: float, messages: Iterable[EmailMessage]) -> None:
        """Put mail with this date (Unix seconds) into a mailbox, all in one command (RFC 3502,
        RFC 7888): answered one by one, ten thousand would take minutes."""
        date = imaplib.Time2Internaldate(received_at)
        command = f'0 APPEND "INBOX/{mailbox}"'.encode()
        for message in messages:
            body = message.as_bytes(policy=SMTP)
            command += f" {date} {{{len(body)}+}}\r\n".encode() + body
        with self._host.network():
            imap = imaplib.IMAP4(LOOPBACK, IMAP_PORT, timeout=READY_SECONDS)
        with imap:
            imap.login(self.name, PASSWORD)
            imap.send(command + b"\r\n")
            while not (line := imap.readline()).startswith(b"0 "):
                pass
        if not line.startswith(b"0 OK"):
            raise CyrusError(f"APPEND: {line!r}")

    def jmap(self, *calls: tuple[str, dict[str, Any], str]) -> list[list[Any]]:
        """One JMAP request (RFC 8620 §3.3); returns its methodResponses, errors included."""
        body = {"using": self.capabilities, "methodCalls": calls}
        headers = {"Content-Type": "application/json"}
        status, _, text = self.request("POST", "/jmap/", json.dumps(body).encode(), headers)
        if status != http.client.OK:
            raise CyrusError(f"JMAP: {status} {text!r}")
        responses: list[list[Any]] = json.loads(text)["methodResponses"]
        return responses

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One JMAP method on this account; an ``error`` response is raised."""
        [[name, result, _]] = self.jmap((method, {"accountId": self.account_id, **arguments}, "0"))
        if name == "error":
            raise CyrusError(f"{method}: {result}")
        answer: dict[str, Any] = dict.fromkeys(_NULLS) | result
        return answer

    def mailboxes(self) -> dict[str, str]:
        """Name -> id of all mailboxes; a nested one is named ``Parent/Child``."""
        found = {box["id"]: box for box in self.call("Mailbox/get", ids=None)["list"]}

        def path(box: dict[str, Any]) -> str:
            parent = found.get(box["parentId"])
            return f"{path(parent)}/{box['name']}" if parent else str(box["name"])

        return {path(box): identifier for identifier, box in found.items()}

    def make_mailboxes(self, *names: str) -> dict[str, str]:
        """Create top-level mailboxes; returns name -> id of all that there are then."""
        create = {name: {"name": name, "parentId": None} for name in names}
        result = self.call("Mailbox/set", create=create)
        if result["notCreated"]:
            raise CyrusError(f"Mailbox/set: {result['notCreated']}")
        return self.mailboxes()

    def mails(self, mailbox: str) -> list[dict[str, Any]]:
        """The mails in a mailbox of that id, oldest first: id, mailboxIds, from, subject."""
        query = {
            "accountId": self.account_id,
            "filter": {"inMailbox": mailbox},
            "sort": [{"property": "receivedAt"}],
        }
        get = {
            "accountId": self.account_id,
            "#ids": {"resultOf": "0", "name": "Email/query", "path": "/ids"},
            "properties": ["id", "mailboxIds", "from", "subject"],
        }
        answers = self.jmap(("Email/query", query, "0"), ("Email/get", get, "1"))
        mails: list[dict[str, Any]] = answers[1][1]["list"]
        return mails

    def patch(self, email: str, mailboxes: dict[str, bool]) -> None:
        """Put a mail into the mailboxes (by id) that are True, take it out of the others."""
        self.patch_all([email], mailboxes)

    def patch_all(self, emails: Iterable[str], mailboxes: dict[str, bool]) -> None:
        """The same of all these mails, in one request."""
        change = {self.pointer(box): present or None for box, present in mailboxes.items()}
        result = self.call("Email/set", update=dict.fromkeys(emails, change))
        if result["notUpdated"]:
            raise CyrusError(f"Email/set: {result['notUpdated']}")

    def pointer(self, mailbox: str) -> str:
        """Where a patch of a mail says whether it is in the mailbox of this id."""
        return f"mailboxIds/{mailbox}"

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """An open event stream: the data of each StateChange from now on (RFC 8620 §7.3)."""
        with contextlib.closing(self.connection()) as connection:
            path = "/jmap/eventsource/?types=Email,Mailbox&closeafter=no&ping=0"
            connection.request("GET", path, headers={"Authorization": self._authorization})
            data = (
                line.removeprefix(b"data:")
                for line in connection.getresponse()
                if line.startswith(b"data:")
            )
            yield map(json.loads, data)

    def activate(self, script: str) -> None:
        """Make a Sieve script the active one, as a JMAP program does."""
        kind = {"Content-Type": "application/sieve"}
        path = f"/jmap/upload/{self.name}/"
        blob = json.loads(self.request("POST", path, script.encode(), kind)[2])["blobId"]
        result = self.call(
            "SieveScript/set",
            create={"0": {"name": "test", "blobId": blob}},
            onSuccessActivateScript="#0",
        )
        if result["notCreated"]:
            raise CyrusError(f"SieveScript/set: {result['notCreated']}")

    @property
    def address_book(self) -> str:
        """The path of the user's default address book."""
        return f"/dav/addressbooks/user/{self.name}/Default/"

    @property
    def upload_path(self) -> str:
        """Where files are given to the server (RFC 8620 §6.1)."""
        return f"/jmap/upload/{self.name}/"

    def put_card(self, name: str, card: str, **headers: str) -> str | None:
        """PUT a card as `name` in the address book; returns its ETag, where there is one."""
        sent = {"Content-Type": "text/vcard; charset=utf-8", **headers}
        path = self.address_book + quote(name)
        status, answer, text = self.request("PUT", path, card.encode(), sent)
        if status not in {http.client.CREATED, http.client.NO_CONTENT}:
            raise CyrusError(f"PUT {path}: {status} {text!r}")
        return answer.get("ETag")

    def make_groups(self, *names: str) -> dict[str, str]:
        """Create contact groups, as an address book app does (vCard 3); returns name -> UID."""
        uids = {name: str(uuid.uuid4()) for name in names}
        for name, uid in uids.items():
            lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}", f"N:{name};;;;"]
            lines += ["X-ADDRESSBOOKSERVER-KIND:group", "END:VCARD", ""]
            self.put_card(f"{uid}.vcf", "\r\n".join(lines))
        return uids

    def cards(self) -> dict[str, str]:
        """Path -> text of every card in the address book."""
        report = (
            '<C:addressbook-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
            "<prop><C:address-data/></prop><C:filter/></C:addressbook-query>"
        )
        headers = {"Content-Type": "application/xml", "Depth": "1"}
        status, _, text = self.request("REPORT", self.address_book, report.encode(), headers)
        if status != http.client.MULTI_STATUS:
            raise CyrusError(f"REPORT: {status} {text!r}")
        return {
            answer.findtext("{DAV:}href", ""): answer.findtext(
                ".//{urn:ietf:params:xml:ns:carddav}address-data", ""
            )
            for answer in ElementTree.fromstring(text)
        }

    def subscribed(self) -> set[str]:
        """What an IMAP app shows that goes by subscriptions."""
        with self._host.network():
            imap = imaplib.IMAP4(LOOPBACK, IMAP_PORT, timeout=READY_SECONDS)
        with imap:
            imap.login(self.name, PASSWORD)
            lines = [line.decode() for line in imap.lsub()[1] if isinstance(line, bytes)]
        return {line.rpartition(' "/" ')[2].strip('"') for line in lines}

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One HTTP exchange as this user: status, headers, body."""
        with contextlib.closing(self.connection()) as connection:
            sent = {"Authorization": self._authorization, **(headers or {})}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def connection(self) -> http.client.HTTPConnection:
        """A connection to the server that is open, for whoever asks on it."""
        connection = http.client.HTTPConnection(LOOPBACK, HTTP_PORT, timeout=READY_SECONDS)
        with self._host.network():
            connection.connect()
        return connection


def authorization(name: str) -> str:
    """The header of a user's requests (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{name}:{PASSWORD}'.encode()).decode()}"


def mail(sender: str, subject: str = "Hello", to: str = "alice@example.org") -> EmailMessage:
    """A small mail; `sender` is the From header's value, e.g. ``Bob <bob@example.org>``."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{uuid.uuid4()}@example.net>"
    message.set_content(f"{subject}\n")
    return message
