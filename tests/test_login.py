"""``mailroom login`` as a user runs it: at a terminal, or fed by a pipe; the sandbox as server."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailroom.engine.configfile import load
from mailroom.engine.credentials import CARDDAV, PASSWORD, TOKEN
from mailroom.errors import LastingTrouble
from mailroom.rules.configuration.config import Config
from mailroom.rules.configuration.text import parse
from mailroom.terminal.login import Secret, Trying, try_out, usual
from tests.process import ROOT
from tests.sandbox import CYRUS_3_10, FASTMAIL, Profile, Sandbox, serve
from tests.sandbox.account import ROLES
from tests.terminal import Terminal

SESAME = "hunter2-sesame"
OTHER = "hunter3-sesame"
STATES = ["active", "activating", "failed", "inactive"]

_SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>"$HOME/systemctl"
case $2 in show) cat "$HOME/state" ;; restart) [ ! -e "$HOME/broken" ] ;; esac
"""


class Place:
    """A user's home, and a mail server."""

    def __init__(self, folder: Path, profile: Profile = CYRUS_3_10) -> None:
        self.sandbox = Sandbox(profile, password=SESAME, token=SESAME)
        for name, role in ROLES.items():
            self.sandbox.create_mailbox(name, role)
        self.server = serve(self.sandbox)
        self.home = folder
        self.secrets = folder / ".config/mailroom"
        self.secrets.mkdir(parents=True)
        self.config = self.secrets / "mailroom.yaml"
        username = "" if profile.jmap_authentication == "Bearer" else ", username: alice"
        self.config.write_text(
            f"jmap: {{url: '{self.server.url}'{username}}}\n"
            f"carddav: {{url: '{self.server.url}', username: alice}}\n"
        )
        (folder / "systemctl-bin").mkdir()
        program = folder / "systemctl-bin/systemctl"
        program.write_text(_SYSTEMCTL)
        program.chmod(0o755)
        self.set_state("inactive")

    def set_state(self, state: str) -> None:
        (self.home / "state").write_text(f"{state}\n")

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self.home}/systemctl-bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.home),
        }

    def login(self, *options: str) -> Terminal:
        return Terminal([sys.executable, "-m", "mailroom", "login", *options], self.environ)

    def feed(self, secret: str, *options: str) -> tuple[int, str, str]:
        """Without a terminal: exit code, output, complaints."""
        command = [sys.executable, "-m", "mailroom", "login", *options]
        done = subprocess.run(
            command,
            input=secret,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not [word for word in (SESAME, OTHER) if word in done.stdout + done.stderr]
        return done.returncode, done.stdout, done.stderr

    @property
    def stored(self) -> dict[str, str]:
        names = (TOKEN, PASSWORD, CARDDAV)
        found = [self.secrets / name for name in names if (self.secrets / name).exists()]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in found)
        return {path.name: path.read_text() for path in found}

    @property
    def asked_of_systemd(self) -> str:
        return (self.home / "systemctl").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.server.close()


@pytest.mark.sandbox
def test_what_is_typed_is_tried_stored_and_used_and_never_shown(place: Place) -> None:
    place.set_state("active")
    with place.login() as terminal:
        terminal.answer(f"Password of alice at {place.server.url} (nothing is shown)", SESAME)
        assert terminal.end() == 0
    assert SESAME not in terminal.told
    lines = [line for line in terminal.told.splitlines() if line]
    assert lines[1].startswith("✓ mail: account alice;")
    assert lines[-2:] == [
        f"✓ secret: stored, readable by its owner alone: {place.secrets}/jmap-password",
        "✓ service: mailroom was restarted and uses it",
    ]
    assert place.stored == {PASSWORD: SESAME}
    assert place.asked_of_systemd.endswith("--user restart mailroom.service\n")


@pytest.mark.sandbox
def test_a_wrong_one_is_one_sentence_and_changes_nothing(place: Place) -> None:
    place.set_state("active")
    place.feed(SESAME)
    before = place.asked_of_systemd
    code, out, err = place.feed(OTHER)
    assert (code, out) == (77, "")
    assert err == (
        f"mailroom: {place.server.url} refuses this password of alice: nothing is stored\n"
    )
    assert place.stored == {PASSWORD: SESAME}
    assert place.asked_of_systemd == before


@pytest.mark.sandbox
@pytest.mark.parametrize("state", STATES)
def test_what_runs_or_has_failed_is_started_anew(place: Place, state: str) -> None:
    place.set_state(state)
    code, out, _ = place.feed(SESAME)
    assert code == 0
    told = {
        True: "✓ service: mailroom was restarted and uses it\n",
        False: "! service: it does not run: systemctl --user start mailroom\n",
    }
    assert out.endswith(told[state != "inactive"])
    assert ("restart" in place.asked_of_systemd) is (state != "inactive")


@pytest.mark.sandbox
def test_a_service_that_does_not_come_up_is_told(place: Place) -> None:
    place.set_state("failed")
    (place.home / "broken").touch()
    code, _, err = place.feed(SESAME)
    assert code == 1
    assert err.startswith("mailroom: systemctl --user restart mailroom.service failed")
    assert place.stored == {PASSWORD: SESAME}  # it was right, and is there


@pytest.mark.sandbox
@pytest.mark.parametrize("how", ["interrupt", "hang_up"])
def test_broken_off_nothing_is_stored_and_the_terminal_shows_again(place: Place, how: str) -> None:
    with place.login() as terminal:
        terminal.until(r"nothing is shown\): ")
        getattr(terminal, how)()
        assert terminal.end() == 130
    assert terminal.told.endswith("\nNothing is stored.\n")
    assert place.stored == {}


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("", 1, "no secret was given: nothing is stored"),
        ("\n", 1, "no secret was given: nothing is stored"),
        ("two\nlines", 78, "this secret has a control character or more than one line: nothing is"),
    ],
)
def test_what_cannot_be_a_secret_is_not_tried(
    place: Place, given: str, code: int, told: str
) -> None:
    ended, _, err = place.feed(given)
    assert (ended, err[: len(told) + 10]) == (code, f"mailroom: {told}"[: len(told) + 10])
    assert not place.sandbox.log.entries


@pytest.mark.sandbox
def test_a_server_that_is_not_there_leaves_things_as_they_are(place: Place) -> None:
    place.feed(SESAME)
    place.server.close()
    code, _, err = place.feed(OTHER)
    assert code == 1
    assert "nobody answers there" in err
    assert place.stored == {PASSWORD: SESAME}


@pytest.mark.sandbox
def test_a_password_takes_the_place_of_a_token(place: Place) -> None:
    """Which would be used instead."""
    (place.secrets / TOKEN).write_text(OTHER)
    code, out, _ = place.feed(SESAME, "--password")
    assert code == 0
    assert f"✓ secret: {place.secrets}/jmap-token removed" in out
    assert place.stored == {PASSWORD: SESAME}


@pytest.mark.sandbox
def test_a_token_is_one_where_there_is_no_user_name(tmp_path: Path) -> None:
    place = Place(tmp_path, FASTMAIL)
    try:
        with place.login() as terminal:
            terminal.answer(f"API token at {place.server.url} (nothing is shown)", OTHER)
            assert terminal.end() == 77
        assert f"{place.server.url} refuses this API token: nothing is stored" in terminal.told
        assert place.feed(SESAME)[0] == 0
        assert place.stored == {TOKEN: SESAME}
    finally:
        place.server.close()


@pytest.mark.sandbox
def test_the_password_of_the_address_book_is_tried_there(place: Place) -> None:
    place.feed(SESAME)
    code, _, err = place.feed(OTHER, "--carddav")
    assert (code, err) == (
        77,
        f"mailroom: {place.server.url} refuses this password of the address book: nothing is "
        "stored\n",
    )
    code, out, _ = place.feed(SESAME, "--carddav")
    assert code == 0
    assert out.startswith("✓ address book: ")
    assert place.stored == {PASSWORD: SESAME, CARDDAV: SESAME}


@pytest.mark.sandbox
def test_a_handed_secret_is_tried_by_the_same_code(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """What runs as the system's unit does; tests/system/test_secrets.py has it whole."""
    assert (
        try_out(Secret(PASSWORD, load(place.config)), Trying({TOKEN: OTHER, PASSWORD: SESAME})) == 0
    )
    assert capsys.readouterr().out.startswith("✓ mail: account alice;")


@pytest.mark.sandbox
def test_the_password_of_all_goes_to_no_server_that_another_one_names(tmp_path: Path) -> None:
    place = Place(tmp_path, replace(CYRUS_3_10, api_host="127.0.0.2"))
    trial = Secret(PASSWORD, load(place.config))
    with pytest.raises(LastingTrouble, match="may not have the password of all"):
        try_out(trial, Trying({PASSWORD: SESAME}, is_shared=True))
    place.server.close()


@pytest.mark.parametrize(
    ("text", "kept", "name"),
    [
        ("", [], TOKEN),
        ("jmap: {username: alice}", [], TOKEN),  # Fastmail takes nothing else
        ("jmap: {url: mail.example.org}", [], TOKEN),
        ("jmap: {url: mail.example.org, username: alice}", [], PASSWORD),
        ("jmap: {url: mail.example.org, username: alice}", [TOKEN], TOKEN),
        ("jmap: {url: mail.example.org, username: alice}", [TOKEN, PASSWORD], TOKEN),
        ("jmap: {url: mail.example.org}", [PASSWORD, CARDDAV], PASSWORD),
        ("", [CARDDAV], TOKEN),
    ],
)
def test_which_secret_is_meant(text: str, kept: list[str], name: str) -> None:
    config = parse(text, "FILE") if text else Config()
    assert usual(config, dict.fromkeys(kept, SESAME)) == name


# Many accounts


@pytest.mark.sandbox
def test_of_many_accounts_it_is_the_one_that_is_named(place: Place) -> None:
    (place.secrets / "accounts.d").mkdir()
    for name in ("anna", "otto"):
        (place.secrets / f"accounts.d/{name}.yaml").write_text("jmap: {username: alice}\n")
    code, out, err = place.feed(SESAME, "--account", "anna")
    assert (code, err) == (0, "")
    file = place.secrets / "account-secrets"
    assert f"stored, readable by its owner alone: {file}" in out
    assert file.read_text() == f"anna.jmap-password: {SESAME}\n"
    assert place.stored == {}
    assert place.feed(OTHER, "--account", "otto")[0] == 77
    assert file.read_text() == f"anna.jmap-password: {SESAME}\n"


@pytest.mark.sandbox
def test_without_a_name_it_is_the_password_that_all_have_in_common(place: Place) -> None:
    (place.secrets / "accounts.d").mkdir()
    for name, elsewhere in (("a", "jmap"), ("ab", "carddav")):
        text = f"{elsewhere}: {{url: 'https://mail.example.net'}}\n"
        (place.secrets / f"accounts.d/{name}.yaml").write_text(text)
    (place.secrets / "accounts.d/alice.yaml").touch()
    code, _, err = place.feed(SESAME)
    assert (code, "name one with --account: a, ab, alice" in err) == (2, True)
    text = place.config.read_text().replace("username: alice", "username: '{account}'", 1)
    place.config.write_text(text)
    code, out, err = place.feed(SESAME)
    assert (code, err, "account alice" in out) == (0, "", True)
    assert place.stored == {PASSWORD: SESAME}
