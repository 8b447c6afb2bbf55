"""Running a command as the unit is run: systemd-run and systemctl are played by scripts here, and
are themselves in tests/system/test_secrets.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailroom.engine.confined import run_confined
from mailroom.errors import MailroomError

PROJECT = Path(__file__).parent.parent

UNIT = """\
# /etc/systemd/system/mailroom.service
[Service]
ExecStart={python} {played} run
DynamicUser=yes
ProtectHome=no
ProtectHome=yes
LoadCredential=jmap-token:mailroom.jmap-token
"""
SYSTEMCTL = """#!/bin/sh
case $1 in
    cat) [ "$2" = mailroom.service ] && cat {unit} ;;
    show) echo ProtectHome=yes ;;
    kill) kill -INT "$(cat {pid})" ;;
esac
"""
# What stands before -- is for systemd, what comes after it is run.
SYSTEMD_RUN = """#!/bin/sh
printf '%s\\n' "$@" >{asked}
while [ "$1" != -- ]; do shift; done
shift
[ -e {broken} ] && exit 243
echo $$ >{pid}
exec "$@"
"""
PLAYED = """
import os, signal, sys
from mailroom.engine.handover import Taker
taker = Taker.from_stdin()
try:
    print(sys.argv[1:], taker.arguments, os.read(0, 9), flush=True)
    while taker.arguments == ["wait"]:
        os.read(0, 9) or signal.pause()
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(7)
"""
CALLER = """
import os, sys
from mailroom.engine.confined import run_confined
sys.exit(run_confined("mailroom", sys.argv[1:], {}, os.environ))
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    names = ("unit", "pid", "asked", "broken", "played")
    paths = {name: tmp_path / name for name in names}
    (tmp_path / "unit").write_text(UNIT.format(python=sys.executable, **paths))
    (tmp_path / "played").write_text(PLAYED)
    (tmp_path / "bin").mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
        (tmp_path / "bin" / name).write_text(text.format_map(paths))
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def called(host: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {
        **{"PATH": f"{host}/bin:/usr/bin:/bin", "PYTHONPATH": str(PROJECT)},
        **{"TERM": "vt100", "MAILROOM_SECRET": "hunter2", "LANG": "C.UTF-8"},
    }
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def test_it_runs_with_the_callers_input_and_its_exit_code_comes_back(host: Path) -> None:
    with called(host, "check", "$HOME", "two words") as process:
        out, err = process.communicate("typed", timeout=60)
    assert out == "['as-unit'] ['check', '$HOME', 'two words'] b'typed'\n"
    assert (process.returncode, err) == (7, "")


def test_systemd_is_asked_for_the_walls_and_the_secrets_of_the_unit(host: Path) -> None:
    with called(host, "check") as process:
        process.communicate("typed", timeout=60)
    asked = (host / "asked").read_text().splitlines()
    ours = asked[asked.index("--property=DynamicUser=yes") : asked.index("--setenv=TERM=vt100")]
    assert [each for each in ours if "SupplementaryGroups" not in each] == [
        "--property=DynamicUser=yes",
        "--property=ProtectHome=yes",
        "--property=LoadCredential=jmap-token:mailroom.jmap-token",
    ]
    assert asked[-4:] == ["--", sys.executable, str(host / "played"), "as-unit"]
    assert "check" not in asked  # whoever lists the processes does not see what is asked for
    assert "hunter2" not in " ".join(asked)


def test_ctrl_c_is_for_what_runs(host: Path) -> None:
    with called(host, "wait") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("typed")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@pytest.fixture
def here(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same host, for a command of this process."""
    monkeypatch.setenv("PATH", f"{host}/bin:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return host


def test_what_systemd_could_not_begin_is_said_with_where_to_look(here: Path) -> None:
    (here / "broken").touch()
    with pytest.raises(MailroomError) as told:
        run_confined("mailroom", ["check"], {}, os.environ)
    assert str(told.value) == (
        "cannot run this as mailroom.service is run (status 243): see journalctl -u "
        f"mailroom-command-{os.getpid()} and systemctl status mailroom"
    )


def test_signals_are_the_callers_again_when_it_has_ended(here: Path) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(each) for each in signals]
    assert run_confined("mailroom", ["check"], {}, os.environ) == 7
    assert [signal.getsignal(each) for each in signals] == before


@pytest.mark.parametrize("line", ["ExecStart=/bin/sleep infinity", ""])
def test_a_unit_that_runs_something_else_is_refused(here: Path, line: str) -> None:
    (here / "unit").write_text(f"[Service]\n{line}\n")
    with pytest.raises(MailroomError) as told:
        run_confined("mailroom", ["check"], {}, os.environ)
    assert str(told.value) == (
        "cannot run this as mailroom.service is run: its ExecStart= is not that of mailroom run"
    )
    assert not os.path.exists(here / "asked")
