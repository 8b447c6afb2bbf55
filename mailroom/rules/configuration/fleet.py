"""Many accounts in one process: their names, and how each differs from the defaults.

``mailroom.yaml`` gives the defaults; ``accounts.d/NAME.yaml`` beside it overrides them for one
account. Without such files ``mailroom.yaml`` is the only account, which has no name.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mailroom.rules.configuration.config import ACCOUNT, Config
from mailroom.wire.urls import origin

#: The name of the only account of a process.
SINGLE = ""
# What file names, URLs, unit instances and credentials can all carry.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}")
#: Sections that belong to the process, not to one account.
SHARED_SECTIONS = ("tls", "limits", "logging")

Data = dict[str, Any]


def is_name(text: str) -> bool:
    """Whether an account can have this name."""
    return _NAME.fullmatch(text) is not None


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any], name: str) -> Data:
    """An account's configuration as plain data: its own keys, section by section, over the
    defaults; in ``jmap.username`` and ``jmap.authorize_as`` the account's name replaces the
    placeholder."""
    data: Data = dict(defaults)
    for key, value in own.items():
        is_section = isinstance(value, dict | None) and isinstance(data.get(key), dict | None)
        data[key] = {**(data.get(key) or {}), **(value or {})} if is_section else value
    jmap = dict(data.get("jmap") or {})
    for key in ("username", "authorize_as"):
        if isinstance(pattern := jmap.get(key), str):
            jmap[key] = pattern.replace(ACCOUNT, name)
            data["jmap"] = jmap
    return data


def sharing(config: Config, defaults: Config) -> Config:
    """The same configuration, sharing the sections that equal the defaults': among a thousand
    accounts that saves memory."""
    parts = {
        each.name: getattr(defaults, each.name)
        if getattr(config, each.name) == getattr(defaults, each.name)
        else getattr(config, each.name)
        for each in fields(Config)
    }
    return Config(**parts)


def may_have_shared_secret(config: Config, defaults: Config) -> bool:
    """Whether the shared password may be sent to this account's server: it is only for the origin
    that ``mailroom.yaml`` names, whatever the account's file says."""
    return origin(config.jmap.url) == origin(defaults.jmap.url)


def may_have_shared_book_secret(config: Config, defaults: Config) -> bool:
    """The same for the address book's password."""
    return origin(config.carddav.url) == origin(defaults.carddav.url)
