"""Which mailboxes the names of the configuration mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.errors import LastingTrouble
from mailroom.rules.configuration.config import from_data
from mailroom.rules.triage.places import find_places, resolve
from mailroom.wire.jmap import Mailbox

CONFIG = from_data({})


def box(path: str, role: str | None = None, id_: str | None = None) -> Mailbox:
    """A mailbox whose id is its path, unless another is given."""
    parent, _, name = path.rpartition("/")
    return Mailbox(id_ or path, name, parent or None, role)


def account(*extra: Mailbox, without: str = "") -> list[Mailbox]:
    managed = [box(name) for name in CONFIG.managed_mailboxes if name != without]
    return [box("Inbox", "inbox"), box("Archive", "archive"), *managed, *extra]


@pytest.mark.parametrize(
    ("name", "mailboxes", "found"),
    [
        ("Feed", [box("Feed")], "Feed"),
        ("Feed", [box("feed")], None),
        ("Feed", [box("A"), box("A/Feed")], "A/Feed"),
        ("Feed", [box("A"), box("A/Feed"), box("Feed")], "Feed"),
        ("Feed", [box("Feed"), box("A"), box("A/Feed")], "Feed"),
        ("A/Feed", [box("A"), box("A/Feed"), box("Feed")], "A/Feed"),
        ("A/Feed", [box("A"), box("Feed")], None),
        ("A/B/C", [box("A"), box("A/B"), box("A/B/C"), box("B/C")], "A/B/C"),
        ("B/C", [box("A"), box("A/B"), box("A/B/C")], "A/B/C"),
        ("A/B", [Mailbox("1", "A/B", None, None), box("A"), box("A/B")], "1"),
        ("Inbox", [box("Inbox"), box("Posteingang", "inbox")], "Posteingang"),
        ("INBOX", [box("Inbox", "inbox")], "Inbox"),
        ("Inbox/Feed", [box("In", "inbox"), box("In/Feed")], "In/Feed"),
        ("Inbox", [box("Inbox")], None),
        ("Feed", [], None),
        ("Caf\u00e9", [box("Cafe\u0301")], "Cafe\u0301"),
        ("Cafe\u0301", [box("Caf\u00e9")], "Caf\u00e9"),
        ("Caf\u00e9", [box("Cafe\u0301"), box("Caf\u00e9")], "Caf\u00e9"),
        ("\u00c4/Caf\u00e9", [box("A\u0308"), box("A\u0308/Cafe\u0301")], "A\u0308/Cafe\u0301"),
    ],
)
def test_names_are_resolved_as_people_mean_them(
    name: str, mailboxes: list[Mailbox], found: str | None
) -> None:
    for order in (mailboxes, mailboxes[::-1]):
        mailbox = resolve(name, order)
        assert (mailbox.id if mailbox else None) == found


@given(st.text("ABab/", max_size=6), st.lists(st.text("AB", min_size=1, max_size=2), max_size=4))
def test_no_name_is_too_strange(name: str, names: list[str]) -> None:
    boxes = [box("/".join(names[: depth + 1])) for depth in range(len(names))]
    mailbox = resolve(name, boxes)
    assert mailbox is None or mailbox.name == name.rpartition("/")[2]


def test_all_places_of_an_account() -> None:
    places = find_places(CONFIG, account())
    assert places.screener == "Screener"
    assert places.inbox == "Inbox"
    assert (places.error, places.warning) == ("@MailroomError", "@MailroomWarning")
    assert places.labels["@ToScreener"] is None
    assert places.labels["@ToPaperTrail"] == CONFIG.triage.category("Paper Trail")
    assert places.chains["Person"] == ("Person", "Imbox")
    assert places.chains["Feed"] == ("Feed",)
    assert places.destinations == set(CONFIG.triage.destinations)
    assert places.scope == places.destinations | {"Screener"}
    assert set(places.queried) == {*places.labels, "@MailroomError"}


def test_an_account_may_be_without_inbox() -> None:
    boxes = [each for each in account() if each.role != "inbox"]
    assert find_places(CONFIG, boxes).inbox is None


def test_mailboxes_with_a_role_are_known_whatever_they_are_called() -> None:
    names = {"Fort": "trash", "Müll": "junk", "Gesendet": "sent", "Entwürfe": "drafts"}
    places = find_places(CONFIG, account(*(box(name, role) for name, role in names.items())))
    assert (places.trash, places.junk) == ("Fort", "Müll")
    assert (places.sent, places.drafts, places.archive) == ("Gesendet", "Entwürfe", "Archive")


def test_an_account_of_an_earlier_version_lacks_some_labels_and_goes_on() -> None:
    places = find_places(CONFIG, account())
    assert (places.domain_label, places.list_label) == ("@WholeDomain", "@WholeList")
    lacking = [each for each in account() if each.name not in ("@WholeDomain", "@WholeList")]
    places = find_places(CONFIG, lacking)
    assert (places.domain_label, places.list_label) == (None, None)


def test_all_that_is_missing_is_named_at_once() -> None:
    boxes = [each for each in account() if each.name not in ("Feed", "@ToJail", "Screener")]
    with pytest.raises(
        LastingTrouble, match=r"run mailroom setup --apply: Screener, @ToJail, Feed$"
    ):
        find_places(CONFIG, boxes)


@pytest.mark.parametrize("role", ["inbox", "archive", "trash", "junk", "sent", "drafts"])
@pytest.mark.parametrize("name", ["Feed", "@ToFeed", "Screener", "@MailroomError"])
def test_a_mailbox_with_a_role_is_never_managed(name: str, role: str) -> None:
    boxes = account(box(name, role), without=name)
    with pytest.raises(LastingTrouble, match=f"{name} is the account's {role}"):
        find_places(CONFIG, boxes)


def test_other_roles_are_no_obstacle() -> None:
    boxes = account(box("Feed", "subscriptions"), without="Feed")
    assert "Feed" in find_places(CONFIG, boxes).destinations


def test_two_names_for_one_mailbox_are_refused() -> None:
    data: dict[str, Any] = {"triage": {"categories": [{"name": "Feed", "label": "A/Feed"}]}}
    config = from_data(data)
    boxes = [box(name) for name in config.managed_mailboxes if "Feed" not in name]
    nested = [*boxes, box("A"), box("A/Feed")]
    with pytest.raises(LastingTrouble, match="A/Feed and Feed are the same mailbox"):
        find_places(config, nested)
    assert find_places(config, [*nested, box("Feed")]).destinations == {"Feed"}


def test_categories_may_share_a_destination() -> None:
    categories = ["Feed", {"name": "News", "destination_mailbox": "Feed"}]
    config = from_data({"triage": {"categories": categories}})
    places = find_places(config, [box(name) for name in config.managed_mailboxes])
    assert places.destinations == {"Feed"}
    assert places.chains == {"Feed": ("Feed",), "News": ("Feed",)}
