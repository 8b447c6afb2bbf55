"""What is said of configurations that are wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.text import effective, parse

FAULTS = re.split(
    r"(?m)^\.\.\.\n", (Path(__file__).parent / "config_faults.yaml").read_text("utf-8")
)[:-1]


def problems(text: str) -> list[str]:
    """Return what is wrong with a text, without the file's name."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "FILE")
    assert all(problem.startswith("FILE:") for problem in caught.value.problems)
    return [problem.removeprefix("FILE:") for problem in caught.value.problems]


NOT_READABLE = [
    ("jmap:\n\turl: x", ["2: a tab cannot indent in YAML; use spaces"]),
    ("a: b: c", ["1: a ':' stands where no key can be; check the indentation"]),
    ("jmap:\n  url: 'x\n", ["3: a quote is opened and never closed; close it"]),
    ("triage: {\n", ["2: a bracket is opened and never closed; close it"]),
    ("triage: [\n", ["2: a bracket is opened and never closed; close it"]),
    (
        "jmap:\n  - b\n url: 1",
        ["3: the indentation does not fit the lines above; align it with them"],
    ),
    (
        "jmap: |\n  x\n url: 1\ntls: {}\n",
        ["3: the indentation does not fit the lines above; align it with them"],
    ),
    ("jmap:\n---\ntls:\n", ["2: a second document begins ('---'); keep one"]),
    (
        "tls: {}\ntls x\njmap: {}\n",
        ["3: no ':' follows this key; add it, or check the indentation"],
    ),
    ("triage: [a b\n- c: d", ["2: a ',' or a closing bracket is missing; add it"]),
    ("jmap: {}}", ["1: a bracket is closed that was never opened; take it away"]),
    ('a: "\\q"', ['1: a backslash in "…" must be doubled; or use single quotes']),
    ("a: %x", ["1: a value cannot begin with % unless it is quoted; put it in quotes"]),
    ("\n\na: \x07", ["3: the character U+0007 cannot stand here; remove it"]),
    ("\ud800", ["1: the character U+D800 cannot stand here; remove it"]),
    ('\na: "\\UFFFFFFFF"', ["2: a number or an escape is out of range; correct it"]),
    (
        "jmap: &j {}\n",
        ["1: anchors and aliases (&, *) are not used here; write it out, or quote it"],
    ),
    (
        "jmap:\n  url: *j\n",
        ["2: anchors and aliases (&, *) are not used here; write it out, or quote it"],
    ),
    (
        "jmap: !include\n\n  url: x\n",
        ["1: tags (!) are not used here; take it away, or quote the value"],
    ),
    ("jmap: !include x", ["1: tags (!) are not used here; take it away, or quote the value"]),
    ("[" * 9999, ["1: is nested too deeply; see the example configuration"]),
    ('"a" b', ["1: the text before it has ended already; check brackets and quotes"]),
    (
        "a: |x",
        [
            "1: is not YAML: expected chomping or indentation indicators, but found 'x'; "
            "correct it, or put the value in quotes"
        ],
    ),
    ("? {a: b}\n: c\n", ["1: has a list or mapping as a key; quote it"]),
]


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_told_with_line_and_key(text: str) -> None:
    lines = [line.split("  #! ")[1:] for line in text.split("\n")]
    expected = [f"{at}: {told}" for at, line in enumerate(lines, 1) for told in line]
    assert expected
    assert problems(text) == expected


@pytest.mark.parametrize(("text", "told"), NOT_READABLE)
def test_what_is_not_yaml_is_explained(text: str, told: list[str]) -> None:
    assert problems(text) == told


@pytest.mark.parametrize(
    "text", ["jmap: {token: hunter2}", "jmap: {url: 'https://u:hunter2@a'}", "hunter2"]
)
def test_no_message_repeats_a_secret(text: str) -> None:
    assert "hunter2" not in "".join(problems(text))


PIECES = st.sampled_from(
    [
        *("jmap", "url", "triage", "categories", "name", "parent", "label", "polling", "tls"),
        *(": ", ":\n  ", "\n", "\n    - ", "- ", "{", "}", "[", "]", ", ", "'", '"', "@", "&", "*"),
        *(
            "on",
            "~",
            "1",
            "1e9",
            "0x_",
            "0b_",
            "._",
            "1:3_:",
            "=",
            "<<",
            "!!int ",
            "%YAML 1.",
            "A",
            "/",
        ),
        *(
            "\t",
            "\\U",
            "\x85",
            "\ud800",
            "?",
            "|",
            ">",
            "#",
            "---",
            "...",
            "https://",
            "[::",
            "http:",
        ),
    ]
)


@given(st.from_regex(r"['\"]?[-+0-9_.,:eExXobsmh ]{1,9}['\"]?", fullmatch=True))
@example("'1e2'")
@example("1e-07")
@example("99999999999999999")
@example("1e+99")
@example("'08'")
@example("'010'")
def test_a_number_that_is_advised_is_one(written: str) -> None:
    """Whatever stands in a number's place: what the message says to write is taken as a number."""
    told = "".join(_told(f"polling:\n  poll_interval: {written}\n"))
    for advised in re.findall(r"(?:write|away:) ([-\d.]+)$", told):
        again = "".join(_told(f"polling:\n  poll_interval: {advised}\n"))
        assert not again or " must be at " in again


def _told(text: str) -> list[str]:
    try:
        parse(text, "FILE")
    except ConfigurationError as error:
        return list(error.problems)
    return []


@given(st.text() | st.lists(PIECES).map("".join))
@example("%YAML 1." + "1" * 5000)
@example("polling: {poll_interval: " + "9" * 5000 + "}")
@example("\ufeff\ufeff")
@example("a: @\n" * 200)
def test_no_text_raises_anything_but_a_configuration_error(text: str) -> None:
    try:
        config = parse(text, "FILE")
    except ConfigurationError as error:
        told = error.problems
    else:
        assert parse(effective(config), "FILE") == config
        return
    assert told
    assert all(re.fullmatch(r"FILE:\d+: .+", problem) for problem in told)
