"""Names: what strangers call themselves, and what mailboxes and groups are called.

Display names are untrusted data. Names on the server are compared in one normal form.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# Characters that end a line or move the cursor in some program become a space.
_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
# Removed: the other controls, whatever changes the order in which text is shown (bidi embeddings,
# overrides, isolates), and what UTF-8 or XML 1.0 cannot carry.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_PARSED_CHARACTERS = 200  # nobody's name is longer, and the library takes quadratic time


def clean_name(display_name: str) -> str:
    """Return the name on one line, without control characters and bidi overrides."""
    return " ".join(_REFUSED.sub("", _BREAKS.sub(" ", display_name)).split())


def normal_name(name: str) -> str:
    """The form in which names of mailboxes, groups and categories are compared: NFC (RFC 8621 §2,
    RFC 5198). A server or a program may keep ``ü`` as one character or as ``u`` and two dots."""
    return unicodedata.normalize("NFC", name)


def with_normal_names(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section of the configuration with its texts in normal form, whatever editor wrote it."""
    return {
        key: normal_name(value) if isinstance(value, str) else value
        for key, value in section.items()
    }


def same_name(one: str, other: str) -> bool:
    """Whether two names are the same in normal form."""
    return normal_name(one) == normal_name(other)


def folded_name(name: str) -> str:
    """The form in which names that people would confuse are equal: normal, and without case."""
    return normal_name(normal_name(name).casefold())


def name_mismatch(display_name: str, fn: str) -> bool:
    """Whether a mail's display name differs from the contact's, ignoring case and spaces.

    An empty name on either side never mismatches.
    """
    claimed, known = _comparable(display_name), _comparable(fn)
    return bool(claimed and known) and claimed != known


def structured_name(name: str) -> tuple[str, str, str, str, str]:
    """Return family, given and additional names, prefixes and suffixes (RFC 6350 §6.2.2).

    A text that does not parse as a person's name is all given name.
    """
    if len(name) > _PARSED_CHARACTERS:
        return ("", name, "", "", "")
    # imported here: it costs 6 MiB and 0.1 s, which a service without persons saves
    from nameparser import HumanName  # noqa: PLC0415

    parsed = HumanName(name)
    if not (parsed.last or parsed.first):
        return ("", name, "", "", "")
    return (parsed.last, parsed.first, parsed.middle, parsed.title, parsed.suffix)


def _comparable(name: str) -> str:
    return "".join(folded_name(clean_name(name)).split())
