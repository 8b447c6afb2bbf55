"""Sieve's grammar (RFC 5228 §8): what is read, what is refused, and that nothing else happens."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.wire.sieve import block, string
from mailroom.wire.sieve_script import Command, Condition, ScriptError, Tag, read_script
from tests.hostile import EVERY, texts

KEEP = Command("keep", ())


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("", ()),
        ("# keep;\n/* keep; */", ()),
        ("keep;", (KEEP,)),
        ("KEEP ;", (KEEP,)),
        ("keep;/* a *//* \n b */keep;", (KEEP, KEEP)),
        ("/* one # two */ keep;", (KEEP,)),
        ("/* no /* nesting */ keep;", (KEEP,)),
        ("# one */ /* two\nkeep;", (KEEP,)),
        ('fileinto "a\\"b\\\\c\\d";', (Command("fileinto", (('a"b\\cd',),)),)),
        ('fileinto "# no /* comment";', (Command("fileinto", (("# no /* comment",),)),)),
        ('fileinto "two\nlines";', (Command("fileinto", (("two\nlines",),)),)),
        ('a ["b", "c"] :D 2K;', (Command("a", (("b", "c"), Tag("d"), 2048)),)),
        ("vacation text:\nHello\n.\n;", (Command("vacation", (("Hello\n",),)),)),
        ("vacation TEXT: # x\r\nHi\r\n.\r\n;", (Command("vacation", (("Hi\r\n",),)),)),
        ("a text:\n..\n.b\n..c\n.\n;", (Command("a", ((".\n.b\n.c\n",),)),)),
        ("a text:\n.\n;", (Command("a", (("",),)),)),
        ("a text:\nkeep;\n. \n.\n;", (Command("a", (("keep;\n. \n",),)),)),
        ("if true {}", (Command("if", (), (Condition("true", ()),), ()),)),
        (
            'if not header :is "a" ["b"] { keep; } else { keep; }',
            (
                Command(
                    "if",
                    (),
                    (Condition("not", (), (Condition("header", (Tag("is"), ("a",), ("b",))),)),),
                    (KEEP,),
                ),
                Command("else", (), (), (KEEP,)),
            ),
        ),
        (
            "if anyof (true, allof(false)) {}",
            (
                Command(
                    "if",
                    (),
                    (
                        Condition(
                            "anyof",
                            (),
                            (
                                Condition("true", ()),
                                Condition("allof", (), (Condition("false", ()),)),
                            ),
                        ),
                    ),
                    (),
                ),
            ),
        ),
    ],
)
def test_a_script_is_its_commands(text: str, commands: tuple[Command, ...]) -> None:
    assert read_script(text) == commands


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keep", "line 1: the script ends where ; has to be"),
        ("keep;\n}", "line 2: '}' stands where end has to be"),
        ("if true {\nkeep;\n", "line 3: the script ends where } has to be"),
        ("keep;\n/* keep;", "line 2: nothing in Sieve begins with '/* keep;'"),
        ('fileinto "a;', "line 1: nothing in Sieve begins with '\"a;'"),
        ("a text:\nb\n;", "line 1: nothing in Sieve begins with ': b ;'"),
        ("a [];", "line 1: ']' stands where string has to be"),
        ("a ();", "line 1: ')' stands where name has to be"),
        ("ä;", "line 1: nothing in Sieve begins with 'ä;'"),
        ("if " + "not " * 99 + "true {}", "line 1: it nests more than 64 deep"),
        ("if true {" * 99, "line 1: it nests more than 64 deep"),
    ],
)
def test_what_is_no_script_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ScriptError) as raised:
        read_script(text)
    assert str(raised.value) == says


@given(texts)
@example(EVERY)
def test_a_string_of_ours_is_read_as_it_was(text: str) -> None:
    assert read_script(f"a {string(text)};") == (Command("a", ((text,),)),)


@given(st.dictionaries(st.text(), st.text()))
def test_a_block_of_ours_is_one_string(value: dict[str, str]) -> None:
    (command,) = read_script(f"a {block(value)}\n;")
    assert len(command.strings) == 1


PIECES = st.sampled_from(
    [
        *("keep", "if", " ", "\n", ";", "{", "}", "(", ")", "[", "]", ",", '"', "\\", ":", ":is"),
        *("text:", "text:\n", ".", ".\n", "..", "#", "/*", "*/", "9", "9G", "true", "\r\n", "é"),
    ]
)


@given(texts | st.lists(PIECES).map("".join))
@example("\x1b[2J")
@example("a \u202e;")
@example("9" * 10_000 + ";")
@example("a " * 10_000)
def test_no_text_raises_anything_but_a_script_error(text: str) -> None:
    told = ""
    try:
        read_script(text)
    except ScriptError as error:
        told = str(error)
    assert told.isprintable()


@pytest.mark.parametrize(
    "piece",
    ['"', "\\", '"\\', "/*", "text:\n", "a text:\n.\n", "..", "(", "not ", "[", '"a",', "1"],
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    text = "a " + piece * (100_000 // len(piece))
    began = time.process_time()
    with pytest.raises(ScriptError):
        read_script(text)
    assert time.process_time() - began < 2.0
