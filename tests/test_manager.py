"""Whether a unit can be run here, and why not."""

from pathlib import Path

import pytest

from mailroom.engine.manager import Manager
from mailroom.engine.unit import to_set_up
from mailroom.errors import LastingTrouble, UsageError


def test_a_machine_without_systemd_is_told(tmp_path: Path) -> None:
    system = to_set_up({}, euid=0)
    manager = Manager(system, {}, is_root=True, booted=tmp_path / "no")
    assert manager.obstacle() == (
        "systemd does not run this machine (is it a container?), but mailroom init sets up a "
        "systemd service: docs/configuration.md says how to do without"
    )
    assert Manager(system, {}, is_root=True, booted=tmp_path).obstacle() is None


def test_the_systems_units_are_roots() -> None:
    instance = to_set_up({}, account="home", euid=1000)
    assert Manager(instance, {}, is_root=False).obstacle() == (
        "mailroom@home is a unit of the system's, and you are not root: use sudo"
    )


def test_without_systemctl_there_is_no_manager_of_ones_own(tmp_path: Path) -> None:
    own = to_set_up({"HOME": str(tmp_path), "PATH": str(tmp_path)}, euid=1000)
    obstacle = Manager(own, {"PATH": str(tmp_path)}).obstacle()
    assert obstacle is not None
    assert obstacle.startswith("you are not root, and your own service manager does not answer")


def test_what_is_set_up_is_roots_the_users_own_or_an_instance(tmp_path: Path) -> None:
    environ = {"HOME": "/home/anna"}
    (tmp_path / "etc/mailroom").mkdir(parents=True)
    (tmp_path / "etc/mailroom/mailroom.yaml").touch()
    root = to_set_up(environ, euid=0, root=tmp_path)
    assert (root.is_system, root.config) == (True, tmp_path / "etc/mailroom/mailroom.yaml")
    own = to_set_up(environ, euid=1000, root=tmp_path)
    assert (own.is_system, str(own.config)) == (False, "/home/anna/.config/mailroom/mailroom.yaml")
    instance = to_set_up(environ, account="home", euid=0, root=tmp_path)
    assert (instance.unit, instance.config) == (
        "mailroom@home",
        tmp_path / "etc/mailroom/home.yaml",
    )
    assert own.existing_config() == own.config


def test_a_configuration_that_is_named_says_which_service_is_set_up(tmp_path: Path) -> None:
    office = tmp_path / "etc/mailroom/office.yaml"
    found = to_set_up({}, config=office, euid=0, root=tmp_path)
    assert (found.unit, found.config) == ("mailroom@office", office)
    assert to_set_up({}, account="office", config=office, euid=0, root=tmp_path) == found
    by_variable = to_set_up({"MAILROOM_CONFIG": str(office)}, euid=0, root=tmp_path)
    assert by_variable == found


@pytest.mark.parametrize(
    ("account", "named", "read"),
    [(None, "srv/new.yaml", "mailroom.yaml"), ("home", "etc/mailroom/office.yaml", "home.yaml")],
)
def test_a_configuration_that_no_service_would_read_is_not_set_up(
    account: str | None, named: str, read: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as told:
        to_set_up({}, account=account, config=tmp_path / named, euid=0, root=tmp_path)
    assert str(told.value).startswith(
        f"cannot set up {tmp_path / named}: the service that would be started reads "
        f"{tmp_path / 'etc/mailroom' / read}; leave --config out"
    )


def _host(folder: Path, **programs: str) -> dict[str, str]:
    """The environment of a host whose programs are these shell scripts."""
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "ASKED": str(folder / "asked")}


_SYSTEMCTL = """case $1 in
    show) echo {state} ;;
    *) echo "$@" >>"$ASKED" ;;
esac"""


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        ("active", "reset-failed mailroom.service\nrestart mailroom.service\n"),
        ("failed", "reset-failed mailroom.service\nrestart mailroom.service\n"),
        ("inactive", ""),
    ],
)
def test_a_service_in_use_is_started_anew(state: str, asked: str, tmp_path: Path) -> None:
    environ = _host(tmp_path, systemctl=_SYSTEMCTL.format(state=state))
    (tmp_path / "asked").touch()
    manager = Manager(to_set_up({}, euid=0), environ, is_root=True)
    assert manager.renew() is bool(asked)
    assert (tmp_path / "asked").read_text() == asked


def test_what_systemctl_says_of_a_failure_is_told(tmp_path: Path) -> None:
    environ = _host(tmp_path, systemctl="echo 'Unit not\n  found' >&2; exit 5")
    manager = Manager(to_set_up({}, euid=0), environ, is_root=True)
    with pytest.raises(LastingTrouble) as told:
        manager.start()
    assert str(told.value) == (
        "systemctl enable --quiet mailroom.socket mailroom.service failed (Unit not found): "
        "see systemctl status mailroom"
    )


@pytest.mark.parametrize("told", ["yes", "no"])
def test_whether_a_users_manager_stays_is_asked_of_the_host(told: str, tmp_path: Path) -> None:
    environ = _host(tmp_path, loginctl=f"echo Linger={told}")
    own = to_set_up({"HOME": str(tmp_path)}, euid=1000)
    assert Manager(own, environ).lingers() is (told == "yes")
    assert not Manager(own, {"PATH": str(tmp_path / "empty")}).lingers()
