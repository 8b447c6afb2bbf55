"""Files of decisions: what people bring from elsewhere, and what is no decision."""

import pytest

from mailroom.errors import UsageError
from mailroom.rules.triage.subject import SubjectKind
from mailroom.terminal.decisionfile import Bad, parse
from mailroom.terminal.naming import CategoryNames
from mailroom.terminal.remote import Decision, Whom

NAMES = CategoryNames(
    {
        "categories": [
            {"name": "Feed", "label": "@ToFeed", "parent": None},
            {"name": "Paper Trail", "label": "@ToPaperTrail", "parent": None},
        ],
        "screener": "Stranger's Room",
    }
)


def told(text: str, category: str | None = None) -> list[str]:
    """As ``kind:name>category``, and what is wrong with its line."""
    return [
        f"{each.line}: {each.reason}"
        if isinstance(each, Bad)
        else f"{each.whom.kind}:{each.whom}>{each.category}"
        for each in parse(text, NAMES, category)
    ]


@pytest.mark.parametrize(
    ("text", "category", "expected"),
    [
        # JSON lines, as an export has them
        ('{"address": "b@x", "category": "Feed", "since": null}\n\n{"domain": "x", "category": '
         '"papertrail"}\n{"list": "l.x", "category": null}',
         None, ["address:b@x>Feed", "domain:x>Paper Trail", "list:l.x>None"]),
        ('{"address": "b@x"}', "feed", ["address:b@x>Feed"]),
        ('{"address": "b@x"}\nnonsense\n[1]\n{"name": "b"}\n{"address": "c@x", "category": 7}',
         None,
         ["1: no category for b@x: name one for such lines with --category", "2: not JSON",
          "3: no address, domain or list", "4: no address, domain or list",
          "5: the category of c@x is not text"]),
        # CSV, with heads
        ("Name,Email,Group\nBob,b@x,Feed\nEve,e@x,\n", "Paper Trail",
         ["address:b@x>Feed", "address:e@x>Paper Trail"]),
        ("E-Mail 1 - Value;Notes\nb@x;feed\n", "feed", ["address:b@x>Feed"]),
        ('\ufeffFirst,"E-mail ""home"""\n"Bob, Jr.",b@x\n', "feed", ["address:b@x>Feed"]),
        ("Category\tAddress\nFeed\tBob <b@x>\nnonsense\tc@x\nFeed\t\n", None,
         ["address:b@x>Feed", "3: c@x: there is no category 'nonsense'", "4: no address"]),
        # and without
        ("b@x\n\nc@x\n", "feed", ["address:b@x>Feed", "address:c@x>Feed"]),
        ("b@x\tFeed\t2026-11-21\tBob\n@shop.x\tPaper Trail\t\tthe whole domain\n", None,
         ["address:b@x>Feed", "domain:shop.x>Paper Trail"]),
        ("Feed|b@x\nscreener|c@x\n", None, ["address:b@x>Feed", "address:c@x>None"]),
        # twice
        ("b@x\nb@x\n", "feed", ["address:b@x>Feed"]),
        ("b@x,Feed\nb@x,papertrail\n", None,
         ["address:b@x>Feed", "2: b@x is listed already, for another category"]),
    ],
)  # fmt: skip
def test_what_a_file_says(text: str, category: str | None, expected: list[str]) -> None:
    assert told(text, category) == expected


@pytest.mark.parametrize("text", ["", "hello\n", "name,category\nbob,Feed\n"])
def test_what_is_no_list_of_decisions(text: str) -> None:
    with pytest.raises(UsageError, match="no column of addresses"):
        parse(text, NAMES, "feed")


@pytest.mark.parametrize("text", ["b@x,Feed\n", "b@x\n", '{"address": "b@x", "category": "Feed"}'])
def test_a_category_for_other_lines_that_does_not_exist(text: str) -> None:
    """Also if no line needs it."""
    with pytest.raises(UsageError, match=r"no category 'feeed': .* did you mean Feed\?"):
        parse(text, NAMES, "feeed")


def test_back_to_screener_by_either_name() -> None:
    assert told("b@x,screener\nc@x,stranger'sroom") == ["address:b@x>None", "address:c@x>None"]


def test_decisions_are_values() -> None:
    assert parse("b@x", NAMES, "feed") == [Decision(Whom(SubjectKind.ADDRESS, "b@x"), "Feed")]
