"""The shapes that requests and answers are promised to have."""

import json
from importlib.resources import files
from typing import Any

import jsonschema


def schema(name: str) -> dict[str, Any]:
    text = files("mailroom.schema").joinpath(f"{name}.schema.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def validate(name: str, document: object) -> None:
    """Raises where the document has another shape; as JSON, as it is sent."""
    answer = json.loads(json.dumps(document, allow_nan=False))
    jsonschema.Draft202012Validator(schema(name)).validate(answer)


def is_valid(name: str, document: object) -> bool:
    return jsonschema.Draft202012Validator(schema(name)).is_valid(document)
