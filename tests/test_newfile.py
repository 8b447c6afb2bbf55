"""Files that people name: whole or not there, and nothing of theirs is lost."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.newfile import NewFile, new_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions"


def test_a_file_that_cannot_be_written_is_removed_and_the_next_attempt_makes_it(path: Path) -> None:
    def interrupted() -> Iterator[str]:
        yield "a line" * 10_000
        assert path.stat().st_size
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_file(path) as file:
        file.writelines(interrupted())
    assert not path.exists()
    with new_file(path) as file:
        file.write("a line")
    assert path.read_text() == "a line"


@pytest.mark.parametrize("content", ["theirs", None])
def test_what_is_there_stays(path: Path, content: str | None) -> None:
    if content is None:
        path.symlink_to("elsewhere")
    else:
        path.write_text(content)
    with pytest.raises(FileExistsError), new_file(path):
        pass
    assert path.is_symlink() if content is None else path.read_text() == content
    assert os.listdir(path.parent) == [path.name]


def test_an_empty_file_is_taken(path: Path) -> None:
    path.touch()
    with new_file(path) as file:
        file.write("a line")
    assert path.read_text() == "a line"


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_another_process_writes_stays_if_it_is_whole(
    path: Path, is_whole: bool
) -> None:
    new = NewFile(path)
    fd = new.open()
    os.write(fd, b"a line")
    os.close(fd)
    if is_whole:
        os.close(new.keep())
    new.close()
    assert path.exists() is is_whole


def test_what_somebody_puts_in_its_place_meanwhile_is_not_read(path: Path) -> None:
    new = NewFile(path)
    os.close(new.open())
    path.unlink()
    (path.parent / "theirs").write_text("theirs")
    path.symlink_to("theirs")
    with pytest.raises(OSError, match="symbolic links"):
        new.keep()
