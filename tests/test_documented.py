"""Every block of README, docs and man pages is run by a test, tried here, or known not to be."""

import ast
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from mailroom.arguments import parse
from mailroom.errors import ConfigurationError
from mailroom.rules.account.questions import Topic
from mailroom.rules.configuration.text import parse as parse_configuration
from mailroom.rules.configuration.text import parse_account
from mailroom.terminal.asking import asking
from tests.documented import PROJECT, Block, Entry, blocks, entries

BLOCKS, ENTRIES = blocks(), entries()
# How a block is tried here: each has a test below.
WAYS = ("account", "answers", "configuration", "faults", "make")


def entries_of(block: Block) -> list[Entry]:
    return [entry for entry in ENTRIES if entry.is_about(block)]


def tried_as(here: str) -> list[Block]:
    return [block for block in BLOCKS if [each.here for each in entries_of(block)] == [here]]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_of_every_block_it_is_known_who_has_tried_it(block: Block) -> None:
    known = entries_of(block)
    assert len(known) == 1, f"tests/documented.yaml has {len(known)} entries about {block}"
    assert [bool(known[0].by), bool(known[0].here), bool(known[0].why)].count(True) == 1
    assert known[0].here in ("", *WAYS), "no test here tries it so"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.page}: {entry.begins}")
def test_every_entry_is_about_a_block_and_names_tests_that_are_there(entry: Entry) -> None:
    assert any(entry.is_about(block) for block in BLOCKS)
    for each in entry.by:
        file, _, name = each.partition("::")
        tree = ast.parse((PROJECT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, each


@pytest.mark.parametrize("block", [each for each in BLOCKS if [*each.commands()]], ids=str)
def test_every_command_of_ours_is_one_that_there_is(block: Block) -> None:
    for words in block.commands():
        parse(words)


@pytest.mark.parametrize("block", tried_as("configuration"), ids=str)
def test_a_configuration_is_one(block: Block) -> None:
    assert parse_configuration(block.text, "FILE")


@pytest.mark.parametrize("block", tried_as("account"), ids=str)
def test_the_configuration_of_an_account_is_one(block: Block) -> None:
    assert parse_account(block.text, "FILE", "anna", {"jmap": {"url": "https://mail.example.org"}})


@pytest.mark.parametrize("block", tried_as("answers"), ids=str)
def test_answers_for_init_are_such(block: Block, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    file = tmp_path / "answers.yaml"
    file.write_text(re.sub(r"/root/\S*-password", str(tmp_path / "password"), block.text))
    options = parse(["init", "--answers", str(file)])
    given = asking(options, StringIO(), may_ask=False)
    assert given.login == "password"
    assert given.has(Topic.ADDRESS)


_FAULTY = """\
# It is two faults that the guide shows.
jmap:
  usrname: me@example.org
triage:
  categories:
    - Feed
    - name: Newsletters
      label: @News
"""


@pytest.mark.parametrize("block", tried_as("faults"), ids=str)
def test_faults_are_told_so(block: Block) -> None:
    with pytest.raises(ConfigurationError) as told:
        parse_configuration(_FAULTY, "/etc/mailroom/mailroom.yaml")
    assert str(told.value) == block.text.strip()


@pytest.mark.parametrize("block", tried_as("make"), ids=str)
def test_what_is_to_be_made_can_be(block: Block) -> None:
    lines = [line for line in block.text.splitlines() if re.search(r"\bmake ", line)]
    assert lines
    for line in lines:
        dry = re.sub(r"\bmake ", "make --dry-run ", line)
        subprocess.run(["sh", "-ec", dry], check=True, cwd=PROJECT, capture_output=True)


def test_a_page_is_read_in_blocks() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/fleet.md"}
    assert len(BLOCKS) > 60
