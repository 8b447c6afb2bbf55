"""Where secrets go, whatever the files of accounts and the servers say: seen at the servers.

Three accounts, made up at random, and four servers that send them about: by redirects, by what
sessions name, by the hrefs of WebDAV. What every server is shown is told by whose secret it is.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urljoin

from hypothesis import given
from hypothesis import strategies as st

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config, Tls, from_data
from mailroom.rules.configuration.text import parse_account, parse_data
from mailroom.tenants import Shared, Tenants
from mailroom.wire.urls import origin
from mailroom.work.account.account import Common
from mailroom.work.account.reporter import Audience
from tests.peer import Asked, Peer, Step, answer
from tests.sandbox import CYRUS_3_13
from tests.sandbox.session import session
from tests.virtual import VirtualClock

_ALL: Final = "all"
_NAMES: Final = ("anna", "otto", "zoe")
_KINDS: Final = ("jmap-token", "jmap-password", "carddav-password")
_PATHS = (
    "",
    "/",
    "/jmap/",
    "/.well-known/jmap",
    "/.well-known/carddav",
    "/~zoe/session",
    "/dav/b/",
)
_SECONDS = 40.0
_MULTISTATUS = (
    '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:response>'
    "<d:href>{0}</d:href><d:propstat><d:prop>"
    "<d:current-user-principal><d:href>{1}</d:href></d:current-user-principal>"
    "<c:addressbook-home-set><d:href>{1}</d:href></c:addressbook-home-set>"
    "<d:resourcetype><d:collection/>{2}</d:resourcetype></d:prop>"
    "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
)


@dataclass(frozen=True, slots=True)
class Secret:
    """Whose it is, an account's or that of all, and of which kind."""

    whose: str
    kind: str

    @property
    def text(self) -> str:
        return f"{self.kind}-of-{self.whose}"


SECRETS = [Secret(whose, kind) for whose in (_ALL, *_NAMES) for kind in _KINDS]


@dataclass(slots=True)
class Stage:
    """One made up world. ``shown`` are the secrets that servers were shown, by where that was,
    ``named`` the origins that a session named which was read with this secret."""

    chance: Random
    loop: Loop
    peers: list[Peer] = field(default_factory=list)
    shown: list[tuple[Secret, str]] = field(default_factory=list)
    named: dict[Secret, set[str]] = field(default_factory=dict)
    habits: dict[tuple[str, str, str], list[Step]] = field(default_factory=dict)

    def place(self) -> str:
        """A URL, on whichever server."""
        return self.chance.choice(self.peers).url + self.chance.choice(_PATHS)

    def reference(self) -> str:
        """A URL as a server names it."""
        url = self.place()
        return self.chance.choice(
            (url, url, url.removeprefix("http:"), "/here/", "there", url + "#")
        )

    def hear(self, number: int, asked: Asked) -> Iterable[Step]:
        """What a server does about a request; to the same one always the same."""
        here = self.peers[number].url
        secrets = shown_in(asked)
        self.shown += [(secret, here) for secret in secrets]
        key = (here, asked.method, asked.target.partition("?")[0])
        if key not in self.habits:
            self.habits[key] = [self._habit(asked)]
        [step] = self.habits[key]
        if isinstance(step, bytes) and b'"apiUrl"' in step:
            document = json.loads(step.partition(b"\r\n\r\n")[2])
            for secret in secrets:
                known = self.named.setdefault(secret, set())
                for name in ("apiUrl", "eventSourceUrl"):
                    known.add(origin(urljoin(here + asked.target, document[name])))
        return [step]

    def _habit(self, asked: Asked) -> bytes:
        if self.chance.random() < 0.15:
            status = self.chance.choice(("301 A", "302 A", "303 A", "307 A", "308 A"))
            return answer(b"", status, f"Location: {self.reference()}")
        if self.chance.random() < 0.1:
            refusal = self.chance.choice(("401 A", "403 A", "404 A", "500 A"))
            return answer(b"", refusal, 'WWW-Authenticate: Basic realm="x", Bearer')
        if "event-stream" in asked.headers.get("accept", ""):
            return answer(b"", "200 A", "Content-Type: text/event-stream")
        if asked.method == "GET":
            return answer(self._session())
        if asked.method == "POST":
            calls = json.loads(asked.body)["methodCalls"]
            errors = [["error", {"type": "serverFail"}, tag] for _, _, tag in calls]
            return answer(json.dumps({"methodResponses": errors, "sessionState": "0"}).encode())
        book = self.chance.choice(("", "<c:addressbook/>"))
        found = _MULTISTATUS.format(self.reference(), self.reference(), book)
        return answer(found.encode(), "207 A", "Content-Type: application/xml")

    def _session(self) -> bytes:
        document = session(CYRUS_3_13, "user", "0", "127.0.0.1")
        names = ("apiUrl", "eventSourceUrl", "uploadUrl", "downloadUrl")
        return json.dumps({**document, **{name: self.reference() for name in names}}).encode()


def shown_in(asked: Asked) -> list[Secret]:
    """The secrets that a request bears; they are nowhere but in its Authorization."""
    given = asked.headers.pop("authorization", "")
    scheme, _, credentials = given.partition(" ")
    whole = base64.b64decode(credentials).decode() if scheme == "Basic" else credentials
    rest = f"{asked.target} {asked.headers} {asked.body!r}"
    assert not [each for each in SECRETS if each.text in rest], rest
    return [each for each in SECRETS if whole.endswith(each.text)]


def made_up(stage: Stage, *, is_default: bool) -> dict[str, Any]:
    """What a file says: of an account, or of all."""
    chance = stage.chance
    data: dict[str, Any] = {}
    if is_default or chance.random() < 0.6:
        data["jmap"] = {"url": stage.place()}
    if is_default or chance.random() < 0.3:
        name = chance.choice(("{account}", "{account}%master", "admin"))
        data.setdefault("jmap", {})["username"] = name
    if chance.random() < 0.3:
        data.setdefault("jmap", {})["authorize_as"] = chance.choice(("{account}", "zoe"))
    if chance.random() < 0.6:
        data["carddav"] = {"url": stage.place()}
    data["contacts"] = {"by": chance.choice(("auto", "jmap", "carddav"))}
    return data


def given_secrets(chance: Random) -> Iterator[Secret]:
    for secret in SECRETS:
        if chance.random() < (0.8 if secret.whose == _ALL else 0.4):
            yield secret


def may_be_shown(stage: Stage, secret: Secret, defaults: Config, config: Config | None) -> set[str]:
    """The origins that this secret is for. ``config`` is the account's whose it is; without, it is
    that of all, for what ``mailroom.yaml`` names alone."""
    whose = config or defaults
    if secret.kind == "carddav-password":
        return {origin(whose.carddav.url)}
    return {origin(whose.jmap.url)} | (stage.named.get(secret, set()) if config else set())


def lived(seed: int) -> Sequence[Secret]:
    """The secrets that servers were shown in one made up world, each where it may be."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        loop = Loop(VirtualClock())
        stack.callback(loop.close)
        stage = Stage(Random(seed), loop)
        for number in range(4):
            peer = Peer(loop, partial(stage.hear, number))
            stage.peers.append(stack.enter_context(peer))
        for secret in given_secrets(stage.chance):
            prefix = "" if secret.whose == _ALL else f"{secret.whose}."
            (folder / f"{prefix}{secret.kind}").write_text(secret.text)
        tenants = _tenants(loop, folder)
        stack.callback(tenants.close)
        said = parse_data(json.dumps(made_up(stage, is_default=True)), "mailroom.yaml")
        defaults = from_data(said)
        configs = _put_to_work(stage, tenants, said, defaults)
        reached: list[bool] = []
        loop.call_at(loop.now() + _SECONDS, lambda: reached.append(True))
        while not reached:
            loop.turn()
        for secret, where in stage.shown:
            config = None if secret.whose == _ALL else configs[secret.whose]
            assert where in may_be_shown(stage, secret, defaults, config), (secret, where, config)
        return [secret for secret, _ in stage.shown]


def _tenants(loop: Loop, folder: Path) -> Tenants:
    audience = Audience(_ignore, lambda: False)
    environ = {"CREDENTIALS_DIRECTORY": str(folder)}
    log = Log(lambda *_: True)
    tenants = Tenants(
        Shared(loop, environ, log, "test", Common(), lambda _: audience, _nothing, _nothing)
    )
    tenants.trust(Tls())
    return tenants


def _put_to_work(
    stage: Stage, tenants: Tenants, said: Mapping[str, Any], defaults: Config
) -> dict[str, Config]:
    configs = {}
    for name in _NAMES:
        text = json.dumps(made_up(stage, is_default=False))
        configs[name] = parse_account(text, f"{name}.yaml", name, said)
        try:
            tenants.put_to_work(name, configs[name], defaults)
        except ConfigurationError as error:
            tenants.refuse(name, error.problems)
    return configs


@given(st.integers(0, 2**32 - 1))
def test_a_secret_goes_where_its_owner_has_sent_it_and_nowhere_else(seed: int) -> None:
    lived(seed)


def test_all_kinds_of_secrets_are_seen_on_their_way() -> None:
    """But for a token of all, which is nobody's."""
    found = {secret for seed in range(30) for secret in lived(seed)}
    assert set(SECRETS) - found == {Secret(_ALL, "jmap-token")}


def _ignore(_event: object) -> None:
    pass


def _nothing() -> None:
    pass
