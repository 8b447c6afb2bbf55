"""CardDAV (RFC 6352, 6578) as the sandbox and Cyrus both speak it."""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET

import pytest

from tests.contract.peers import Answer, Client, unique

D = "{DAV:}"
C = "{urn:ietf:params:xml:ns:carddav}"
NAMESPACES = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"'


def card(uid: str, *lines: str, version: str = "3.0", name: str = "N:;;;;") -> str:
    """A card in the form in which Cyrus keeps every line as it is."""
    whole = ["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}", "FN:Bob", name, *lines, "END:VCARD"]
    return "".join(f"{line}\r\n" for line in whole if line)


@dataclass
class Multistatus:
    """A 207: what was found by href, those that are gone, and the sync token."""

    found: dict[str, ET.Element] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    token: str = ""

    def etag(self, href: str) -> str:
        return self.found[href].findtext(f"{D}getetag") or ""

    def text(self, href: str) -> str:
        return self.found[href].findtext(f"{C}address-data") or ""


class Book:
    """The default address book."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.path = client.server.book_path

    def put(self, href: str, text: str, **headers: str) -> Answer:
        return self.client.request(
            "PUT", href, text, Content_Type="text/vcard; charset=utf-8", **headers
        )

    def new(self, *lines: str) -> tuple[str, str]:
        """Put a new card and return its href and ETag."""
        uid = unique("card")
        href = f"{self.path}{uid}.vcf"
        answer = self.put(href, card(uid, *lines), If_None_Match="*")
        assert answer.status == 201, answer
        return href, answer.headers["ETag"]

    def get(self, href: str) -> Answer:
        return self.client.request("GET", href)

    def delete(self, href: str, **headers: str) -> int:
        return self.client.request("DELETE", href, **headers).status

    def sync(self, token: str = "", data: str = "<C:address-data/>") -> Multistatus:
        answer = self.sync_answer(token, data)
        assert answer.status == 207, answer
        return read(answer)

    def sync_answer(self, token: str, data: str = "", limit: str = "") -> Answer:
        return self._report(
            f"<D:sync-collection {NAMESPACES}><D:sync-token>{token}</D:sync-token>"
            f"<D:sync-level>1</D:sync-level><D:prop><D:getetag/>{data}</D:prop>{limit}"
            "</D:sync-collection>"
        )

    def multiget(self, *hrefs: str) -> Multistatus:
        names = "".join(f"<D:href>{href}</D:href>" for href in hrefs)
        return read(
            self._report(
                f"<C:addressbook-multiget {NAMESPACES}><D:prop><D:getetag/><C:address-data/>"
                f"</D:prop>{names}</C:addressbook-multiget>"
            )
        )

    def _report(self, body: str) -> Answer:
        return self.client.request(
            "REPORT", self.path, body, Content_Type="application/xml", Depth="1"
        )


def read(answer: Answer) -> Multistatus:
    result = Multistatus()
    root = ET.fromstring(answer.body.decode("utf-8", "replace"))
    result.token = root.findtext(f"{D}sync-token") or ""
    for response in root.findall(f"{D}response"):
        href = response.findtext(f"{D}href") or ""
        if "404" in (response.findtext(f"{D}status") or ""):
            result.gone.add(href)
        for propstat in response.findall(f"{D}propstat"):
            prop = propstat.find(f"{D}prop")
            if prop is not None and "200" in (propstat.findtext(f"{D}status") or ""):
                result.found[href] = prop
    return result


def error_of(answer: Answer) -> set[str]:
    return {element.tag for element in ET.fromstring(answer.body)}


@pytest.fixture
def book(client: Client) -> Book:
    return Book(client)


def test_the_address_book_is_found_from_the_well_known_address(client: Client) -> None:
    def ask(path: str, depth: str, *names: str) -> Multistatus:
        body = f"<D:propfind {NAMESPACES}><D:prop>{''.join(names)}</D:prop></D:propfind>"
        answer = client.request("PROPFIND", path, body, Content_Type="text/xml", Depth=depth)
        if answer.status == 301:
            return ask(urlsplit(answer.headers["Location"]).path, depth, *names)
        assert answer.status == 207, answer
        return read(answer)

    def href_in(prop: ET.Element, name: str) -> str:
        return urljoin("/", prop.findtext(f"{name}/{D}href") or "")

    start = ask("/.well-known/carddav", "0", "<D:current-user-principal/>")
    principal = href_in(next(iter(start.found.values())), f"{D}current-user-principal")
    homes = ask(principal, "0", "<C:addressbook-home-set/>")
    home = href_in(homes.found[principal], f"{C}addressbook-home-set")
    inside = ask(home, "1", "<D:resourcetype/><D:displayname/>")
    books = [
        href
        for href, prop in inside.found.items()
        if prop.find(f"{D}resourcetype/{C}addressbook") is not None
    ]
    assert books == [client.server.book_path]
    assert inside.found[books[0]].findtext(f"{D}displayname") == "Personal"


def test_strangers_are_asked_for_a_password(client: Client, book: Book) -> None:
    for authorization in (None, "Basic YWxpY2U6d3Jvbmc="):
        answer = client.request("PROPFIND", book.path, Authorization=authorization)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_card_comes_back_as_it_was_put(book: Book) -> None:
    lines = (
        "item1.EMAIL;TYPE=INTERNET;TYPE=HOME:bob@example.org",
        "item1.X-ABLabel:_$!<HomePage>!$_",
        "X-foo;x-bar=baz:kept",
        "NOTE:one\\ntwo\\, three\\; four",
        "PRODID:-//somebody//EN",
        "ORG:",
        "X-messaging/xmpp-All:bob",
        "X A+B@Ü:x",
    )
    href, etag = book.new(*lines)
    answer = book.get(href)
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert answer.body.decode() == card(uid, *lines)
    assert answer.headers["ETag"] == etag
    assert answer.headers["Content-Type"].startswith("text/vcard")


@pytest.mark.parametrize(
    ("put", "kept"),
    [
        ("EMAIL;TYPE=INTERNET,HOME,pref:b@example.org",
         "EMAIL;TYPE=INTERNET;TYPE=HOME;TYPE=pref:b@example.org"),
        ('TEL;TYPE="cell,voice":1', "TEL;TYPE=cell;TYPE=voice:1"),
        ('item1.TEL;X-A="a;b";TYPE=cell:1', 'item1.TEL;X-A="a;b";TYPE=cell:1'),
        ("URL:http\\://example.org", "URL:http://example.org"),
        ("NOTE:a\x01b", "NOTE:ab"),
    ],
)  # fmt: skip
def test_a_card_is_kept_in_the_servers_spelling_and_has_an_etag(
    book: Book, put: str, kept: str
) -> None:
    href, etag = book.new(put)
    answer = book.get(href)
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert answer.body.decode() == card(uid, kept)
    assert answer.headers["ETag"] == etag
    # What the server has spelt it does not spell again. (The ETag may be another one: Cyrus makes
    # it of the second as well.)
    again = book.put(href, answer.body.decode()).headers["ETag"]
    shown = book.get(href)
    assert (shown.body, shown.headers["ETag"]) == (answer.body, again)


def test_a_card_gets_the_servers_folds_and_line_ends(book: Book) -> None:
    uid = unique("folded")
    href = f"{book.path}{uid}.vcf"
    text = card(uid, f"NOTE:{'é' * 100}", f"X-HASH:{'0123456789' * 10}")
    assert book.put(href, text.replace("\r\n", "\n")).headers["ETag"]
    body = book.get(href).body
    assert body.replace(b"\r\n ", b"").decode() == text
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert all(line.decode() for line in body.split(b"\r\n")[:-1])


def test_a_new_card_is_201_a_changed_one_204_with_a_strong_etag(book: Book) -> None:
    href, first = book.new()
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    changed = book.put(href, card(uid, "NOTE:new"), If_Match=first)
    assert changed.status == 204
    assert changed.headers["ETag"].startswith('"')
    assert changed.headers["ETag"] != first
    assert book.put(href, card(uid), If_Match=first).status == 412
    assert book.put(href, card(uid), If_Match=changed.headers["ETag"]).status == 204


@pytest.mark.parametrize(
    "condition",
    [{"If_None_Match": "*"}, {"If_Match": '"0"'}, {"If_Match": "0"}, {"If_Match": '"0", "1"'}],
)
def test_a_condition_that_does_not_hold_is_412(book: Book, condition: dict[str, str]) -> None:
    href, etag = book.new()
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert book.put(href, card(uid, "NOTE:new"), **condition).status == 412
    assert book.get(href).headers["ETag"] == etag


def test_a_weak_etag_matches_the_strong_one(book: Book) -> None:
    href, etag = book.new()
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert book.put(href, card(uid, "NOTE:new"), If_Match=f"W/{etag}").status == 204


def test_a_card_that_is_not_there_matches_nothing(book: Book) -> None:
    href = f"{book.path}{unique('none')}.vcf"
    assert book.put(href, card("none"), If_Match='"0"').status == 412
    assert book.put(href, card("none"), If_Match="*").status == 412
    assert book.get(href).status == 404
    assert book.delete(href) == 404


def test_a_card_is_deleted_by_its_etag_and_its_href_is_free_again(book: Book) -> None:
    href, etag = book.new()
    assert book.delete(href, If_Match='"0"') == 412
    assert book.delete(href, If_Match=etag) == 204
    assert book.delete(href) == 404
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert book.put(href, card(uid), If_None_Match="*").status == 201


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (card("x").replace("UID:x\r\n", ""), "valid-address-data"),
        (card("x").replace("FN:Bob\r\n", ""), "valid-address-data"),
        (card("x", name=""), "valid-address-data"),
        ("not a card", "valid-address-data"),
        (card("x", version="2.1"), "supported-address-data"),
    ],
)
def test_a_bad_card_is_403_with_the_reason(book: Book, text: str, condition: str) -> None:
    answer = book.put(f"{book.path}{unique('bad')}.vcf", text, If_None_Match="*")
    assert answer.status == 403
    assert f"{C}{condition}" in error_of(answer)


def test_a_vcard_4_needs_no_n(book: Book) -> None:
    uid = unique("four")
    answer = book.put(f"{book.path}{uid}.vcf", card(uid, version="4.0", name=""))
    assert answer.status == 201


def test_a_card_keeps_its_uid_but_two_may_have_the_same(book: Book) -> None:
    href, _ = book.new()
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    changed = book.put(href, card("another"))
    assert changed.status == 403
    assert f"{C}no-uid-conflict" in error_of(changed)
    assert book.put(href, card(f"urn:uuid:{uid}")).status == 204
    assert book.put(f"{book.path}{unique('twin')}.vcf", card(uid)).status == 201


def test_a_group_keeps_its_members(book: Book) -> None:
    members = ("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-1", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-2")
    href, _ = book.new("X-ADDRESSBOOKSERVER-KIND:group", *members)
    assert all(member in book.get(href).body.decode() for member in members)


def test_a_first_sync_has_every_card_and_a_token(book: Book) -> None:
    href, etag = book.new("NOTE:all")
    everything = book.sync()
    assert everything.token
    assert everything.etag(href) == etag
    assert "NOTE:all" in everything.text(href)


def test_a_later_sync_has_what_changed_since(book: Book) -> None:
    (changed, _), (deleted, _), _ = book.new(), book.new(), book.new()
    token = book.sync().token
    assert book.sync(token) == Multistatus(token=token)
    uid = changed.rpartition("/")[2].removesuffix(".vcf")
    book.put(changed, card(uid, "NOTE:changed"))
    book.delete(deleted)
    new, _ = book.new()
    fleeting, _ = book.new()
    book.delete(fleeting)
    later = book.sync(token)
    assert set(later.found) == {changed, new}
    assert later.gone - {fleeting} == {deleted}
    assert later.token != token


def test_a_sync_of_less_than_all_says_so_and_goes_on_from_its_token(book: Book) -> None:
    token = book.sync().token
    new = {book.new()[0] for _ in range(3)}
    limit = "<D:limit><D:nresults>2</D:nresults></D:limit>"
    answer = book.sync_answer(token, limit=limit)
    page, root = read(answer), ET.fromstring(answer.body)
    statuses = {each.findtext(f"{D}href"): each for each in root.iter(f"{D}response")}
    assert "507" in (statuses[book.path].findtext(f"{D}status") or "")
    assert len(page.found.keys() & new) == 2
    assert page.found.keys() | book.sync(page.token).found.keys() >= new


@pytest.mark.parametrize("token", ["nonsense", "data:,0-0", "data:,1795719816-99999"])
def test_a_token_that_is_none_is_403(book: Book, token: str) -> None:
    answer = book.sync_answer(token)
    assert answer.status == 403
    assert f"{D}valid-sync-token" in error_of(answer)


def test_by_its_path_and_its_tokens_it_is_known_whose_cards_may_be_read_in_parts(
    book: Book,
) -> None:
    """What the index keeper takes for Cyrus."""
    assert book.path.startswith("/dav/addressbooks/user/")
    assert re.fullmatch(r"data:,\d+-\d+", book.sync().token)


def test_a_sync_shows_the_named_properties_alone(book: Book) -> None:
    href, etag = book.new(
        "item1.EMAIL;TYPE=HOME:bob@example.org",
        "item1.X-ABLabel:x",
        "TEL:1",
        "X-MAILROOM-CREATED:0",
    )
    names = "".join(f'<C:prop name="{name}"/>' for name in ("UID", "EMAIL", "X-MAILROOM-CREATED"))
    shown = book.sync(data=f"<C:address-data>{names}</C:address-data>")
    uid = href.rpartition("/")[2].removesuffix(".vcf")
    assert shown.text(href).split() == [
        "BEGIN:VCARD",
        f"UID:{uid}",
        "item1.EMAIL;TYPE=HOME:bob@example.org",
        "X-MAILROOM-CREATED:0",
        "END:VCARD",
    ]
    assert shown.etag(href) == etag


def test_a_multiget_has_the_cards_asked_for_and_names_those_not_there(book: Book) -> None:
    (one, etag), (two, _) = book.new("NOTE:one"), book.new()
    book.new()
    missing = f"{book.path}missing.vcf"
    answer = book.multiget(one, two, missing)
    assert set(answer.found) == {one, two}
    assert answer.gone == {missing}
    assert answer.etag(one) == etag
    assert "NOTE:one" in answer.text(one)


def test_line_ends_are_lf_in_a_report_and_crlf_in_a_get(book: Book) -> None:
    href, _ = book.new()
    assert "\r" not in book.multiget(href).text(href)
    assert book.get(href).body.count(b"\r\n") == 6


FOUR = """BEGIN:VCARD
VERSION:4.0
UID:urn:uuid:{uid}
FN:Bob
KIND:group
MEMBER:urn:uuid:u-1
END:VCARD
""".replace("\n", "\r\n")


def test_a_vcard_4_is_shown_as_3_unless_4_is_asked_for(book: Book) -> None:
    uid = unique("four")
    href = f"{book.path}{uid}.vcf"
    etag = book.put(href, FOUR.format(uid=uid)).headers["ETag"]
    shown = book.get(href)
    assert shown.headers["ETag"] == etag
    assert shown.body.decode().split() == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        f"UID:{uid}",
        "FN:Bob",
        "x-addressbookserver-kind:group",
        "x-addressbookserver-member:urn:uuid:u-1",
        "END:VCARD",
    ]
    kept = book.client.request("GET", href, Accept="text/vcard;version=4.0")
    assert kept.body.decode() == FOUR.format(uid=uid)


def test_a_report_shows_a_vcard_4_as_3_unless_4_is_asked_for(book: Book) -> None:
    uid = unique("four")
    href = f"{book.path}{uid}.vcf"
    book.put(href, FOUR.format(uid=uid))
    four = '<C:address-data content-type="text/vcard" version="4.0"/>'
    assert "VERSION:3.0" in book.sync().text(href)
    assert "VERSION:4.0" in book.sync(data=four).text(href)


def test_a_vcard_4_that_was_seen_as_3_can_be_put_back_as_such(book: Book) -> None:
    uid = unique("four")
    href = f"{book.path}{uid}.vcf"
    etag = book.put(href, FOUR.format(uid=uid)).headers["ETag"]
    text = book.get(href).body.decode().replace("FN:Bob", "FN:Rob\r\nN:;;;;")
    assert book.put(href, text, If_Match=etag).status == 204
    again = book.client.request("GET", href, Accept="text/vcard;version=4.0").body.decode()
    assert "FN:Rob" in again
