"""URLs: their origin, how they may be shown, and filling in URI templates."""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

_VARIABLE = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=256)  # called for each request, with the same few URLs
def origin(url: str) -> str:
    """Return scheme, host and port of an absolute URL, with one spelling per origin (RFC 6454)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    is_default = parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme))
    return f"{parts.scheme}://{bracketed}" + ("" if is_default else f":{parts.port}")


def without_query(url: str) -> str:
    """The URL as it may be shown: without user and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_template(text: str) -> bool:
    """Whether it has variables."""
    return _VARIABLE.search(text) is not None


def expand(template: str, values: Mapping[str, str]) -> str:
    """A URI template of level 1 (RFC 6570), filled in; unknown variables are empty."""
    return _VARIABLE.sub(lambda match: quote(values.get(match[1], ""), safe=""), template)
