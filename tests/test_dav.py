"""WebDAV as values: what is asked in XML, what is read from it, and what is refused."""

import gc
import tracemalloc
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.errors import ProtocolError
from mailroom.wire import dav
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from tests.hostile import texts, whole_texts

URL = "https://mail.example.org/dav/book/"
HEAD = b'<?xml version="1.0" encoding="utf-8"?>'
NAMESPACES = b'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"'
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nEND:VCARD\r\n"


def multistatus(*responses: bytes, token: bytes = b"") -> dav.Multistatus:
    body = HEAD + b"<multistatus " + NAMESPACES + b">" + b"".join(responses) + token
    return dav.Multistatus(body + b"</multistatus>", URL)


def resources(*responses: bytes) -> list[dav.Resource]:
    return list(multistatus(*responses))


def response(href: bytes, prop: bytes = b"", status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return (
        b"<response><href>%b</href><propstat><prop>%b</prop><status>%b</status></propstat></response>"
        % (href, prop, status)
    )


def card_response(card: bytes) -> bytes:
    return response(b"/a.vcf", b"<C:address-data>" + card + b"</C:address-data>")


def test_a_body_that_was_read_does_not_wait_for_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert len(resources(response(b"/a.vcf", b"<getetag>" + b"x" * 2**20 + b"</getetag>"))) == 1
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 2**18


@pytest.mark.parametrize(
    ("href", "canonical"),
    [
        ("/dav/book/a.vcf", "/dav/book/a.vcf"),
        ("https://elsewhere.example/dav/a.vcf", "/dav/a.vcf"),
        ("https://mail.example.org/dav/a.vcf?x=1#y", "/dav/a.vcf"),
        ("/u/bob%40example.org/a%20b.vcf", "/u/bob@example.org/a%20b.vcf"),
        ("/u/bob@example.org/a b.vcf", "/u/bob@example.org/a%20b.vcf"),
        ("/u/%e4%bd%a0.vcf", "/u/%E4%BD%A0.vcf"),
        ("/u/你.vcf", "/u/%E4%BD%A0.vcf"),
        ("/u/a%2fb.vcf", "/u/a%2Fb.vcf"),
        ("/u/%7Ebob/%3Fq", "/u/~bob/%3Fq"),
        ("/u/%ff.vcf", "/u/%FF.vcf"),
        ("/u/%25.vcf", "/u/%25.vcf"),
        ("  /u/a.vcf\n", "/u/a.vcf"),
    ],
)
def test_hrefs_that_mean_the_same_are_the_same(href: str, canonical: str) -> None:
    assert dav.canonical_href(href) == canonical


@given(st.text(st.characters(exclude_categories=["Cs"])) | whole_texts)
@example("%2541%25%2F%C3%A9")
def test_one_form_stays_as_it_is(name: str) -> None:
    path = dav.canonical_href("/" + name.replace("/", "%2F").replace("?", "%3F").replace("#", "-"))
    assert dav.canonical_href(path) == path
    assert path.isascii()
    assert urlsplit(path).path == path


@pytest.mark.parametrize(
    ("href", "canonical"),
    [
        (b"a.vcf", "/dav/book/a.vcf"),
        (b"../other/", "/dav/other/"),
        (b"/x/a.vcf", "/x/a.vcf"),
        (b"https://mail.example.org/x/a.vcf", "/x/a.vcf"),
        (b"", "/dav/book/"),
    ],
)
def test_hrefs_may_be_relative_to_the_request(href: bytes, canonical: str) -> None:
    assert resources(response(href))[0].href == canonical


def test_properties_are_read_where_the_server_has_them() -> None:
    found, missing, gone = resources(
        response(b"/a", b'<getetag>"1"</getetag><resourcetype><C:addressbook/></resourcetype>'),
        response(b"/b", b"<getetag/>", b"HTTP/1.1 404 Not Found"),
        b"<response><href>/c</href><status>HTTP/1.1 404 Not Found</status></response>",
    )
    assert found.text(dav.ETAG) == '"1"'
    assert found.has_type(dav.ADDRESS_BOOK)
    assert (missing.status, missing.text(dav.ETAG), missing.card) == (200, None, None)
    assert (gone.href, gone.status) == ("/c", 404)


def test_other_prefixes_mean_the_same() -> None:
    body = (
        b'<x:multistatus xmlns:x="DAV:"><x:response><x:href>/p/</x:href><x:propstat><x:prop>'
        b"<x:current-user-principal><x:href> /u/ </x:href></x:current-user-principal>"
        b"</x:prop><x:status>HTTP/1.1 200 OK</x:status></x:propstat></x:response></x:multistatus>"
    )
    (resource,) = dav.Multistatus(body, URL)
    assert resource.inner_href(dav.PRINCIPAL) == "/u/"


@pytest.mark.parametrize(
    ("token", "read"),
    [
        (b"<sync-token> data:,7\n</sync-token>", "data:,7"),
        (b"<sync-token/>", None),
        (b"", None),
    ],
)
def test_a_sync_token_is_one_or_none(token: bytes, read: str | None) -> None:
    answer = multistatus(response(b"/a"), token=token)
    assert [each.href for each in answer] == ["/a"]
    assert answer.sync_token == read


@pytest.mark.parametrize(
    "status", [b"", b"200", b"HTTP/1.1", b"HTTP/1.1 xx", "HTTP/1.1 ²".encode(), b"HTTP/1.1 -1"]
)
def test_a_status_that_is_none_is_not_taken_for_200(status: bytes) -> None:
    assert not resources(response(b"/a", b"<getetag/>", status))[0].properties


@pytest.mark.parametrize(
    ("given_card", "read"),
    [
        (CARD, CARD),
        (b"<![CDATA[" + CARD + b"]]>", CARD),
        (CARD.replace(b"\r", b""), CARD),
        (CARD.replace(b"\r", b"&#13;"), CARD),
        (CARD.replace(b"Bob", "Böb".encode()), CARD.replace(b"Bob", "Böb".encode())),
        (b"", b""),
    ],
)
def test_a_card_has_the_line_endings_that_xml_took_from_it(given_card: bytes, read: bytes) -> None:
    assert resources(card_response(given_card))[0].card == read


@pytest.mark.parametrize("octets", [b"\xff", b"\xc3(", b"\x01", b"\x00", b"\xed\xa0\x80"])
def test_a_card_that_xml_cannot_carry_does_not_cost_the_others(octets: bytes) -> None:
    broken, whole = resources(
        card_response(CARD.replace(b"Bob", octets + b"\r\nEMAIL:b@example.org")),
        card_response(CARD),
    )
    assert whole.card == CARD
    assert broken.card is not None
    assert [line.value for line in CardView.glance(broken.card).all("EMAIL")] == ["b@example.org"]
    with pytest.raises(UnsafeCard, match="UTF-8"):
        Card.parse(broken.card)


def numbered(count: int, filler: bytes) -> list[bytes]:
    """Cards for more pieces than one."""
    cards = [CARD.replace(b"Bob", b"Bob %d %b" % (n, filler)) for n in range(count)]
    return [
        response(b"/%d.vcf" % n, b"<C:address-data>" + card + b"</C:address-data>")
        for n, card in enumerate(cards)
    ]


@pytest.mark.parametrize("shift", range(8))
def test_pieces_meet_anywhere_even_within_a_character(shift: int) -> None:
    filler = "é你🙂".encode() * 400
    found = resources(b" " * shift, *numbered(20, filler))
    assert [each.href for each in found] == [f"/{n}.vcf" for n in range(20)]
    assert {each.card for each in found} == {
        CARD.replace(b"Bob", b"Bob %d %b" % (n, filler)) for n in range(20)
    }


def test_the_first_resources_are_there_before_the_last_are_read() -> None:
    reading = iter(multistatus(*numbered(200, b"x" * 1000), b"</wrong>"))
    assert next(reading).href == "/0.vcf"
    with pytest.raises(ProtocolError, match=URL):
        list(reading)


def test_what_is_read_is_let_go_of() -> None:
    for each in (reading := iter(multistatus(*numbered(200, b"x" * 1000)))):
        del each
        break
    tracemalloc.start()
    most = 0
    for _ in reading:
        most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert most < 150_000  # of more than 200,000


@pytest.mark.parametrize("encoding", ["UTF-8", "utf-16", "iso-8859-1"])
def test_a_document_is_read_in_the_encoding_that_it_declares(encoding: str) -> None:
    text = (
        f"<?xml version='1.0' encoding='{encoding}'?><multistatus xmlns='DAV:'><response>"
        "<href>/b%C3%B6b</href><propstat><prop><displayname>Böb</displayname></prop>"
        "<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
    )
    (resource,) = dav.Multistatus(text.encode(encoding), URL)
    assert resource.text(dav.DISPLAY_NAME) == "Böb"


def test_a_response_within_something_else_is_none() -> None:
    hidden = b"<x>" + response(b"/hidden") + b"</x>"
    found = resources(hidden, response(b"/a", b"<y>" + response(b"/b") + b"</y>"))
    assert [each.href for each in found] == ["/a"]


LAUGHS = b'<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><m xmlns="DAV:">&b;</m>'
FILE = b'<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]><m xmlns="DAV:">&a;</m>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        b'<multistatus xmlns="DAV:">',
        b"<multistatus/>",
        b'{"xml": false}',
        LAUGHS,
        FILE,
        b'<!DOCTYPE multistatus><multistatus xmlns="DAV:"/>',
        b'<multistatus xmlns="DAV:"><response><href>http://[bad/</href></response></multistatus>',
    ],
)
def test_what_is_no_multistatus_is_an_error_that_names_the_url(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=URL):
        list(dav.Multistatus(body, URL))


@given(st.binary() | st.text().map(lambda text: f"<m xmlns='DAV:'>{text}</m>".encode()))
def test_no_body_is_too_strange(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(dav.Multistatus(body, URL))


PIECES = st.sampled_from(
    [
        *("<response>", "</response>", "<propstat>", "</propstat>", "<prop>", "</prop>", "<href/>"),
        *("<href>/a.vcf</href>", "<href>http://[bad/</href>", "<href>http://m:x/a</href>", "%ff"),
        *("<status>HTTP/1.1 200 OK</status>", "<status>HTTP/1.1 two</status>", "<status/>"),
        *("<getetag>1</getetag>", "<sync-token/>", "<error/>", "<![CDATA[", "]]>", "&amp;", "&"),
    ]
)
WHOLE = st.lists(PIECES | texts).map("".join).map("<response><href>/a</href>{}</response>".format)


@given(st.lists(PIECES | WHOLE).map("".join))
@example("<response/>")
@example("<response><href>http://[bad/</href></response>")
@example("<response><href>/a</href><status>HTTP/1.1 two</status></response>")
def test_no_response_is_too_strange(inner: str) -> None:
    body = f'<multistatus xmlns="DAV:">{inner}</multistatus>'.encode("utf-8", "surrogatepass")
    try:
        found = list(dav.Multistatus(body, URL))
    except ProtocolError:
        return
    assert all(each.status >= 0 for each in found)


@given(st.binary())
def test_no_card_is_too_strange(octets: bytes) -> None:
    content = octets.replace(b"]]>", b"").replace(b"&", b"")
    try:
        (resource,) = resources(card_response(b"<![CDATA[" + content + b"]]>"))
    except ProtocolError:
        pytest.fail("one card made the answer unreadable")
    assert resource.card is not None


SABRE = (
    b'<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>x</s:exception>'
    b"<s:message>Invalid token</s:message><d:valid-sync-token/></d:error>"
)


@pytest.mark.parametrize(
    ("body", "precondition"),
    [
        (b'<error xmlns="DAV:"><valid-sync-token/></error>', "{DAV:}valid-sync-token"),
        (SABRE, "{DAV:}valid-sync-token"),
        (
            b"<D:error xmlns:D='DAV:'><D:responsedescription>no</D:responsedescription>"
            b"<no-uid-conflict xmlns='urn:ietf:params:xml:ns:carddav'/></D:error>",
            dav.NO_UID_CONFLICT,
        ),
        (b'<error xmlns="DAV:"/>', None),
        (b"<error><valid-sync-token/></error>", None),
        (b'<!DOCTYPE error><error xmlns="DAV:"><valid-sync-token/></error>', None),
        (b"<html>403</html>", None),
        (b"", None),
    ],
)
def test_the_precondition_that_failed(body: bytes, precondition: str | None) -> None:
    assert dav.read_precondition(body) == precondition


def test_a_sync_asks_for_what_the_index_needs_and_no_more() -> None:
    root = ET.fromstring(dav.sync_collection("data:,<7>", with_cards=True))
    assert root.findtext("{DAV:}sync-token") == "data:,<7>"
    assert root.findtext("{DAV:}sync-level") == "1"
    names = [each.get("name") for each in root.iter(f"{dav.CARDDAV}prop")]
    assert {"UID", "FN", "EMAIL", "NOTE", "VERSION"} <= set(names)
    assert "PHOTO" not in names
    assert (
        ET.fromstring(dav.sync_collection(None, with_cards=True)).findtext("{DAV:}sync-token") == ""
    )


def test_a_multiget_asks_for_whole_cards() -> None:
    root = ET.fromstring(dav.multiget(["/a&b.vcf", "/c.vcf"]))
    assert [each.text for each in root.iterfind("{DAV:}href")] == ["/a&b.vcf", "/c.vcf"]
    data = root.find(f"{{DAV:}}prop/{dav.ADDRESS_DATA}")
    assert data is not None
    assert not len(data)
    assert root.find(f"{{DAV:}}prop/{dav.ETAG}") is not None


def test_a_propfind_asks_for_the_named_properties() -> None:
    root = ET.fromstring(dav.propfind((dav.PRINCIPAL, dav.HOME_SET)))
    prop = root.find("{DAV:}prop")
    assert prop is not None
    assert [each.tag for each in prop] == [dav.PRINCIPAL, dav.HOME_SET]
