"""From a mail address to its server: what is tried, and what may be trusted."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mailroom.engine.loop import Loop, Promise
from mailroom.engine.names import ask_about
from mailroom.engine.transfer import Stream
from mailroom.errors import TransientError
from mailroom.rules.account.autodiscovery import (
    Candidate,
    DnsAnswer,
    Seen,
    SrvTarget,
    candidates,
    domain_of,
    needs_confirmation,
    short,
    why_none,
)
from mailroom.rules.configuration.servers import FASTMAIL_SESSION
from mailroom.wire.http import Request, Response
from mailroom.work.setup.autodiscovery import first_of, look_at
from tests.process import ROOT
from tests.virtual import VirtualClock
from tests.zone import Records, Zone

SESSION = json.dumps({"capabilities": {}, "apiUrl": "/jmap/"}).encode()
HERE = "https://example.org/.well-known/jmap"


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("anna@example.org", "example.org"),
        (" Anna@Example.ORG ", "example.org"),
        ("anna@bücher.example", "xn--bcher-kva.example"),
        ("anna@mail.example.org.", "mail.example.org"),
    ],
)
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_what_is_no_address_is_told() -> None:
    with pytest.raises(ValueError, match="'anna' has no @: write an address like anna@example"):
        domain_of("anna")


@pytest.mark.parametrize(
    "address", ["anna@", "@example.org", "anna@localhost", "a b@example.org", "anna@[10.0.0.1]",
                "anna@a..b", "anna@.org", "anna@b@*"],
)  # fmt: skip
def test_nor_is_this_one(address: str) -> None:
    with pytest.raises(ValueError, match="is not a mail address"):
        domain_of(address)


def tried(domain: str, names: DnsAnswer) -> list[str]:
    return [candidate.url for candidate in candidates(domain, names)]


AT_FASTMAIL = ("in1-smtp.messagingengine.com", "in2-smtp.messagingengine.com")


@pytest.mark.parametrize(
    ("domain", "names", "urls"),
    [
        ("example.org", DnsAnswer(), [HERE]),
        (
            "example.org",
            DnsAnswer(services=(SrvTarget("jmap.example.org", 443), SrvTarget("b.example", 8443))),
            [
                "https://jmap.example.org/.well-known/jmap",
                "https://b.example:8443/.well-known/jmap",
            ],
        ),
        ("example.org", DnsAnswer(exchangers=AT_FASTMAIL), [FASTMAIL_SESSION]),
        ("fastmail.com", DnsAnswer(trouble="silent", is_silent=True), [FASTMAIL_SESSION]),
        (
            "example.org",
            DnsAnswer(services=(SrvTarget("example.org", 443),), exchangers=AT_FASTMAIL),
            [HERE],
        ),
        ("example.org", DnsAnswer(exchangers=("notmessagingengine.com",)), [HERE]),
        ("example.org", DnsAnswer(is_unknown=True), []),
        ("example.org", DnsAnswer(has_no_service=True), []),
        ("example.org", DnsAnswer(trouble="silent", is_silent=True), []),
        ("example.org", DnsAnswer(trouble="no library"), [HERE]),
    ],
)
def test_what_is_tried(domain: str, names: DnsAnswer, urls: list[str]) -> None:
    assert tried(domain, names) == urls


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (DnsAnswer(is_unknown=True), "there is no domain example.org"),
        (DnsAnswer(has_no_service=True), "example.org says that it has no JMAP server (SRV)"),
        (DnsAnswer(trouble="it is silent", is_silent=True), "it is silent"),
        (DnsAnswer(trouble="x"), "no JMAP server was found for example.org (x)"),
        (DnsAnswer(), "no JMAP server was found for example.org"),
    ],
)
def test_why_there_is_none(names: DnsAnswer, why: str) -> None:
    assert why_none("example.org", names) == why


@pytest.mark.parametrize(
    ("url", "named", "asks"),
    [
        (HERE, None, False),
        ("https://mail.example.org:8443/jmap", None, False),
        ("https://example.org.evil.example/jmap", None, True),
        ("https://evilexample.org/jmap", None, True),
        ("https://jmap.example.net/session", None, True),
        ("https://jmap.example.net/session", "jmap.example.net", False),
        ("https://jmap.example.net:444/session", "jmap.example.net", True),
        ("http://127.0.0.1:8008/jmap", "http://127.0.0.1:8008", False),
        ("https://Mail.Example.ORG./jmap", None, False),
        (FASTMAIL_SESSION, None, True),
    ],
)
def test_a_host_outside_of_the_domain_is_confirmed(url: str, named: str | None, asks: bool) -> None:
    assert needs_confirmation(url, "example.org", named) == asks


def test_fastmails_own_server_is_its_own() -> None:
    assert not needs_confirmation(FASTMAIL_SESSION, "fastmail.com", None)


@pytest.mark.parametrize(
    ("url", "written"),
    [
        (HERE, "example.org"),
        ("https://example.org:8443/.well-known/jmap", "example.org:8443"),
        ("http://127.0.0.1:8008/.well-known/jmap", "http://127.0.0.1:8008"),
        ("https://example.org/jmap/session", "https://example.org/jmap/session"),
    ],
)
def test_a_url_is_written_as_people_would(url: str, written: str) -> None:
    assert short(url) == written


# Name servers


def asked(records: Records, *, is_silent: bool = False, is_broken: bool = False) -> DnsAnswer:
    with Zone(records, is_silent=is_silent, is_broken=is_broken) as zone:
        return ask_about("example.org", 0.5, zone.address)


def test_names_are_asked_for() -> None:
    names = asked({
        ("example.org", "MX"): ["10 mx.example.org."],
        ("_jmap._tcp.example.org", "SRV"): [
            "20 0 443 late.example.org.", "10 1 443 light.example.org.",
            "10 5 8443 Heavy.example.org.",
        ],
    })  # fmt: skip
    assert names == DnsAnswer(
        services=(
            SrvTarget("heavy.example.org", 8443),
            SrvTarget("light.example.org", 443),
            SrvTarget("late.example.org", 443),
        ),
        exchangers=("mx.example.org",),
    )


def test_a_domain_may_say_that_it_has_none() -> None:
    names = asked({("_jmap._tcp.example.org", "SRV"): ["0 0 0 ."]})
    assert names == DnsAnswer(has_no_service=True)


def test_a_domain_that_says_nothing_is_not_unknown() -> None:
    assert asked({("example.org", "A"): ["192.0.2.1"]}) == DnsAnswer()
    assert asked({("example.net", "A"): ["192.0.2.1"]}) == DnsAnswer(is_unknown=True)


def test_a_silent_name_server_is_waited_for_once() -> None:
    began = time.monotonic()
    names = asked({}, is_silent=True)
    assert time.monotonic() - began < 2
    assert names == DnsAnswer(
        trouble="the name server has not answered within 0.5 s", is_silent=True
    )


def test_a_name_server_that_fails_is_no_unknown_domain() -> None:
    names = asked({}, is_broken=True)
    assert names.is_silent
    assert not names.is_unknown
    assert "of no help" in names.trouble


def test_without_the_library_the_domain_itself_is_all_there_is_to_try() -> None:
    script = (
        "import sys; sys.modules['dns'] = None\n"
        "from mailroom.engine.names import ask_about\n"
        "names = ask_about('example.org')\n"
        "assert 'python3-dnspython' in names.trouble and not names.is_silent, names\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


# Places


class Places:
    """What answers where; everywhere else nothing listens."""

    def __init__(self, answers: Mapping[str, Response]) -> None:
        self._answers = answers
        self.requests: list[Request] = []

    def send(self, request: Request) -> Promise[Response]:
        self.requests.append(request)
        promise: Promise[Response] = Promise()
        if answer := self._answers.get(request.url):
            promise.resolve(answer)
        elif "silent" not in request.url:
            promise.reject(TransientError(f"{request}: nobody there"))
        return promise

    def stream(self, request: Request) -> Stream:
        raise NotImplementedError


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop(VirtualClock())
    yield loop
    loop.close()


def run(loop: Loop, coroutine: Any) -> Any:
    task = loop.spawn(coroutine, "test")
    while not task.done:
        loop.turn()
    return task.result()


def to(url: str) -> Response:
    return Response(302, {"location": url})


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (
            Response(401, {"www-authenticate": 'Basic realm="a, Bearer b", Digest nonce="x"'}),
            Seen(HERE, frozenset({"basic", "digest"})),
        ),
        (Response(401, {}), Seen(HERE)),
        (Response(200, {}, SESSION), Seen(HERE)),
        (Response(200, {}, b"<html>"), Seen(HERE, fault=f"{HERE}: the answer is no JMAP session")),
        (Response(200, {}, b"[]"), Seen(HERE, fault=f"{HERE}: the answer is no JMAP session")),
        (
            Response(200, {}, b"[" * 100_000),
            Seen(HERE, fault=f"{HERE}: the answer is no JMAP session"),
        ),
        (Response(302, {}), Seen(HERE, fault=f"{HERE}: the answer is 302")),
        (Response(404, {}), Seen(HERE, fault=f"{HERE}: the answer is 404")),
        (Response(403, {}), Seen(HERE, fault=f"{HERE}: the answer is 403")),
        (None, Seen(HERE, fault=f"GET {HERE}: nobody there")),
        (
            to("http://example.org/jmap"),
            Seen(
                "http://example.org/jmap",
                fault="http://example.org/jmap would send the secret in the clear; use https: "
                "(http: is for loopback only)",
            ),
        ),
        (
            to("https://[x/"),
            Seen(HERE, fault=f"GET {HERE}: redirected to something that is not a URL"),
        ),
        (to(HERE), Seen(HERE, fault=f"{HERE}: more than 5 redirects")),
    ],
)
def test_what_is_there(loop: Loop, answer: Response | None, seen: Seen) -> None:
    places = Places({HERE: answer} if answer else {})
    assert run(loop, look_at(loop, places, HERE)) == seen
    assert not any("Authorization" in request.headers for request in places.requests)


def test_a_redirect_to_another_host_is_followed_and_told(loop: Loop) -> None:
    there = "https://jmap.example.net/session"
    places = Places({HERE: to(there), there: Response(401, {"www-authenticate": "Bearer"})})
    assert run(loop, look_at(loop, places, HERE)) == Seen(there, frozenset({"bearer"}))


def test_a_silent_place_is_given_up(loop: Loop) -> None:
    began = loop.now()
    seen = run(loop, look_at(loop, Places({}), "https://silent.example/"))
    assert seen.fault == "GET https://silent.example/: no answer within 10 s"
    assert loop.now() - began == pytest.approx(10)


def test_the_first_that_is_one_is_taken(loop: Loop) -> None:
    places = Places({HERE: Response(200, {}, SESSION)})
    first, second = Candidate("https://dead.example/", "a"), Candidate(HERE, "b")
    assert run(loop, first_of(loop, places, [first, second])) == (second, Seen(HERE))
    assert run(loop, first_of(loop, places, [first])) is None
