"""Who goes where: the rules for each mail, by name. Here a mailbox's id is its name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.configuration.config import from_data
from mailroom.rules.triage.places import find_places
from mailroom.rules.triage.verdicts import (
    MailPatch,
    Tap,
    Verdicts,
    filed,
    marked,
    moved,
    sender_of,
    sort_out,
)
from mailroom.wire.jmap import Address, Mail, Mailbox
from tests.hostile import texts

OTHERS = ("Archive", "Trash", "Junk", "Sent", "Drafts", "Holidays")
CONFIG = from_data({})
PLACES = find_places(
    CONFIG,
    [
        Mailbox("Inbox", "Inbox", None, "inbox"),
        *(Mailbox(name, name, None, None) for name in (*OTHERS, *CONFIG.managed_mailboxes)),
    ],
)
LABELS = sorted(PLACES.labels)
ERROR, WARNING = PLACES.error, "@MailroomWarning"
EVERYWHERE = ["Inbox", *OTHERS, *CONFIG.managed_mailboxes]
OWN = frozenset({"alice@example.org"})


def mail(where: str, sender: str = "bob@example.org", mail_id: str = "m") -> Mail:
    """A mail of ``sender`` in the mailboxes named, separated by commas."""
    return Mail(mail_id, (Address("Bob", sender),), frozenset(where.split(", ")))


def tap(label: str, *mails: Mail) -> Tap:
    return Tap("bob@example.org", PLACES.labels[label], label, mails)


def after(one: Mail, patch: MailPatch) -> set[str]:
    """Where the mail is when the server has applied the patch."""
    places = {path: value for path, value in patch.items() if path.startswith("mailboxIds/")}
    names = {path.removeprefix("mailboxIds/"): value for path, value in places.items()}
    on, off = ({name for name in names if names[name] is kind} for kind in (True, None))
    return set(one.mailbox_ids) - off | on


@pytest.mark.parametrize(
    ("label", "before", "now"),
    [
        # waiting mail
        ("@ToFeed", "Screener, @ToFeed", "Feed"),
        ("@ToFeed", "Screener", "Feed"),
        ("@ToFeed", "@ToFeed", "Feed"),
        # the chain is additive
        ("@ToBillboard", "Screener, @ToBillboard", "Billboard, Paper Trail"),
        ("@ToPerson", "Screener", "Person, Imbox, Inbox"),
        # another category than before
        ("@ToFeed", "Paper Trail, Billboard, @ToFeed", "Feed"),
        ("@ToPaperTrail", "Billboard, Paper Trail", "Paper Trail"),
        ("@ToTruck", "Billboard, Paper Trail", "Truck, Paper Trail"),
        # Inbox comes with the category that says so, and only to mail that is new
        ("@ToImbox", "Screener, @ToImbox", "Imbox, Inbox"),
        ("@ToImbox", "@ToImbox", "Imbox, Inbox"),
        ("@ToImbox", "@ToImbox, @MailroomError", "Imbox, Inbox"),
        ("@ToImbox", "@ToImbox, @MailroomWarning", "Imbox, Inbox"),
        ("@ToImbox", "Feed, @ToImbox", "Imbox"),
        ("@ToImbox", "Archive, @ToImbox", "Imbox, Archive"),
        ("@ToImbox", "Feed", "Imbox"),
        ("@ToPerson", "@ToPerson", "Person, Imbox, Inbox"),
        # Inbox is never taken away
        ("@ToJail", "Inbox, Screener, @ToJail", "Inbox, Jail"),
        ("@ToJail", "Inbox, Imbox, @ToJail", "Inbox, Jail"),
        # what the user filed elsewhere stays there; a label on it is a wish for this mail too
        ("@ToFeed", "Archive, @ToFeed", "Archive, Feed"),
        ("@ToFeed", "Holidays, Screener", "Holidays, Feed"),
        # this label goes and no other
        ("@ToFeed", "Screener, @ToFeed, @ToJail", "Feed, @ToJail"),
        ("@ToFeed", "Screener, @ToFeed, @ToScreener", "Feed, @ToScreener"),
        # error and warning labels that have no reason any more
        ("@ToFeed", "Screener, @ToFeed, @MailroomError", "Feed"),
        ("@ToFeed", "Feed, @MailroomError, @MailroomWarning", "Feed"),
        # done already
        ("@ToFeed", "Feed", "Feed"),
        ("@ToPerson", "Person, Imbox, Inbox", "Person, Imbox, Inbox"),
        # taken back
        ("@ToScreener", "Feed, @ToScreener", "Screener"),
        ("@ToScreener", "Person, Imbox, Inbox, @ToScreener", "Screener, Inbox"),
        ("@ToScreener", "@ToScreener", "Screener"),
        ("@ToScreener", "Screener, @ToScreener", "Screener"),
        ("@ToScreener", "Archive, @ToScreener", "Archive, Screener"),
    ],
)
def test_where_a_mail_is_filed(label: str, before: str, now: str) -> None:
    one = mail(before)
    assert after(one, filed(one, tap(label, one), PLACES)) == set(now.split(", "))


@pytest.mark.parametrize("mark", ["@MailroomWarning", "@MailroomError"])
@pytest.mark.parametrize(("label", "now"), [("@ToFeed", "Feed"), ("@ToScreener", "Screener")])
def test_other_mail_that_is_in_nothing_but_a_mark_is_filed_too(
    mark: str, label: str, now: str
) -> None:
    tapped, other = mail(label, mail_id="tapped"), mail(mark, mail_id="other")
    assert after(other, filed(other, tap(label, tapped), PLACES)) == {now}


def test_the_warning_label_is_for_the_mail_that_was_tapped() -> None:
    one = mail("Screener, @ToFeed")
    assert after(one, filed(one, tap("@ToFeed", one), PLACES, warn=True)) == {"Feed", WARNING}


def test_without_inbox_mail_is_filed_all_the_same() -> None:
    boxes = [Mailbox(name, name, None, None) for name in CONFIG.managed_mailboxes]
    one = mail("Screener, @ToImbox")
    assert after(one, filed(one, tap("@ToImbox", one), find_places(CONFIG, boxes))) == {"Imbox"}


anywhere = st.lists(st.sampled_from(EVERYWHERE), min_size=1, unique=True).map(", ".join)
labels = st.sampled_from(LABELS)


def assert_safe(one: Mail, patch: MailPatch) -> None:
    """What holds for every patch, whatever it is for."""
    taken = {path.removeprefix("mailboxIds/") for path, value in patch.items() if value is None}
    assert after(one, patch), "a mail in no mailbox would be destroyed"
    assert taken <= one.mailbox_ids, "only what was read on the mail is taken away"
    assert True in patch.values() or not taken, "a mailbox that it keeps or gets is named"
    assert set(patch.values()) <= {True, None}


@given(anywhere, labels, st.booleans())
def test_filing_is_safe_and_leaves_what_is_the_users(before: str, label: str, warn: bool) -> None:
    one = mail(before)
    patch = filed(one, tap(label, one), PLACES, warn=warn)
    assert_safe(one, patch)
    users = {"Inbox", *OTHERS}
    assert one.mailbox_ids & users <= after(one, patch)
    assert after(one, patch) & users <= one.mailbox_ids | {"Inbox"}
    other_labels = set(LABELS) - {label}
    assert after(one, patch) & other_labels == one.mailbox_ids & other_labels
    assert label not in after(one, patch)


@given(anywhere, labels, st.booleans())
def test_filing_twice_is_nothing_the_second_time(before: str, label: str, warn: bool) -> None:
    one = mail(before)
    patch = filed(one, tap(label, one), PLACES, warn=warn)
    there = mail(", ".join(after(one, patch)))
    assert filed(there, tap(label, there), PLACES, warn=warn) == {}


names = st.frozensets(st.sampled_from(EVERYWHERE))


@given(anywhere, names, names)
def test_no_move_leaves_a_mail_nowhere(
    before: str, on: frozenset[str], off: frozenset[str]
) -> None:
    one = mail(before)
    patch = moved(one, PLACES, on=on, off=off)
    assert_safe(one, patch)
    assert on <= after(one, patch)
    fallback = set() if on or one.mailbox_ids - off else {"Screener"}
    assert after(one, patch) == set((one.mailbox_ids - off) | on | fallback)


# "Alice" is the account's user; "Nobody" a sender whose address cannot be used.
ADDRESSES = {
    "Bob": "bob@example.org",
    "Carol": "carol@example.org",
    "Alice": "alice@example.org",
    "Nobody": "nobody",
}


def sorted_out(*described: str) -> dict[str, str]:
    """Mail as "Bob in Screener, @ToFeed", and what each asks for, by its number from 1."""
    mails = []
    for number, text in enumerate(described, 1):
        name, _, where = text.partition(" in ")
        mails.append(mail(where, ADDRESSES[name], str(number)))
    verdicts = sort_out(mails, PLACES, OWN)
    kinds: dict[str, tuple[Mail, ...]] = {
        "unusable": verdicts.unusable,
        "own": verdicts.own,
        "resolved": verdicts.resolved,
    }
    kinds |= {f"tap {each.label_id}": each.mails for each in verdicts.taps}
    kinds |= {f"conflict of {each.sender}": each.mails for each in verdicts.conflicts}
    return {each.id: kind for kind, found in kinds.items() for each in found}


CONFLICT = "conflict of bob@example.org"


@pytest.mark.parametrize(
    ("mails", "asks"),
    [
        ([], {}),
        (["Bob in Screener, @ToFeed"], {"1": "tap @ToFeed"}),
        (["Bob in @ToScreener"], {"1": "tap @ToScreener"}),
        (
            ["Bob in @ToFeed", "Bob in Feed, @ToFeed", "Carol in @ToJail"],
            {"1": "tap @ToFeed", "2": "tap @ToFeed", "3": "tap @ToJail"},
        ),
        (["Bob in @ToFeed, @ToJail"], {"1": CONFLICT}),
        (["Bob in @ToFeed", "Bob in @ToJail"], {"1": CONFLICT, "2": CONFLICT}),
        (["Bob in @ToFeed", "Bob in @ToScreener"], {"1": CONFLICT, "2": CONFLICT}),
        (
            ["Bob in @ToFeed, @MailroomError", "Bob in Screener, @MailroomError"],
            {"1": "tap @ToFeed", "2": "resolved"},
        ),
        (["Bob in Feed, @MailroomError"], {"1": "resolved"}),
        (["Nobody in Screener, @ToFeed"], {"1": "unusable"}),
        (["Nobody in Screener, @MailroomError"], {}),
        (["Nobody in @ToFeed", "Nobody in @ToJail"], {"1": "unusable", "2": "unusable"}),
        (["Alice in Sent, @ToFeed"], {"1": "own"}),
        (["Alice in Sent, @MailroomError"], {}),
        (["Alice in @ToFeed, @ToJail"], {"1": "own"}),
    ],
)
def test_what_labelled_mail_asks_for(mails: list[str], asks: dict[str, str]) -> None:
    assert sorted_out(*mails) == asks


def marks(*described: str) -> dict[str, set[str]]:
    """Where the mail that is not triaged is afterwards, by its number from 1; only what moves."""
    mails = {}
    for number, text in enumerate(described, 1):
        name, _, where = text.partition(" in ")
        mails[str(number)] = mail(where, ADDRESSES[name], str(number))
    patches = marked(sort_out(mails.values(), PLACES, OWN), PLACES)
    for mail_id, patch in patches.items():
        assert_safe(mails[mail_id], patch)
    return {mail_id: after(mails[mail_id], patch) for mail_id, patch in patches.items()}


@pytest.mark.parametrize(
    ("mails", "now"),
    [
        (["Bob in Screener, @ToFeed"], {}),
        (
            ["Bob in Screener, @ToFeed, @ToJail"],
            {"1": {"Screener", "@ToFeed", "@ToJail", ERROR}},
        ),
        (["Bob in @ToFeed, @ToJail, @MailroomError"], {}),
        (["Bob in Feed, @MailroomError"], {"1": {"Feed"}}),
        (["Bob in @MailroomError"], {"1": {"Screener"}}),
        (["Nobody in Screener, @ToFeed"], {"1": {"Screener", ERROR}}),
        (["Nobody in @ToFeed, @ToJail"], {"1": {ERROR}}),
        (["Alice in Sent, @ToFeed"], {"1": {"Sent", ERROR}}),
        (["Alice in Sent, @ToFeed", "Bob in @ToFeed"], {"1": {"Sent"}}),
        (["Alice in @ToFeed", "Bob in @ToFeed"], {"1": {"Screener"}}),
        (
            ["Alice in Sent, @ToFeed", "Nobody in Junk, @ToFeed"],
            {"1": {"Sent"}, "2": {"Junk", ERROR}},
        ),
    ],
)
def test_how_mail_that_is_not_triaged_is_marked(mails: list[str], now: dict[str, set[str]]) -> None:
    assert marks(*mails) == now


def test_nothing_labelled_is_nothing_to_do() -> None:
    assert sort_out([], PLACES, OWN) == Verdicts((), (), (), (), ())


def test_a_tap_knows_what_its_mails_call_the_sender() -> None:
    first = Mail("1", (Address("Bob", "bob@example.org"),), frozenset({"@ToFeed"}))
    second = Mail("2", (Address("", "Bob@Example.Org"),), frozenset({"@ToFeed"}))
    (one,) = sort_out([first, second], PLACES, OWN).taps
    assert one.sender == "bob@example.org"
    assert one.names == ("Bob", "")
    assert one.mail_ids == {"1", "2"}


LONG = "x" * 308


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        ("bob@example.org", "bob@example.org"),
        ("Bob@Example.ORG", "bob@example.org"),
        ("bob+tag@example.org", "bob+tag@example.org"),
        ("o'bob!#$%&/=?^_`{|}~@example.org", "o'bob!#$%&/=?^_`{|}~@example.org"),
        ("bob@localhost", "bob@localhost"),
        ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
        ("jörg@exämple.org", "jörg@xn--exmple-cua.org"),
        ("bob@XN--BCHER-KVA.example", "bob@xn--bcher-kva.example"),
        ('"quoted local"@example.org', '"quoted local"@example.org'),
        (f"{LONG}@example.org", f"{LONG}@example.org"),
        # not usable
        (f"{LONG}x@example.org", None),
        ("quoted local@example.org", None),
        ('a"b@example.org', None),
        ("", None),
        ("bob", None),
        ("*@gmail.example", None),
        ("bo*@example.org", None),
        ('"b*b"@example.org', None),
        ("bob@*.example.org", None),
        ("bob@", None),
        ("@example.org", None),
        ("@route.org:bob@example.org", None),
        ("bob@example.org@example.com", None),
        ("bob@exa mple.org", None),
        ("bob@example.org\n", None),
        ("bob\r\nBCC: eve@example.org", None),
        ("b\0b@example.org", None),
        ("b\x7fb@example.org", None),
        ("b\u202eb@example.org", None),
        ("bob@exam\u2028ple.org", None),
        ("b\ud800b@example.org", None),
        ("bob\u200b@example.org", None),
    ],
)
def test_which_addresses_can_be_triaged(address: str, sender: str | None) -> None:
    assert sender_of(mail("Screener", address)) == sender


def test_the_first_address_counts_even_if_it_cannot_be_used() -> None:
    first, second = Address("", "bob@example.org"), Address("", "carol@example.org")
    assert sender_of(Mail("m", (first, second), frozenset())) == "bob@example.org"
    assert sender_of(Mail("m", (Address("", "bob"), second), frozenset())) is None
    assert sender_of(Mail("m", (), frozenset())) is None


@given(st.text() | st.emails() | texts.map("b{}b@mail.example".format))
def test_an_address_that_can_be_used_is_plain(address: str) -> None:
    sender = sender_of(mail("Screener", address))
    if sender is not None:
        assert sender.isprintable()
        assert sender == sender.lower()
        assert sender.encode().count(b"@") >= 1
