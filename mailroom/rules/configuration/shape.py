"""The shape of the configuration: what the shipped JSON Schema finds, in words for users."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from mailroom.rules.configuration.document import Document, Path, Problem, shown
from mailroom.rules.configuration.numbers import in_digits, is_plain_number, number_meant

_SECRET_WORDS = ("token", "password", "passwd", "secret", "apikey", "api_key", "credential")
_SECRETS_GO = (
    "secrets never stand in this file; put it into the systemd credential jmap-token, "
    "jmap-password or carddav-password, or into the environment as MAILROOM_JMAP_TOKEN, "
    "MAILROOM_JMAP_PASSWORD or MAILROOM_CARDDAV_PASSWORD"
)

_EMPTY = "is empty; give a value, or delete the key to have the default"
_LIMITS = {
    "minimum": "must be at least {}",
    "exclusiveMinimum": "must be more than {}",
    "maximum": "must be at most {}",
    "minLength": _EMPTY,
    "minItems": _EMPTY,
}
_WANTED = {
    "boolean": "must be true or false",
    "number": "must be a number",
    "string": "must be text",
    "array": "must be a list; write each item on a line of its own, after '- '",
    "object": "must be a section; write its keys below it, indented, as 'key: value'",
}


def shape_problems(document: Document) -> Iterator[Problem]:
    """Yield what the JSON Schema finds wrong with the document's data."""
    for error in _validator().iter_errors(document.data):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            yield from _unknown_keys(document, error, path)
        else:
            yield document.problem(path, _explain(document, error, path))


@cache
def _validator() -> Draft202012Validator:
    """Built once: many accounts have many files."""
    schema = json.loads(files("mailroom.schema").joinpath("config.schema.json").read_bytes())
    return Draft202012Validator(schema)


def _unknown_keys(document: Document, error: ValidationError, path: Path) -> Iterator[Problem]:
    rules: Any = error.schema
    known = list(rules["properties"])
    given: Any = error.instance
    for key in given:
        if key not in known:
            yield document.problem((*path, key), _advice(key, known))


def _advice(key: str, known: list[str]) -> str:
    word = key.lower().replace("-", "_")
    if any(secret in word for secret in _SECRET_WORDS):
        return _SECRETS_GO
    if nearest := get_close_matches(word, known, n=1):
        return f"is not a known key; did you mean {nearest[0]}?"
    return f"is not a known key; known here: {', '.join(known)}"


def _explain(document: Document, error: ValidationError, path: Path) -> str:
    limit: Any = error.validator_value
    value: Any = error.instance
    rule = str(error.validator)
    if rule in _LIMITS:
        return _LIMITS[rule].format(limit)
    if rule == "required":
        missing = [key for key in limit if key not in value]
        return f"has no {' and no '.join(missing)}; add it"
    if rule == "enum":
        return _explain_choice(document, value, limit, path)
    return _explain_type(document, value, limit, path)


def _explain_choice(document: Document, value: Any, limit: list[Any], path: Path) -> str:
    if value is None:
        return _EMPTY
    words = [each for each in limit if isinstance(each, str)]
    nearest = get_close_matches(str(value).lower(), words, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"write {' or '.join(words)}"
    return f"cannot be {shown(document.written.get(path, str(value)))}; {hint}"


def _explain_type(document: Document, value: Any, limit: str | list[str], path: Path) -> str:
    wanted = [limit] if isinstance(limit, str) else limit
    if value is None:
        return _EMPTY
    if "string" in wanted and isinstance(value, bool | int | float):
        kind = "a boolean" if isinstance(value, bool) else "a number"
        quoted = shown(document.written[path])
        return f"must be text, but YAML reads it as {kind}; put it in quotes: {quoted}"
    if wanted == ["string", "object"]:
        return "must be a name, or a mapping with a name"
    about = _ABOUT.get(wanted[0]) if path in document.written else None
    return _WANTED[wanted[0]] + (about(document, value, path) if about else "")


def _about_number(document: Document, value: Any, path: Path) -> str:
    """What was written in the place of a number, and what to write."""
    written = document.written[path]
    meant = number_meant(written)
    if isinstance(value, bool):
        return f", but YAML reads {shown(written)} as {str(value).lower()}; write digits"
    if meant is None:
        return f", and {shown(written)} is not one; write digits, as in 60 or 0.5"
    if path in document.quoted and is_plain_number(written):
        return f", and in quotes it is text; take them away: {written}"
    return f", but YAML reads {shown(written)} as text; write {in_digits(meant)}"


def _about_boolean(document: Document, _value: Any, path: Path) -> str:
    written = document.written[path]
    if path in document.quoted and written in ("true", "false"):
        return f", and in quotes it is text; take them away: {written}"
    return f", and {shown(written)} is neither"


_ABOUT = {"number": _about_number, "boolean": _about_boolean}
