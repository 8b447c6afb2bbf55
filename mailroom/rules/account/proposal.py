"""The configuration that ``mailroom init`` writes: small, and only what differs from the defaults.

Its texts are quoted as JSON, which YAML can read. The configuration's reader checks the result.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mailroom.rules.account.autodiscovery import Seen, short
from mailroom.rules.account.questions import FEWER, Knowledge, Login, Topic
from mailroom.rules.configuration.categories import DEFAULT_CATEGORIES, Category, Triage
from mailroom.rules.configuration.config import Config, Screening
from mailroom.rules.configuration.servers import FASTMAIL_SESSION, session_url
from mailroom.rules.screening.own import OwnAddresses

_HEAD = """\
# Made by `mailroom init`; change it as you like: mailroom.yaml(5). Missing keys have
# their defaults; `mailroom config` shows all that is in effect.
"""
_BARE = re.compile(r"[A-Za-z](?:[\w.@-]*\w)?", re.ASCII)
# What YAML 1.1 does not read as text.
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def configuration(known: Knowledge) -> str:
    """The text of mailroom.yaml for what is known. Unanswered questions count as answered by their
    defaults."""
    return _HEAD + "".join(f"{line}\n" for line in _lines(known))


def credentials(known: Knowledge) -> dict[str, str]:
    """The secrets by the names of their credentials (docs/configuration.md)."""
    name = "jmap-password" if known.username else "jmap-token"
    found = {name: known.secret, "carddav-password": known.contacts_secret}
    return {name: secret for name, secret in found.items() if secret}


def differences(config: Config, given: Mapping[Topic, str]) -> Iterator[str]:
    """Answers that contradict the existing configuration, which stays as it is; each with what it
    says."""
    names = {each.name for each in config.triage.categories}
    kinds = {"fewer": set(FEWER), "all": {each.name for each in DEFAULT_CATEGORIES}}
    said = {
        Topic.SERVER: short(config.jmap.url),
        Topic.CA_FILE: config.tls.ca_file or "",
        Topic.USERNAME: config.jmap.username or "",
        Topic.SCREENING: config.screening.by,
        Topic.CATEGORIES: next((kind for kind in kinds if kinds[kind] == names), "others"),
    }
    for topic, answer in given.items():
        if topic is Topic.SERVER and session_url(answer) == config.jmap.url:
            continue
        if topic in said and answer != said[topic]:
            yield f"--{topic} {answer} is not what the configuration says ({said[topic]})"
    address = given.get(Topic.ADDRESS, "")
    if address and address.lower() not in OwnAddresses(config.triage.own_addresses):
        yield f"--address {address} is not among the configuration's own_addresses"


def _lines(known: Knowledge) -> Iterator[str]:
    assert known.seen is not None
    if known.seen.url != FASTMAIL_SESSION:
        yield from ("", "jmap:", f"  url: {_text(short(known.seen.url))}")
        if known.username:
            yield f"  username: {_text(known.username)}"
    if known.contacts_server and known.contacts_secret:
        yield from ("", "carddav:", f"  url: {_text(known.contacts_server)}")
        yield f"  username: {_text(known.contacts_username or '')}"
    if known.ca_file:
        yield from ("", "tls:", f"  ca_file: {_text(known.ca_file)}")
    yield from ("", "triage:")
    yield from _triage(known)
    if known.screening not in (None, Screening().by):
        yield from ("", "screening:", f"  by: {_text(known.screening)}  # who sorts new mail")


def _triage(known: Knowledge) -> Iterator[str]:
    default = Triage()
    screener = known.mailbox(default.screener_mailbox)
    if screener != default.screener_mailbox:
        yield f"  screener_mailbox: {_text(screener)}"
    yield f"  own_addresses: [{_text(known.address)}]  # your own mail is not triaged"
    names = known.categories or tuple(each.name for each in DEFAULT_CATEGORIES)
    chosen = [each for each in DEFAULT_CATEGORIES if each.name in names]
    renamed = any(known.mailbox(each.name) != each.name for each in chosen)
    if renamed or len(chosen) != len(DEFAULT_CATEGORIES):
        yield "  categories:"
        yield from (f"    - {_entry(each, known.mailbox(each.name))}" for each in chosen)


def _entry(category: Category, mailbox: str) -> str:
    """A category as the file writes it: only its name, if the rest follows from that."""
    entry: dict[str, Any] = {"name": category.name}
    if category.parent:
        entry["parent"] = category.parent
    if category.contact_type != "company":
        entry["contact_type"] = category.contact_type
    if category.add_to_inbox:
        entry["add_to_inbox"] = True
    if mailbox != category.name:
        entry["destination_mailbox"] = mailbox
    if len(entry) == 1:
        return category.name
    return f"{{{', '.join(f'{key}: {_text(value)}' for key, value in entry.items())}}}"


def _text(value: object) -> str:
    """A value as YAML: bare where that is safe and reads better."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)


def known_from(config: Config, login: Login | None) -> Knowledge:
    """What an existing configuration says already: everything but the secrets."""
    username = config.jmap.username
    own = next((each for each in config.triage.own_addresses if "*" not in each), None)
    return Knowledge(
        is_configured=True,
        address=own or username or "",
        is_discovered=True,
        server=config.jmap.url,
        seen=Seen(config.jmap.url),
        is_trusted=True,
        ca_file=config.tls.ca_file,
        login="password" if username else login or "token",
        username=username,
        contacts_server=config.carddav.url,
        contacts_username=config.carddav.username or username or own or "",
        categories=(),
        taken=(),
        screening=config.screening.by,
    )
