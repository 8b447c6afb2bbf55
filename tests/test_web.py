"""Who gets the credentials, what an answer means, and what the user is told."""

from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.engine.credentials import Basic
from mailroom.errors import (
    CredentialsRefused,
    Crowded,
    Forbidden,
    LastingTrouble,
    MailroomError,
    ProtocolError,
    TransientError,
)
from mailroom.rules.configuration.servers import fault_of_url
from mailroom.wire.http import Request
from mailroom.work.session.web import Web, retry_after
from tests.direct import DirectHttp
from tests.sandbox import Fault
from tests.sandbox import Request as Asked
from tests.sandbox import Response as Answer
from tests.virtual_clients import ORIGIN, VirtualClients

URL = f"{ORIGIN}/jmap/"
GET = Request("GET", URL)


@pytest.fixture
def clients() -> VirtualClients:
    return VirtualClients()


def text(status: int, words: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "text/plain", **named}, words.encode())


def problem(status: int, body: str) -> Answer:
    return Answer(status, {"Content-Type": "application/problem+json"}, body.encode())


JMAP_ERROR = '{"type":"urn:ietf:params:jmap:error:%s"}'
DAV_ERROR = Answer(
    403, {"Content-Type": "application/xml"}, b'<error xmlns="DAV:"><valid-resourcetype/></error>'
)
REFUSED = "the server refuses the credentials with"
PERHAPS = ": is the URL right, does this user have access, or is this a temporary ban?"
NONSENSE = ", which makes no sense here: check it"
CREDENTIALS = "check the credential jmap-password; mailroom login stores a new one"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        # who we are
        (Answer(401), CredentialsRefused, f"{REFUSED} 401: {CREDENTIALS}"),
        (
            Answer(402),
            CredentialsRefused,
            "the server answered 402, which Stalwart does where an account has a second factor: "
            f"make an app password and use that: {CREDENTIALS}",
        ),
        (
            problem(403, '{"type":"about:blank","detail":"Your API token is not valid"}'),
            CredentialsRefused,
            f"{REFUSED} 403 (Your API token is not valid): {CREDENTIALS}",
        ),
        (
            Answer(403, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
            CredentialsRefused,
            f"{REFUSED} 403: {CREDENTIALS}",
        ),
        (
            text(401, "Token expired\n"),
            CredentialsRefused,
            f"{REFUSED} 401 (Token expired): {CREDENTIALS}",
        ),
        # nobody says what for: mod_security's page, a place that is not ours, a ban
        (Answer(403), Forbidden, f"the server answered 403{PERHAPS}"),
        (
            Answer(403, {"Content-Type": "text/html"}, b"<h1>Forbidden</h1> wrong password?"),
            Forbidden,
            f"the server answered 403{PERHAPS}",
        ),
        (
            problem(403, '{"type":"about:blank","title":"Forbidden"}'),
            Forbidden,
            f"the server answered 403 (Forbidden){PERHAPS}",
        ),
        # what was asked
        (
            problem(403, JMAP_ERROR % "unknownCapability"),
            ProtocolError,
            "the server answered 403 (unknownCapability): check it",
        ),
        (DAV_ERROR, ProtocolError, "the server answered 403 (valid-resourcetype): check it"),
        (
            Answer(404, {"Content-Type": "text/html"}, b"<h1>Not here</h1>"),
            ProtocolError,
            f"the server answered 404{NONSENSE}",
        ),
        (
            problem(400, JMAP_ERROR % "notJSON"),
            ProtocolError,
            "the server answered 400 (notJSON): check it",
        ),
        (Answer(501), ProtocolError, f"the server answered 501{NONSENSE}"),
        (Answer(206), ProtocolError, f"the server answered 206{NONSENSE}"),
        (
            text(415, "Only vCards are taken"),
            ProtocolError,
            "the server answered 415 (Only vCards are taken): check it",
        ),
        (
            problem(400, '{"message":"the book\\nis full"}'),
            ProtocolError,
            "the server answered 400 (the book is full): check it",
        ),
        # what passes
        (Answer(500), TransientError, "the server answered 500"),
        (text(502, "Bad\tGateway" * 90), TransientError, None),
        (Answer(507), TransientError, "the server answered 507"),
        (Answer(429), TransientError, "the server answered 429"),
        (Answer(408), TransientError, "the server answered 408"),
        (
            problem(400, JMAP_ERROR[:-1] % "limit" + ',"limit":"maxConcurrentRequests"}'),
            Crowded,
            "the server answered 400 (limit, maxConcurrentRequests)",
        ),
        (
            text(401, "rate limited", Retry_After="7"),
            TransientError,
            "the server answered 401 (rate limited)",
        ),
    ],
)
def test_what_an_answer_means(
    clients: VirtualClients, answer: Answer, error: type[MailroomError], message: str | None
) -> None:
    clients.answers(answer, times=None)
    said = clients.fails(error, clients.web.send(GET, advice="check it"))
    assert said.startswith(f"GET {URL}: ")
    assert len(said) < 400
    assert message is None or said == f"GET {URL}: {message}"


@pytest.mark.parametrize("status", [401, 403])
def test_where_people_log_in_both_mean_a_wrong_secret(clients: VirtualClients, status: int) -> None:
    clients.answers(Answer(status))
    said = clients.fails(CredentialsRefused, clients.web.send(GET, is_login=True))
    assert f"{REFUSED} {status}: {CREDENTIALS}" in said


def test_a_server_that_has_accepted_them_says_nothing_about_them_with_a_bare_403(
    clients: VirtualClients,
) -> None:
    """Stalwart answers a banned address so."""
    clients.run(clients.web.send(GET))
    clients.answers(Answer(403), times=2)
    for is_login in (False, True):
        said = clients.fails(Forbidden, clients.web.send(GET, is_login=is_login))
        assert "accepted the credentials before: this may be a temporary ban" in said
    clients.answers(Answer(401))
    with pytest.raises(CredentialsRefused) as error:
        clients.run(clients.web.send(GET))
    assert error.value.was_accepted


def test_a_redirect_is_no_acceptance(clients: VirtualClients) -> None:
    """Cyrus redirects whoever asks (3.10.2, seen)."""
    clients.answers(Answer(301, {"Location": "/jmap/there"}))
    clients.answers(Answer(401), path="/jmap/there")
    with pytest.raises(CredentialsRefused) as error:
        clients.run(clients.web.send(GET))
    assert not error.value.was_accepted


DIGEST = 'Digest realm="a, Basic b", nonce="x", qop="auth"'


@pytest.mark.parametrize(
    ("challenge", "by_digest"),
    [
        (DIGEST, True),
        (f"{DIGEST}, DIGEST nonce=y, algorithm=SHA-256", True),
        (f'Negotiate, {DIGEST.lower()}, Bearer realm="z"', True),
        (f'{DIGEST}, Basic realm="a"', False),
        ('Basic realm="a, Digest b"', False),
        ("Basic", False),
        ("", False),
    ],
)
def test_digest_is_for_servers_that_offer_it_and_not_basic(
    clients: VirtualClients, challenge: str, by_digest: bool
) -> None:
    seen: list[str] = []
    clients.sandbox.before(lambda _, asked: seen.append(asked.header("Authorization") or "none"))
    clients.answers(Answer(401, {"WWW-Authenticate": challenge}), times=None)
    clients.fails(CredentialsRefused, clients.web.send(GET))
    clients.fails(CredentialsRefused, clients.web.send(GET))
    kinds = [each.partition(" ")[0] for each in seen]
    # By digest the password itself is never sent again, to wherever it was once refused so.
    once = ["none", "Digest"]
    assert kinds == (["Basic", *once, *once] if by_digest else ["Basic", "Basic"])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Sat, 21 Nov 2026 07:07:50 GMT", 470.0),
        ("Sat, 21 Nov 2026 07:07:50 -0000", 470.0),
        ("Saturday, 21-Nov-26 07:07:50 GMT", 470.0),
        ("Sat Nov 21 07:07:50 2026", 470.0),
        ("Fri, 20 Nov 2026 07:06:50 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Wed, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("Wed, 99 Foo 2026 99:99:99", None),
    ],
)
def test_when_to_come_again(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1_795_244_400.0) == seconds


DATES = st.builds(
    "{}, {} {} {} {:02}:{:02}:{:02} {}".format,
    st.sampled_from(["Mon", "Fri", "Xyz"]),
    st.integers(0, 32),
    st.sampled_from(["Jan", "Feb", "Nov", "Foo"]),
    st.sampled_from([0, 1, 26, 99, 1969, 2025, 2026, 9999, 10**9, 10**20]),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from(["GMT", "+0000", "-0000", "+2359", "-9999", "+99999999999", "soon", ""]),
)


@given(st.text() | st.text("0123456789²٣") | DATES)
@example("²")
@example("Fri, 20 Nov 2026 12:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_no_retry_after_is_too_strange(value: str) -> None:
    seconds = retry_after(value, 1_795_244_400.0)
    assert seconds is None or seconds >= 0.0


def test_the_servers_wish_comes_with_the_error(clients: VirtualClients) -> None:
    clients.answers(Answer(503, {"Retry-After": "30"}))
    with pytest.raises(TransientError) as error:
        clients.run(clients.web.send(GET))
    assert error.value.retry_after == 30.0


@pytest.mark.parametrize(
    "location",
    ["/jmap/there", "there", "//mail.example.org/jmap/there", f"{ORIGIN}:443/jmap/there"],
)
def test_a_redirect_is_followed_within_its_origin(clients: VirtualClients, location: str) -> None:
    clients.answers(Answer(308, {"Location": location}))
    clients.answers(Answer(200, {}, b"here"), path="/jmap/there")
    response = clients.run(clients.web.send(Request("POST", URL, {}, b"body")))
    assert response.body == b"here"
    assert clients.requests == ["POST /jmap/", "POST /jmap/there"]


@pytest.mark.parametrize(
    "location",
    [
        "https://elsewhere.example/jmap/",
        "//elsewhere.example/jmap/",
        "http://mail.example.org/jmap/",
        "http://127.0.0.1:8080/jmap/",
        f"{ORIGIN}:8443/jmap/",
        "https://mail.example.org.evil.example/",
        "https://mail.example.org@evil.example/",
        "ftp://mail.example.org/",
        "https://-/",
    ],
)
def test_a_redirect_to_another_origin_is_refused(clients: VirtualClients, location: str) -> None:
    """And what is advised, the configuration takes."""
    clients.answers(Answer(301, {"Location": location + "?token=1"}), times=None)
    said = clients.fails(ProtocolError, clients.web.send(GET))
    assert "redirected to another origin" in said
    assert ("configure it as the url" in said) is (fault_of_url(urljoin(URL, location)) is None)
    is_in_the_clear = location == "http://mail.example.org/jmap/"
    assert ("make the server announce https" in said) is is_in_the_clear
    assert "token" not in said
    assert len(clients.requests) == 1


@pytest.mark.parametrize("location", ["https://[bad", "https://x:99999999/", "/\xe9", "/a b", ""])
def test_a_redirect_to_no_url_is_refused(clients: VirtualClients, location: str) -> None:
    clients.answers(Answer(302, {"Location": location}), times=None)
    clients.fails(ProtocolError, clients.web.send(GET))
    assert len(clients.requests) == 1


def test_redirects_come_to_an_end(clients: VirtualClients) -> None:
    for path, other in (("/jmap/", "/other"), ("/other", "/jmap/")):
        clients.answers(Answer(302, {"Location": other}), path=path, times=None)
    assert "more than 5 redirects" in clients.fails(ProtocolError, clients.web.send(GET))
    assert len(clients.requests) == 6


def test_redirects_of_a_stream_come_to_an_end_as_late(clients: VirtualClients) -> None:
    for path, other in (("/jmap/", "/other"), ("/other", "/jmap/")):
        clients.answers(Answer(302, {"Location": other}), path=path, times=None)
    stream = clients.web.stream(GET, clients.loop.now() + 10.0)
    assert "more than 5 redirects" in clients.fails(ProtocolError, stream)
    assert len(clients.requests) == 6


def test_a_redirect_to_itself_is_not_followed(clients: VirtualClients) -> None:
    clients.answers(Answer(302, {"Location": URL}), times=None)
    assert "redirected to itself" in clients.fails(ProtocolError, clients.web.send(GET))
    assert len(clients.requests) == 1


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/", "http://mail.example.org/", f"{ORIGIN}:1/"]
)
def test_only_trusted_origins_get_the_credentials(clients: VirtualClients, url: str) -> None:
    said = clients.fails(ProtocolError, clients.web.send(Request("GET", url)))
    assert "may not have the credentials" in said
    assert clients.requests == []
    with pytest.raises(ProtocolError):
        clients.run(clients.web.stream(Request("GET", url), clients.loop.now()))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://mail.example.org/", LastingTrouble),
        ("ftp://mail.example.org/", LastingTrouble),
        ("http:///jmap/", LastingTrouble),
        ("https://[bad/", ProtocolError),
        ("https://mail.example.org:port/", ProtocolError),
        ("https://mail.exämple.org/", ProtocolError),
        ("https://mail.example.org/\r\nX-Header: 1", ProtocolError),
    ],
)
def test_an_origin_that_would_not_keep_a_secret_is_not_trusted(
    clients: VirtualClients, url: str, error: type[MailroomError]
) -> None:
    with pytest.raises(error) as raised:
        clients.web.trust(url)
    assert str(raised.value).isprintable()


def test_where_no_further_origin_is_trusted_none_gets_the_credentials(
    clients: VirtualClients,
) -> None:
    clients.web.confine()
    with pytest.raises(LastingTrouble, match="may not have the password of all accounts"):
        clients.web.trust("https://elsewhere.example/")
    clients.fails(ProtocolError, clients.web.send(Request("GET", "https://elsewhere.example/")))
    assert clients.requests == []
    clients.web.trust(URL)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8008/x", "http://localhost/", "http://[::1]:1/"])
def test_this_machine_is_trusted_without_tls(clients: VirtualClients, url: str) -> None:
    clients.web.trust(url)
    clients.answers(Answer(200))
    assert clients.run(clients.web.send(Request("GET", url))).status == 200


@pytest.mark.parametrize(("name", "told"), [("bob", ["bob"]), (None, [])])
def test_whoever_acts_for_somebody_else_names_them_with_every_request(
    clients: VirtualClients, name: str | None, told: list[str]
) -> None:
    async def login() -> Basic:
        return Basic("admin", "secret", authorize_as=name)

    http = DirectHttp(clients.loop, clients.sandbox)
    web = Web(clients.loop, http, login, "the credential jmap-password", clients.totals)
    web.trust(URL)
    named: list[list[str]] = []

    def look(_: object, request: Asked) -> None:
        named.append([value for key, value in request.headers.items() if key == "Authorize-As"])

    clients.sandbox.before(look)
    clients.answers(Answer(200), times=None)
    clients.run(web.send(GET))
    clients.run(web.send(GET))
    assert named == [told, told]


def test_every_request_is_counted(clients: VirtualClients) -> None:
    clients.answers(Answer(301, {"Location": "/jmap/x"}))
    clients.answers(Answer(200, {}, b"12345"), path="/jmap/x")
    clients.run(clients.web.send(Request("POST", URL, {}, b"123")))
    assert clients.totals.requests == 2
    assert (clients.totals.bytes_sent, clients.totals.bytes_received) == (6, 5)


def test_a_connection_that_breaks_is_passing_trouble(clients: VirtualClients) -> None:
    clients.sandbox.faults.add(Fault(breaks="after"))
    assert URL in clients.fails(TransientError, clients.web.send(GET))
