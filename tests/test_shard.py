"""Which accounts a shard has, and how it is named."""

from collections import Counter
from pathlib import Path

import pytest

from mailroom.engine.accountfiles import account_names
from mailroom.engine.shards import shard_socket
from mailroom.errors import ConfigurationError, UsageError
from mailroom.rules.configuration.shard import Shard

NAMES = [f"user{number}@example.org" for number in range(3000)]


def test_a_further_shard_moves_its_share_and_no_more() -> None:
    before = {name: Shard.having(name, 6) for name in NAMES}
    counts = Counter(before.values())
    assert {shard.number for shard in counts} == set(range(1, 7))
    assert all(400 <= count <= 600 for count in counts.values())
    after = {name: Shard.having(name, 7) for name in NAMES}
    moved = [name for name in NAMES if after[name].number != before[name].number]
    assert {after[name].number for name in moved} == {7}
    assert moved == [name for name in NAMES if Shard(7, 7).has(name)]
    assert 330 <= len(moved) <= 530


def test_every_account_has_one_shard_and_always_the_same() -> None:
    for name in NAMES[:100]:
        assert [Shard(3, number).has(name) for number in (1, 2, 3)].count(True) == 1
    # What is written here is on hosts of two versions at once: it may never change.
    assert [Shard.having(name, 6).number for name in NAMES[:8]] == [2, 3, 2, 6, 3, 1, 6, 6]


@pytest.mark.parametrize("text", ["1/1", "2/6", "9999/9999"])
def test_a_shard_is_written_as_it_is_read(text: str) -> None:
    shard = Shard.parse(text)
    assert str(shard) == text
    assert Shard.of_instance(shard.instance) == shard


@pytest.mark.parametrize(
    "text",
    ["", "2", "2/", "/6", "7/6", "0/6", "02/6", "2/06", "2-6", "2/6/6", "-1/6", " 2/6", "2/10000",
     "2/6\n", "²/6"],
)  # fmt: skip
def test_what_is_no_shard_is_told_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shard: write 2/6") as raised:
        Shard.parse(text)
    assert "\n" not in str(raised.value)
    assert Shard.of_instance(text.replace("-", "+").replace("/", "-")) is None


def test_each_shard_has_a_folder_of_its_own_for_its_sockets() -> None:
    assert str(shard_socket(Shard(6, 2), {})) == "/run/mailroom-shard/2-6/status.sock"
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    mine = "/run/user/7/mailroom-shard/2-6/status.sock"
    assert str(shard_socket(Shard(6, 2), environ)) == mine


def test_a_folder_of_accounts_may_be_empty_but_not_missing(tmp_path: Path) -> None:
    config = tmp_path / "mailroom.yaml"
    with pytest.raises(ConfigurationError, match="shard 2/6 has no accounts to take: there is no"):
        account_names(config, Shard(6, 2))
    assert account_names(config) == []
    (tmp_path / "accounts.d").mkdir()
    assert account_names(config, Shard(6, 2)) == []
    with pytest.raises(ConfigurationError, match="shard 2/6 has no accounts to take"):
        account_names(tmp_path / "office.yaml", Shard(6, 2))
