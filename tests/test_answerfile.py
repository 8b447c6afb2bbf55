"""The files of ``mailroom init``: what may stand in them, and what is told of what may not."""

import io
from pathlib import Path

import pytest

from mailroom.errors import UsageError
from mailroom.terminal.answerfile import answers_in, secret_in

KNOWN = ("address", "screening", "password-file", "mailboxes")


def test_answers_are_as_they_were_typed(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_bytes(
        "\ufeffaddress: älice@example.org\r\nscreening: off\r\npassword_file: 007\r\n"
        'mailboxes: {Feed: "Paper Trail"}\r\n'.encode()
    )
    assert answers_in(file, KNOWN) == (
        {"address": "älice@example.org", "screening": "off", "password-file": "007"},
        {"Feed": "Paper Trail"},
    )


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"---\n"])
def test_a_file_may_answer_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_bytes(content)
    assert answers_in(tmp_path / "answers.yaml", KNOWN) == ({}, {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"address:\n\tx\n", ":2: a tab cannot indent"),
        (b"address: a@b.c\naddress: d@e.f\n", ":2: address: is given twice"),
        (b"- address\n", ":1: is not a mapping"),
        (b"hello\n", ":1: is not a mapping"),
        (b"\nadress: a@b.c\n", ":2: adress: nothing asks for it; known: address, "),
        (b"address:\n", ":1: address: has no value that is text"),
        (b"address: [a@b.c]\n", ":1: address: has no value that is text"),
        (b"mailboxes: Feed\n", ":1: mailboxes: is not a mapping"),
        (b"mailboxes:\n", ":1: mailboxes: is not a mapping"),
        (b"mailboxes: [Feed]\n", ":1: mailboxes: is not a mapping"),
        (b"mailboxes:\n  Feed:\n", ":2: mailboxes.Feed: has no value that is text"),
        (b"mailboxes: {Feed: {a: b}}\n", ":1: mailboxes.Feed: has no value that is text"),
        (b"address: \xff\n", ":1: is not UTF-8"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "answers.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        answers_in(file, KNOWN)
    assert f"{file}{told}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"hunter2\xff", "is not UTF-8"),
        (b"\n", "is empty"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_without_it(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        secret_in(str(tmp_path / "secret"), io.StringIO())
    error: BaseException | None = refused.value
    assert str(error).startswith(f"the secret in {tmp_path / 'secret'} {told}")
    while error is not None:
        assert not isinstance(error, UnicodeDecodeError)
        error = error.__cause__


def test_standard_input_may_hold_the_secret() -> None:
    assert secret_in("-", io.StringIO("hunter2\r\n")) == "hunter2"
