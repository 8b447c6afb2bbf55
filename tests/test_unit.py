"""Which installation a command is about, and what is known of it."""

import os
from pathlib import Path

import pytest

from mailroom.engine.accountfolder import account_names, ignored_files, listed_accounts
from mailroom.engine.unit import (
    Installation,
    behind,
    checked_account,
    find,
    of_this_host,
    option,
    usual_sockets,
)
from mailroom.errors import ConfigurationError, MailroomError

SYSTEM_FILE = "etc/mailroom/mailroom.yaml"
USER_FILE = "home/alice/.config/mailroom/mailroom.yaml"


class Place:
    """A host in a folder, and alice on it; what is there is what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {
            "HOME": f"{root}/home/alice",
            "XDG_RUNTIME_DIR": f"{root}/run/user/1000",
        }

    def put(self, *paths: str) -> None:
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).touch()

    def find(
        self, euid: int = 1000, *, socket: str = "", variable: str = "", **named: str
    ) -> Installation:
        return find(
            self.environ | {"MAILROOM_CONFIG": variable},
            account=named.get("account"),
            config=named.get("config"),
            socket=Path(socket) if socket else None,
            euid=euid,
            root=self.root,
        )

    def said(self, found: Installation) -> tuple[str, str, str]:
        """Whose it is, its configuration and its status socket, without the folder."""
        paths = (found.config, found.status_socket)
        shown = (str(path).removeprefix(f"{self.root}/") for path in paths)
        whose = "system" if found.is_system else "user"
        return (f"{whose} {found.unit}", *shown)  # type: ignore[return-value]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


SYSTEM = ("system mailroom", SYSTEM_FILE, "run/mailroom/status.sock")
OFFICE = ("system mailroom@office", "etc/mailroom/office.yaml", "run/mailroom/office/status.sock")
USER = ("user mailroom", USER_FILE, "run/user/1000/mailroom/status.sock")


@pytest.mark.parametrize(
    ("there", "euid", "found"),
    [
        ("", 0, SYSTEM),
        ("", 1000, USER),
        (SYSTEM_FILE, 0, SYSTEM),
        (SYSTEM_FILE, 1000, SYSTEM),
        (USER_FILE, 1000, USER),
        (f"{SYSTEM_FILE} {USER_FILE}", 1000, USER),
        (f"{SYSTEM_FILE} {USER_FILE}", 0, USER),  # as configuration.md says, whoever it is
        # Started by hand with a file that was named: that is whom to ask.
        (f"{SYSTEM_FILE} {USER[2]}", 1000, (*SYSTEM[:2], USER[2])),
        (f"{USER_FILE} {SYSTEM[2]}", 1000, (*USER[:2], SYSTEM[2])),
        (f"{USER[2]} {SYSTEM[2]}", 0, (*SYSTEM[:2], USER[2])),
    ],
)
def test_without_a_name_it_is_who_is_there(
    place: Place, there: str, euid: int, found: tuple[str, str, str]
) -> None:
    place.put(*there.split())
    assert place.said(place.find(euid)) == found


@pytest.mark.parametrize("euid", [0, 1000])
@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"account": "office"}, OFFICE),
        ({"account": "office", "config": "/new.yaml"}, (OFFICE[0], "/new.yaml", OFFICE[2])),
        ({"socket": "ROOT/run/mailroom/status.sock"}, SYSTEM),
        ({"socket": "ROOT/run/mailroom/office/status.sock"}, OFFICE),
        ({"socket": "ROOT/run/user/1000/mailroom/status.sock"}, USER),
        ({"config": "ROOT/etc/mailroom/mailroom.yaml"}, SYSTEM),
        ({"config": "ROOT/etc/mailroom/office.yaml"}, OFFICE),
        ({"variable": "ROOT/etc/mailroom/office.yaml"}, OFFICE),
        ({"config": f"ROOT/{USER_FILE}"}, USER),
        # A file that is nobody's is tried with the installation that there is.
        ({"config": "/new.yaml"}, (USER[0], "/new.yaml", USER[2])),
        ({"config": "ROOT/etc/mailroom/two words.yaml"}, None),
        # Behind a socket that is nobody's is who was started by hand.
        ({"socket": "/tmp/by-hand.sock"}, ("user None", USER_FILE, "/tmp/by-hand.sock")),
    ],
)
def test_what_is_named_is_meant_whether_it_is_there_or_not(
    place: Place, named: dict[str, str], found: tuple[str, str, str] | None, euid: int
) -> None:
    place.put(USER_FILE)
    asked = {key: value.replace("ROOT", str(place.root)) for key, value in named.items()}
    expected = found or (USER[0], "etc/mailroom/two words.yaml", USER[2])
    assert place.said(place.find(euid, **asked)) == expected


ANNA, USERS_ANNA = (
    "etc/mailroom/accounts.d/anna.yaml",
    "home/alice/.config/mailroom/accounts.d/anna.yaml",
)


@pytest.mark.parametrize("euid", [0, 1000])
@pytest.mark.parametrize(
    ("there", "named", "found", "member"),
    [
        (f"{SYSTEM_FILE} {ANNA}", {}, SYSTEM, "anna"),
        (f"{SYSTEM_FILE} {ANNA} {USER_FILE}", {}, SYSTEM, "anna"),
        # Both: the one of many is meant, and the instance is named by its file.
        (f"{SYSTEM_FILE} {ANNA} etc/mailroom/anna.yaml", {}, SYSTEM, "anna"),
        (f"{USER_FILE} {USERS_ANNA}", {}, USER, "anna"),
        (f"{USER_FILE} {USERS_ANNA} {SYSTEM_FILE} {ANNA}", {}, USER, "anna"),
        # No file says so, and whoever has many accounts says which.
        (f"{SYSTEM_FILE} {ANNA}", {"account": "eve@x.org"}, SYSTEM, "eve@x.org"),
        (f"{SYSTEM_FILE} {ANNA} etc/mailroom/office.yaml", {"account": "office"}, OFFICE, None),
        (f"{SYSTEM_FILE} {USER_FILE} {USERS_ANNA} {ANNA} etc/mailroom/accounts.d/otto.yaml",
         {"account": "otto"}, SYSTEM, "otto"),
        (f"{SYSTEM_FILE} {ANNA}", {"config": "ROOT/etc/mailroom/mailroom.yaml"}, SYSTEM, "anna"),
        # The folder belongs to mailroom.yaml, not to an instance's file.
        (f"{SYSTEM_FILE} {ANNA}", {"config": "ROOT/etc/mailroom/office.yaml", "account": "office"},
         OFFICE, None),
    ],
)  # fmt: skip
def test_an_account_is_one_of_many_where_these_are(
    place: Place,
    there: str,
    named: dict[str, str],
    found: tuple[str, str, str],
    member: str | None,
    euid: int,
) -> None:
    place.put(*there.split())
    asked = {key: value.replace("ROOT", str(place.root)) for key, value in named.items()}
    installation = place.find(euid, **{"account": "anna", **asked})
    assert (place.said(installation), installation.member) == (found, member)


def test_behind_a_socket_that_is_nobodys_are_the_accounts_of_who_listens(place: Place) -> None:
    assert place.find(account="anna", socket="/tmp/by-hand.sock").member == "anna"


@pytest.mark.parametrize("name", ["", ".hidden", "../mailroom", "a b", "x" * 65])
def test_what_no_account_can_be_called_is_said(place: Place, name: str) -> None:
    place.put(SYSTEM_FILE, ANNA)
    with pytest.raises(MailroomError, match="cannot be an account's name"):
        place.find(account=name)


def test_many_accounts_stand_beside_mailroom_yaml_alone(place: Place) -> None:
    place.put(ANNA, "etc/mailroom/accounts.d/.otto.yaml", "etc/mailroom/accounts.d/zoe.yaml~")
    assert account_names(place.root / SYSTEM_FILE) == ["anna"]
    assert account_names(place.root / "etc/mailroom/office.yaml") == []
    assert account_names(place.root / USER_FILE) == []
    place.put("home/alice/.config/mailroom/accounts.d")  # a file, no folder
    assert listed_accounts(place.root / USER_FILE) == []


def test_an_account_that_is_switched_off_is_none_of_the_service_and_can_be_named(
    place: Place,
) -> None:
    off = "etc/mailroom/accounts.d/.otto.yaml"
    place.put(SYSTEM_FILE, ANNA, off)
    found = place.find(account="otto")
    assert (found.member, found.file) == ("otto", place.root / off)
    assert account_names(place.root / SYSTEM_FILE) == ["anna"]
    (place.root / ANNA).unlink()
    assert place.find(account="otto").member == "otto"


def test_an_option_outranks_the_variable(place: Place) -> None:
    found = place.find(config="/option.yaml", variable="/variable.yaml")
    assert found.config == Path("/option.yaml")


def test_the_control_socket_is_beside_the_status_socket(place: Place) -> None:
    assert place.find(account="office").control_socket == (
        place.root / "run/mailroom/office/control.sock"
    )
    assert place.find(socket="/tmp/a/b.sock").control_socket == Path("/tmp/a/control.sock")


def test_a_user_without_a_session_has_the_sockets_all_the_same(place: Place) -> None:
    del place.environ["XDG_RUNTIME_DIR"]
    assert place.find().status_socket == place.root / "run/user/1000/mailroom/status.sock"


def test_what_cannot_be_looked_at_is_not_there(place: Place) -> None:
    place.environ = {"XDG_RUNTIME_DIR": f"/{'x' * 300}", "HOME": f"/{'y' * 300}"}
    place.put(SYSTEM_FILE)
    assert place.said(place.find()) == SYSTEM


def test_whoever_has_no_home_is_the_system(place: Place) -> None:
    place.environ = {"XDG_CONFIG_HOME": "relative"}
    assert place.said(place.find()) == SYSTEM


def test_where_there_is_no_file_the_places_are_told(place: Place) -> None:
    with pytest.raises(ConfigurationError) as caught:
        place.find().existing_config()
    assert caught.value.problems == (
        f"no configuration file at {place.root}/{USER_FILE} or {place.root}/{SYSTEM_FILE}"
        "; mailroom init makes one, --config names another",
    )
    assert place.find(config="/new.yaml").existing_config() == Path("/new.yaml")
    place.put(SYSTEM_FILE)
    assert place.find().existing_config() == place.root / SYSTEM_FILE


@pytest.mark.parametrize("name", ["", "..", "a/b", "two words", "a.b", "é", "x" * 23])
def test_an_account_is_called_what_a_unit_can_be_called(place: Place, name: str) -> None:
    with pytest.raises(MailroomError, match="cannot be an account's name"):
        place.find(account=name)
    assert checked_account("x" * 22) == "x" * 22


@pytest.mark.parametrize("name", ["status", "control"])
def test_an_instance_has_no_name_that_would_make_its_user_one_of_our_groups(name: str) -> None:
    with pytest.raises(MailroomError, match=f"user mailroom-{name}, and there is a group of that"):
        checked_account(name)


@pytest.mark.parametrize(
    ("path", "looked_up", "stopped"),
    [
        (
            "/run/mailroom/status.sock",
            "see systemctl status mailroom",
            "systemctl stop mailroom.socket mailroom.service",
        ),
        (
            "/run/mailroom/office/control.sock",
            "see systemctl status mailroom@office",
            "systemctl stop mailroom@office.socket mailroom@office.service",
        ),
        (
            "/run/user/1000/mailroom/status.sock",
            "see systemctl --user status mailroom",
            "systemctl --user stop mailroom",
        ),
        ("/tmp/here.sock", "see its log", "Ctrl+C where it runs"),
        ("/run/mailroom/other.sock", "see its log", "Ctrl+C where it runs"),
    ],
)
def test_the_socket_tells_which_unit_to_speak_of(path: str, looked_up: str, stopped: str) -> None:
    found = behind(Path(path))
    assert (found.look_up(), found.stop_command()) == (looked_up, stopped)


@pytest.mark.parametrize(
    ("named", "where", "name"),
    [
        ({}, "etc/credstore", "mailroom.jmap-token"),
        ({"account": "office"}, "etc/credstore", "mailroom.office.jmap-token"),
        ({"config": f"ROOT/{USER_FILE}"}, "home/alice/.config/mailroom", "jmap-token"),
        ({"config": "/new.yaml"}, "etc/credstore", "mailroom.jmap-token"),
    ],
)
def test_where_secrets_are(place: Place, named: dict[str, str], where: str, name: str) -> None:
    asked = {key: value.replace("ROOT", str(place.root)) for key, value in named.items()}
    found = place.find(0, **asked)
    assert (found.secrets, found.credential("jmap-token")) == (place.root / where, name)


def test_a_command_is_told_what_it_does_not_find_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    environ = {"HOME": "/home/alice"}
    assert option(environ, Path("/etc/mailroom/mailroom.yaml")) == ""
    assert option(environ, Path("/home/alice/.config/mailroom/mailroom.yaml")) == ""
    assert option(environ, Path("etc/mailroom/office.yaml")) == "--account office"
    assert option(environ, Path("my files/new.yaml")) == "--config 'my files/new.yaml'"


@pytest.mark.parametrize(
    ("environ", "paths"),
    [
        ({}, ["/run/mailroom/status.sock"]),
        (
            {"XDG_RUNTIME_DIR": "/run/user/7"},
            ["/run/user/7/mailroom/status.sock", "/run/mailroom/status.sock"],
        ),
        ({"XDG_RUNTIME_DIR": ""}, ["/run/mailroom/status.sock"]),
        ({"XDG_RUNTIME_DIR": "run/user/7"}, ["/run/mailroom/status.sock"]),
    ],
)
def test_the_usual_sockets(environ: dict[str, str], paths: list[str]) -> None:
    assert [os.fspath(path) for path in usual_sockets(environ)] == paths


def test_files_that_look_like_an_accounts_are_named(tmp_path: Path) -> None:
    config, folder = tmp_path / "mailroom.yaml", tmp_path / "accounts.d"
    assert ignored_files(config) == []
    folder.mkdir()
    for name in ("anna.yaml", "b.c.yml", "OTTO.YAML", ".zoe.yml", "README", "anna.yaml~", "yml"):
        (folder / name).touch()
    assert ignored_files(config) == [
        f"{folder}/OTTO.YAML is ignored: rename it to OTTO.yaml",
        f"{folder}/b.c.yml is ignored: rename it to b.c.yaml",
    ]
    assert ignored_files(tmp_path / "office.yaml") == []


def test_services_of_this_host_are_those_with_a_socket_and_a_possible_name(tmp_path: Path) -> None:
    run = tmp_path / "run/mailroom"
    for folder in (run, run / "zoe", run / "anna", run / "not an account", run / ".old"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "status.sock").touch()
    (run / "otto").mkdir()
    found = [each.status_socket.parent.name for each in of_this_host(tmp_path)]
    assert found == ["mailroom", "anna", "zoe"]
