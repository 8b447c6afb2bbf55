"""The commands of docs/fleet.md about several hosts, as an operator finds them there.

A block of commands says in its first line where it is typed: ``# on n1``, ``# on every host``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.system.unit import PROJECT

CHAPTER = "Pacemaker and Corosync"
EVERY = "every host"

_BLOCK = re.compile(r"^```sh\n# on ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """Commands to be typed in one place: on ``every host``, or on the host of that name."""

    place: str
    commands: str


def steps(section: str) -> list[Step]:
    """What is to be typed in that section of the chapter, in its order."""
    found = [Step(*block) for block in _BLOCK.findall(_sections()[section])]
    assert found, f"there are no commands under {section!r}"
    return found


def sections() -> list[str]:
    """The names of all sections that have commands."""
    return [name for name, text in _sections().items() if "```sh" in text]


def _sections() -> dict[str, str]:
    page = (PROJECT / "docs/fleet.md").read_text()
    chapter = page.partition(f"\n### {CHAPTER}\n")[2]
    assert chapter, f"docs/fleet.md has no chapter {CHAPTER!r}"
    return dict(_cut(re.split(r"^#{2,3} ", chapter, maxsplit=1, flags=re.MULTILINE)[0]))


def _cut(chapter: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^#### ", chapter, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        yield title, text
