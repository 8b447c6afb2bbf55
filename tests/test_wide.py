"""Whole domains and lists: what can be decided for, and what a decision covers."""

import pytest
from hypothesis import given

from mailroom.rules.screening.wide import (
    Decisions,
    canonical_domain,
    is_domain,
    list_id,
    refusal,
    registrable_domain,
)
from tests.hostile import texts

DECISIONS = Decisions(
    {"shop.example": "Feed", "bank.shop.example": "Imbox"}, {"news.example.org": "Feed"}
)


@pytest.mark.parametrize(
    ("address", "category"),
    [
        ("bob@shop.example", "Feed"),
        ("bob@a.b.shop.example", "Feed"),
        ("bob@bank.shop.example", "Imbox"),  # the longest wins
        ("bob@mail.bank.shop.example", "Imbox"),
        ("Bob@Shop.Example", "Feed"),
        ("bob@workshop.example", None),
        ("bob@example", None),
        ("bob@shop.example.org", None),
        ("bob", None),
        ("", None),
    ],
)
def test_a_domain_covers_itself_and_all_below(address: str, category: str | None) -> None:
    assert DECISIONS.of_domain(address) == category


def test_a_list_is_known_by_its_id() -> None:
    assert DECISIONS.of_list("news.example.org") == "Feed"
    assert DECISIONS.of_list("x.news.example.org") is None
    assert DECISIONS.of_list(None) is None


# 253 letters, the most that a domain may have (RFC 1035 §2.3.4).
LONGEST = ".".join([*["a" * 60] * 4, "b.example"])


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("bob@news.shop.example", "shop.example"),
        ("bob@shop.co.uk", "shop.co.uk"),
        ("bob@mail.shop.co.uk", "shop.co.uk"),
        ("bob@co.uk", None),
        ("bob@someone.github.io", "someone.github.io"),
        ("bob@github.io", None),
        ("bob@Mail.B\u00fccher.example", "xn--bcher-kva.example"),
        ("bob@a.\u516c\u53f8.cn", "a.xn--55qx5d.cn"),
        ("bob@www.ck", "www.ck"),  # an exception to *.ck
        ("bob@shop.ck", None),
        ("bob@host.local", "host.local"),  # of a suffix that nobody has listed
        ("bob@shop.example.", "shop.example"),
        ("bob@localhost", None),
        ("bob@[192.0.2.1]", None),
        ("bob@192.0.2.1", None),
        ("bob@[IPv6:2001:db8::1]", None),
        ("bob@*.example", None),
        ("bob@*.shop.example", None),
        ("bob@a..example", None),
        ("bob@", None),
        ("", None),
        (f"bob@{LONGEST}", "b.example"),
        (f"bob@x{LONGEST}", None),
    ],
)
def test_a_whole_domain_is_what_somebody_has_registered(address: str, domain: str | None) -> None:
    assert registrable_domain(address) == domain


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("shop.example", None),
        ("bank.shop.example", None),
        ("co.uk", "co.uk is a public suffix: anybody can have a domain under it"),
        ("example", "example is not a domain"),
        ("*.shop.example", "*.shop.example is not a domain"),
        ("gmail.com", "gmail.com is a mail provider: anybody can have an address there"),
        ("mail.gmail.com", "mail.gmail.com is a mail provider: anybody can have an address there"),
        ("yahoo.co.uk", "yahoo.co.uk is a mail provider: anybody can have an address there"),
        ("gmx.example", "gmx.example is a mail provider: anybody can have an address there"),
        ("isp.example", "isp.example is a mail provider: anybody can have an address there"),
        (
            "cust.net.example",
            "cust.net.example is a mail provider: anybody can have an address there",
        ),
        ("gmail.com.example.org", None),
    ],
)
def test_what_stands_for_strangers_is_refused(domain: str, reason: str | None) -> None:
    assert refusal(domain, ["ISP.example", "cust.net.example"]) == reason


@pytest.mark.parametrize(
    "domain",
    ["fastmail.com", "googlemail.com", "icloud.com", "live.com", "outlook.de", "proton.me",
     "qq.com", "seznam.cz", "t-online.de", "web.de", "yahoo.fr", "yandex.ru"],
)  # fmt: skip
def test_nobody_decides_about_all_users_of_a_large_provider(domain: str) -> None:
    assert refusal(domain, ()) == (
        f"{domain} is a mail provider: anybody can have an address there"
    )


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("News of the shop <News.Example.org>", "news.example.org"),
        ('"A <b> list" <news.example.org>', "news.example.org"),
        ("<news.example.org>", "news.example.org"),
        (" <news.\r\n example.org> (comment)", "news.example.org"),
        ("news.example.org", "news.example.org"),
        ("News of the shop", None),
        ("<>", None),
        ("", None),
        ("<*.example.org>", None),
        ('<new"s.example.org>', None),
        ("<new\0s.example.org>", None),
        (f"<{'x' * 256}>", None),
    ],
)
def test_a_list_id_has_one_form(header: str, found: str | None) -> None:
    assert list_id(header) == found


@given(texts | texts.map("<news{}shop.example>".format) | texts.map("shop.example{}".format))
def test_whatever_is_claimed_stands_for_one_domain_or_list(text: str) -> None:
    domain, its_list = canonical_domain(text), list_id(text)
    assert canonical_domain(domain) == domain
    assert not (is_domain(domain) and set(domain) & set('*" \n\\'))
    assert its_list is None or not set(its_list) & set('*" \n\\<>')
    assert its_list is None or list_id(its_list) == list_id(f"<{its_list}>") == its_list
