"""The page in Cockpit says the same as the commands, in the words of both."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mailroom.terminal.screening.keys import keys_of
from mailroom.terminal.status import _attention

PAGE = Path(__file__).resolve().parents[1] / "cockpit"
AT = "2026-11-21T12:00:00.000Z"
TROUBLED: dict[str, Any] = {
    "refused_reload": {"at": AT, "problems": ["mailroom.yaml, line 3: no"]},
    "trouble": {"since": AT, "kind": "network", "reason": "no route", "lasting": False},
    "conflicts": [{"sender": "bob@example.org", "categories": ["Feed", "Jail"], "since": AT}],
    "rules_failed_at": AT,
    "moved_at_once": 60,
    "failing_senders": [
        {"sender": "eve@example.org", "reason": "no", "attempts": 3, "next_try_at": AT}
    ],
}


def phrases(module: str) -> list[re.Pattern[str]]:
    """What is to be translated in a module of the page, as patterns; without the full stop."""
    text = (PAGE / "js" / f"{module}.js").read_text()
    found = re.findall(r'_\(("(?:[^"\\]|\\.)*")\)', text)
    return [
        re.compile(re.sub(r"\\\$\d", ".*", re.escape(json.loads(each).rstrip("."))), re.IGNORECASE)
        for each in found
    ]


@pytest.mark.parametrize("advice", [advice for _, _, advice in _attention(TROUBLED)])
def test_the_page_advises_as_status_does(advice: str) -> None:
    assert any(phrase.fullmatch(advice) for phrase in phrases("attention")), advice


def test_every_number_in_a_phrase_of_the_page_is_given() -> None:
    """A phrase with $1 is formatted with two values, or it would be shown as it stands."""
    for module in (PAGE / "js").glob("*.js"):
        for phrase in re.findall(r'_\("([^"]*\$\d[^"]*)"\)', module.read_text()):
            assert re.search(
                rf'format\((?:ngettext|_)\("{re.escape(phrase)}"', module.read_text()
            ), (
                module.name,
                phrase,
            )


def test_the_keys_that_the_page_keeps_for_itself_are_those_of_the_screen() -> None:
    names = ["Quick", "Urgent", "Imbox", "Paper Trail", "Person"]
    source = (PAGE / "js/keys.js").read_text()
    taken = re.search(r"const TAKEN = \[(.*)\]", source)
    assert taken is not None
    assert set(keys_of(names).values()).isdisjoint(json.loads(f"[{taken[1]}]"))


def test_the_page_loads_nothing_that_it_has_not_brought() -> None:
    known = {path.name for path in (PAGE / "js").glob("*.js")}
    for module in (PAGE / "js").glob("*.js"):
        for path in re.findall(r'from "([^"]+)"', module.read_text()):
            assert path.startswith("./")
            assert path.removeprefix("./") in known
        assert "innerHTML" not in module.read_text()
    assert not re.findall(r"https?://", (PAGE / "index.html").read_text())
