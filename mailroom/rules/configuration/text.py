"""The configuration as text: reading the file, with every problem at once, and writing it.

Imports PyYAML and jsonschema, which cost more memory than the service itself: only commands and
the child process of ``configfile`` import this module.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.checks import rule_problems
from mailroom.rules.configuration.config import Config, from_data, to_data
from mailroom.rules.configuration.document import Problem, read
from mailroom.rules.configuration.fleet import SHARED_SECTIONS, merged
from mailroom.rules.configuration.shape import shape_problems


def parse(text: str, filename: str) -> Config:
    """Return the configuration that the YAML text means; an empty text means all defaults.

    ``filename`` is for the messages only. Raises ``ConfigurationError`` with every problem, each
    ``FILE:LINE: key.path: what is wrong; what to do``, in the order of the lines.
    """
    return from_data(parse_data(text, filename))


def parse_data(text: str, filename: str) -> dict[str, Any]:
    """Return what the text itself says, as checked plain data; raises as :func:`parse` does."""
    document = read(text)
    problems = document.problems
    if document.data is not None:
        problems = [*problems, *shape_problems(document), *rule_problems(document)]
    _raise(problems, filename)
    return document.data or {}


def parse_account(text: str, filename: str, name: str, defaults: Mapping[str, Any]) -> Config:
    """Return the configuration of the account ``name``: what its file says, over the ``defaults``
    of all accounts. Raises as :func:`parse` does."""
    document = read(text)
    problems = list(document.problems)
    if document.data is None:
        _raise(problems, filename)
        return from_data(merged(defaults, {}, name))
    problems += shape_problems(document)
    own = document.data if isinstance(document.data, dict) else {}
    for section in SHARED_SECTIONS:
        if section in own:
            told = "is for all accounts: write it into mailroom.yaml"
            problems.append(document.problem((section,), told))
    if not problems:
        document.data = merged(defaults, own, name)
        problems += rule_problems(document)
    _raise(problems, filename)
    return from_data(document.data)


def _raise(problems: list[Problem], filename: str) -> None:
    if problems:
        in_order = sorted(problems, key=lambda problem: problem.line)
        raise ConfigurationError([problem.told(filename) for problem in in_order])


def effective(config: Config, secrets: Mapping[str, str] | None = None) -> str:
    """Return the configuration as YAML with every default spelled out: itself a valid file.

    ``secrets`` says whether and where each secret is set, never its value; comments show it.
    """
    comments = "".join(f"# {name}: {told}\n" for name, told in (secrets or {}).items())
    return comments + yaml.safe_dump(
        to_data(config), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
