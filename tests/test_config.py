"""The configuration: what files mean, and what is said of files that are wrong."""

import dataclasses
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mailroom.rules.configuration.categories import Category, category_from
from mailroom.rules.configuration.config import (
    EVIDENCE,
    Carddav,
    Config,
    Logging,
    Screening,
    from_data,
    to_data,
)
from mailroom.rules.configuration.servers import carddav_url, session_url
from mailroom.rules.configuration.text import effective, parse

ROOT = Path(__file__).parent.parent
SCHEMA: dict[str, Any] = json.loads(
    files("mailroom.schema").joinpath("config.schema.json").read_bytes()
)
GUIDE = (ROOT / "docs/configuration.md").read_text()
EXAMPLE = (ROOT / "packaging/mailroom.yaml").read_text()


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "{}", "~", "jmap:\ntriage:\n", "\ufeff"]
)
def test_what_is_empty_is_all_defaults(text: str) -> None:
    assert parse(text, "FILE") == Config()


def test_the_example_says_the_defaults() -> None:
    assert parse(EXAMPLE, "FILE") == Config()


def test_the_example_with_everything_uncommented_is_valid() -> None:
    assert parse(re.sub(r"(?m)^( *)#(?=[a-z-] ?)", r"\1", EXAMPLE), "FILE") != Config()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
def test_every_example_of_the_guide_is_valid(block: str) -> None:
    assert parse(block, "FILE")


def test_the_guide_names_every_key_and_its_default() -> None:
    for section, schema in SCHEMA["properties"].items():
        chapter = GUIDE.split(f"### `{section}`")[1].split("\n### ")[0]
        for key, rule in schema.get("properties", {}).items():
            row = re.search(rf"(?m)^\| `{key}` \| (.*?) \|", chapter)
            assert row, f"{section}.{key} is not in docs/configuration.md"
            told = _IN_WORDS.get(f"{section}.{key}", _shown(rule["default"]))
            assert row[1] == told, f"{section}.{key}"
    for key in SCHEMA["$defs"]["category"]["properties"]:
        assert f"| `{key}` |" in GUIDE


# What follows from other keys, and lists.
_IN_WORDS = {
    "carddav.url": "Fastmail's for Fastmail, else the origin of `jmap.url`",
    "carddav.username": "`$MAILROOM_CARDDAV_USERNAME`, else `jmap.username`, else the name in the "
    "JMAP session",
    "carddav.addressbook": "the account's default one",
    "triage.categories": "the list below",
    "screening.known": "all three",
}


def _shown(default: object) -> str:
    """A default as the guide writes it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f"`{default}`"
    return str(default or "none") if default != [] else "none"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_schema_and_classes_have_the_same_keys_and_defaults() -> None:
    default = Config()
    assert set(SCHEMA["properties"]) == {
        field.name for field in dataclasses.fields(Config) if field.compare
    }
    said = {
        section: {key: rule["default"] for key, rule in schema["properties"].items()}
        if "properties" in schema
        else schema["default"]
        for section, schema in SCHEMA["properties"].items()
    }
    assert from_data({**said, "carddav": {}}) == default
    assert set(said["carddav"]) == {field.name for field in dataclasses.fields(Carddav)}
    assert set(SCHEMA["$defs"]["category"]["properties"]) == {
        field.name for field in dataclasses.fields(Category)
    }


def test_what_a_category_leaves_out_follows_from_its_name() -> None:
    assert category_from("Paper  Trail") == Category(
        name="Paper  Trail",
        label="@ToPaperTrail",
        contact_group="Paper  Trail",
        destination_mailbox="Paper  Trail",
    )


def test_a_chain_is_the_category_and_its_ancestors_nearest_first() -> None:
    text = "triage: {categories: [{name: C, parent: B}, {name: B, parent: A}, A]}"
    triage = parse(text, "FILE").triage
    chain = triage.chain(triage.category("C"))
    assert [category.name for category in chain] == ["C", "B", "A"]
    assert [c.name for c in triage.chain(triage.category("A"))] == ["A"]
    with pytest.raises(KeyError):
        triage.category("D")


def test_labels_are_told_in_the_order_of_their_categories() -> None:
    triage = Config().triage
    names = [category.name for category in triage.categories]
    assert dict(zip(triage.labels, names, strict=True))["@ToPaperTrail"] == "Paper Trail"


def test_managed_names_are_told_once_each() -> None:
    text = """
triage:
  screener_mailbox: Wait
  categories:
    - {name: A, destination_mailbox: Box}
    - {name: B, destination_mailbox: Box, contact_group: A, parent: A}
"""
    config = parse(text, "FILE")
    assert config.triage.groups == ("A",)
    assert config.triage.destinations == ("Box",)
    assert config.managed_mailboxes == (
        *("Wait", "@ToA", "@ToB", "@ToScreener", "@WholeDomain", "@WholeList", "Box"),
        *("@MailroomError", "@MailroomWarning"),
    )
    lacking = set(config.managed_mailboxes) - set(config.required_mailboxes)
    assert lacking == {"@WholeDomain", "@WholeList"}


def test_own_addresses_are_lower_cased_and_names_composed() -> None:
    text = "triage: {screener_mailbox: Bu\u0308ro, own_addresses: [Me@Example.ORG]}"
    triage = parse(text, "FILE").triage
    assert triage.own_addresses == ("me@example.org",)
    assert triage.screener_mailbox == "B\u00fcro"


@pytest.mark.parametrize(
    ("given", "session", "carddav"),
    [
        (
            "https://api.fastmail.com/jmap/session",
            "https://api.fastmail.com/jmap/session",
            "https://carddav.fastmail.com/.well-known/carddav",
        ),
        (
            "mail.example.org",
            "https://mail.example.org/.well-known/jmap",
            "https://mail.example.org/.well-known/carddav",
        ),
        (
            "mail.example.org:8443",
            "https://mail.example.org:8443/.well-known/jmap",
            "https://mail.example.org:8443/.well-known/carddav",
        ),
        (
            "https://Mail.Example.org:443/",
            "https://mail.example.org/.well-known/jmap",
            "https://mail.example.org/.well-known/carddav",
        ),
        (
            "http://127.0.0.1:8008",
            "http://127.0.0.1:8008/.well-known/jmap",
            "http://127.0.0.1:8008/.well-known/carddav",
        ),
        (
            "http://[::1]:8008/jmap",
            "http://[::1]:8008/jmap",
            "http://[::1]:8008/.well-known/carddav",
        ),
        (
            "fastmail.com",
            "https://fastmail.com/.well-known/jmap",
            "https://carddav.fastmail.com/.well-known/carddav",
        ),
        (
            "https://notfastmail.com/x?y=z",
            "https://notfastmail.com/x?y=z",
            "https://notfastmail.com/.well-known/carddav",
        ),
    ],
)
def test_a_url_may_be_short(given: str, session: str, carddav: str) -> None:
    assert session_url(given) == session
    assert carddav_url(None, session) == carddav
    config = parse(f"jmap: {{url: {json.dumps(given)}}}", "FILE")
    assert (config.jmap.url, config.carddav.url) == (session, carddav)


@pytest.mark.parametrize(
    ("jmap", "account"),
    [
        ("{url: mail.example.org, username: me}", "me"),
        ("{url: mail.example.org}", "https://mail.example.org/.well-known/jmap"),
        ("{url: 'https://mail.example.org/jmap?key=hunter2'}", "https://mail.example.org/jmap"),
    ],
)
def test_an_account_has_a_name_for_people_without_anything_secret(jmap: str, account: str) -> None:
    assert parse(f"jmap: {jmap}", "FILE").account == account


def test_the_address_book_may_be_elsewhere() -> None:
    config = parse("carddav: {url: dav.example.org}", "FILE")
    assert config.carddav.url == "https://dav.example.org/.well-known/carddav"


def test_what_is_logged_and_how_is_read() -> None:
    assert parse("logging: {level: debug, format: json}", "FILE").logging == Logging(
        "debug", "json"
    )


@pytest.mark.parametrize(
    ("section", "meant"),
    [
        ("{}", Screening("server", EVIDENCE, "X-Spam-Flag: YES", ())),
        ("{by: mailroom}", Screening("mailroom")),
        ("{by: off}", Screening("off")),  # a boolean to YAML
        ("{by: 'off'}", Screening("off")),
        ("{known: []}", Screening(known=())),
        ("{known: [written, contacts]}", Screening(known=("contacts", "written"))),
        ("{spam_header: null}", Screening(spam_header=None)),
        ("{spam_header: 'X-Spam: y'}", Screening(spam_header="X-Spam: y")),
        ("{providers: [Mail.Example]}", Screening(providers=("mail.example",))),
    ],
)
def test_who_screens_and_who_is_known_is_read(section: str, meant: Screening) -> None:
    assert parse(f"screening: {section}", "FILE").screening == meant


def test_the_effective_configuration_is_laid_out_as_the_guide_is() -> None:
    lines = effective(parse("triage: {categories: ['B é']}", "FILE")).splitlines()
    sections = [line for line in lines if line[:1].isalpha()]
    others = ["polling:", "triage:", "screening:", "mailroom:", "digest:", "limits:", "logging:"]
    assert sections == ["jmap:", "carddav:", "contacts:", "tls:", *others, "owners: []"]
    assert "  - name: B é" in lines


@pytest.mark.parametrize(
    "text",
    [
        *("", "jmap: {url: localhost}", "triage: {categories: [A, 'B é']}"),
        "screening: {by: off, known: [written], providers: [mail.example]}",
    ],
)
def test_the_effective_configuration_is_a_configuration(text: str) -> None:
    config = parse(text, "FILE")
    shown = effective(config, {"jmap-token": "set (from the environment)"})
    assert parse(shown, "FILE") == config
    assert shown.startswith("# jmap-token: set (from the environment)\n")
    assert from_data(json.loads(json.dumps(to_data(config)))) == config
