"""One version of one day: ``mailroom/__init__.py`` has it, and all that names it says the same."""

import re
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mailroom import __version__

PROJECT = Path(__file__).resolve().parents[1]
PACKAGING = PROJECT / "packaging"
PAGES = sorted((PACKAGING / "man").iterdir())


def chapters() -> list[tuple[str, str]]:
    """Version and day of each chapter of the changelog, the newest first."""
    text = (PROJECT / "CHANGELOG.md").read_text()
    return re.findall(r"^## \[([0-9.]+)\] - (\S+)$", text, re.MULTILINE)


def released() -> date:
    return date.fromisoformat(chapters()[0][1])


def test_the_newest_chapter_of_the_changelog_is_this_version() -> None:
    assert chapters()[0][0] == __version__
    assert chapters() == sorted(chapters(), key=lambda each: date.fromisoformat(each[1]))[::-1]


def test_whoever_upgrades_is_told_first_what_changes() -> None:
    newest = (PROJECT / "CHANGELOG.md").read_text().split("\n## [")[1]
    first = newest.split("\n### ")[1]
    assert first.startswith("What changes for you if you upgrade\n")


@pytest.mark.parametrize("name", ["changelog", "NEWS"])
def test_the_package_has_the_version_of_the_program(name: str) -> None:
    text = (PACKAGING / "debian" / name).read_text()
    assert text.startswith(f"mailroom ({__version__}) ")
    [stamp, *_] = re.findall(r"^ -- .*>  (.*)$", text, re.MULTILINE)
    assert parsedate_to_datetime(stamp).astimezone(UTC).date() == released()


def test_cockpit_is_told_of_this_version() -> None:
    [metainfo] = (PACKAGING / "metainfo").iterdir()
    newest = ElementTree.parse(metainfo).find("releases/release")
    assert newest is not None
    assert newest.attrib == {"version": __version__, "date": released().isoformat()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_manual_page_is_as_old_as_the_version(page: Path) -> None:
    first = page.read_text().splitlines()[0]
    shown = datetime.strptime(first, ".Dd %B %d, %Y").replace(tzinfo=UTC)
    assert shown.date() == released()
