"""How a command comes by the secrets: which way is taken, and who says what where none is."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailroom import commands
from mailroom.engine.unit import find
from mailroom.terminal.secrets import Way, choose, files_for

USER_FILE = "home/.config/mailroom/mailroom.yaml"


@pytest.mark.parametrize(
    ("given", "there", "euid", "units", "way"),
    [
        ({}, "etc/mailroom/mailroom.yaml", 0, ["mailroom"], Way.AS_THE_UNIT),
        ({}, "etc/mailroom/mailroom.yaml", 0, [], Way.AS_IT_IS),
        ({}, "etc/mailroom/mailroom.yaml", 1000, ["mailroom"], Way.AS_ROOT),
        ({}, "etc/mailroom/mailroom.yaml", 1000, [], Way.AS_IT_IS),
        ({}, USER_FILE, 1000, ["mailroom"], Way.AS_THE_USERS_UNIT),
        ({}, USER_FILE, 0, ["mailroom"], Way.AS_THE_USERS_UNIT),
        ({"CREDENTIALS_DIRECTORY": "/c"}, USER_FILE, 1000, ["mailroom"], Way.AS_IT_IS),
        ({"MAILROOM_JMAP_TOKEN": "t"}, "", 0, ["mailroom"], Way.AS_IT_IS),
        ({"MAILROOM_JMAP_PASSWORD": "p"}, "", 0, ["mailroom"], Way.AS_IT_IS),
        ({"MAILROOM_CARDDAV_PASSWORD": "p"}, "", 0, ["mailroom"], Way.AS_IT_IS),
        ({"MAILROOM_JMAP_TOKEN": ""}, "", 0, ["mailroom"], Way.AS_THE_UNIT),
    ],
)
def test_which_way_a_command_comes_by_its_secrets(
    tmp_path: Path, given: dict[str, str], there: str, euid: int, units: list[str], way: Way
) -> None:
    if there:
        (tmp_path / there).parent.mkdir(parents=True)
        (tmp_path / there).touch()
    asked = find({"HOME": f"{tmp_path}/home"}, euid=euid, root=tmp_path)
    assert choose(asked, given, euid, units.__contains__) is way


@pytest.mark.parametrize("units", [["mailroom"], ["mailroom@office"]])
def test_an_instance_goes_by_its_own_unit(tmp_path: Path, units: list[str]) -> None:
    asked = find({}, account="office", euid=0, root=tmp_path)
    expected = Way.AS_THE_UNIT if units == ["mailroom@office"] else Way.AS_IT_IS
    assert choose(asked, {}, 0, units.__contains__) is expected


def test_what_was_started_by_hand_has_its_secrets_by_hand(tmp_path: Path) -> None:
    asked = find({}, socket=Path("/tmp/x.sock"), euid=0, root=tmp_path)
    assert choose(asked, {}, 0, lambda _unit: True) is Way.AS_IT_IS


class Handed:
    """What has been handed over: these files, and nothing else is to be seen."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.files = list(texts)
        self.read = texts.__getitem__


@pytest.mark.parametrize("name", ["anna", "zoe@example.org"])
def test_one_of_many_accounts_is_tried_with_other_files(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both files go with the command: what runs as the service is run sees neither."""
    own = tmp_path / "accounts.d" / f"{name}.yaml"
    own.parent.mkdir()
    own.write_text("polling: {poll_interval: 7}\n")
    config = tmp_path / "mailroom.yaml"
    config.write_text('jmap: {url: "https://mail.example.org", username: "{account}%master"}\n')
    asked = find({}, account=name, config=config, euid=0)
    texts = {}
    for kind, opening in files_for(SimpleNamespace(), asked).items():
        with os.fdopen(opening()) as file:
            texts[kind] = file.read()
    config.unlink()
    own.unlink()
    options = SimpleNamespace(account=name, config=str(config), handed=Handed(texts))
    assert commands.config(options) == 0
    shown = capsys.readouterr().out
    assert f"username: {name}%master" in shown
    assert "poll_interval: 7" in shown
