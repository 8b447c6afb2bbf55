"""The configuration that ``mailroom init`` makes is written whole, or not at all."""

import os
import stat
from pathlib import Path

import pytest

from mailroom.engine.configwrite import write_configuration
from mailroom.errors import LastingTrouble


def test_it_is_written_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "mailroom" / "mailroom.yaml"
    before = os.umask(0o077)
    try:
        write_configuration(path, "jmap:\n  url: https://mail.example.org\n")
    finally:
        os.umask(before)
    assert path.read_text() == "jmap:\n  url: https://mail.example.org\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "mailroom.yaml"
    path.write_text("mine")
    with pytest.raises(LastingTrouble, match=r"mailroom\.yaml cannot be written: File exists"):
        write_configuration(path, "other")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_where_there_can_be_no_file_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "mailroom.yaml"
    with pytest.raises(LastingTrouble, match=f"^{path} cannot be written: "):
        write_configuration(path, "text")
