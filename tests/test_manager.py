"""Whether a unit can be run here, and why not."""

from pathlib import Path

from mailroom.engine.manager import Manager
from mailroom.engine.unit import to_set_up


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
