"""``mailroom init`` as a user runs it: a person at a terminal, the sandbox as mail server, and a
stand-in for systemctl that starts the real service.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.rules.configuration.text import parse
from tests.authority import Front, issue
from tests.process import ROOT
from tests.sandbox import (
    CYRUS_3_6,
    CYRUS_3_10,
    Fault,
    Limits,
    Profile,
    Response,
    Sandbox,
    serve,
)
from tests.sandbox.account import ROLES
from tests.terminal import Terminal

pytestmark = pytest.mark.sandbox

PASSWORD = "hunter2-sesame"
ADDRESS = "alice@home.invalid"

_SYSTEMCTL = """\
#!/bin/sh
# systemctl --user VERB [--quiet] UNIT: one service, started for real.
[ -z "$NO_MANAGER" ] || exit 1
state=$HOME/units; mkdir -p "$state"
case $2 in
    is-enabled) [ -e "$state/enabled" ] ;;
    is-active) [ -e "$state/pid" ] && kill -0 "$(cat "$state/pid")" ;;
    enable)
        [ ! -e "$state/broken" ] || { echo 'no such unit' >&2; exit 1; }
        touch "$state/enabled" ;;
    restart)
        if [ -e "$state/pid" ]; then kill "$(cat "$state/pid")"; fi
        rm -f "$XDG_RUNTIME_DIR/mailroom/status.sock"
        CREDENTIALS_DIRECTORY=$HOME/.config/mailroom setsid "$PYTHON" -m mailroom run \\
            --config "$HOME/.config/mailroom/mailroom.yaml" >"$state/log" 2>&1 </dev/null &
        echo $! >"$state/pid"
        while [ ! -e "$XDG_RUNTIME_DIR/mailroom/status.sock" ]; do
            kill -0 $! || exit 1
            read -r _ <"$state/log" || :
        done ;;
esac
"""


class Place:
    """A user's home on a machine of its own, with a mail server beside it."""

    def __init__(self, folder: Path, profile: Profile = CYRUS_3_10) -> None:
        self.sandbox = Sandbox(profile, password=PASSWORD)
        for name, role in ROLES.items():
            self.sandbox.create_mailbox(name, role)
        self.server = serve(self.sandbox)
        self._folder = folder
        self.home = folder / "home"
        self.config = self.home / ".config/mailroom/mailroom.yaml"
        (folder / "bin").mkdir()
        (folder / "run").mkdir()
        self.home.mkdir()
        for name, text in (("systemctl", _SYSTEMCTL), ("loginctl", "#!/bin/sh\necho Linger=no\n")):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHON": sys.executable,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self._folder / "run"),
        }

    def init(self, *options: str, **variables: str) -> Terminal:
        """The command at a terminal."""
        command = [sys.executable, "-m", "mailroom", "init", *options]
        return Terminal(command, self.environ | variables, before=_as_somebody())

    def run(self, *options: str, stdin: str = "", **variables: str) -> tuple[int, str]:
        """The command without a terminal: its exit code, and all it says."""
        result = subprocess.run(
            [*_as_somebody(), sys.executable, "-m", "mailroom", "init", *options],
            input=stdin,
            env=self.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return result.returncode, result.stdout

    def answers(self, **answers: str) -> list[str]:
        """Options that answer everything."""
        (self.home / "password").write_text(f"{PASSWORD}\n")
        given = {
            "address": ADDRESS,
            "server": self.server.url,
            "username": "alice",
            "password-file": str(self.home / "password"),
            **{name.replace("_", "-"): value for name, value in answers.items()},
        }
        return [part for name, value in given.items() if value for part in (f"--{name}", value)]

    @property
    def server_option(self) -> tuple[str, str]:
        """So that no name server is asked."""
        return "--server", self.server.url

    @property
    def secret(self) -> Path:
        return self.home / ".config/mailroom/jmap-password"

    @property
    def log(self) -> str:
        return (self.home / "units/log").read_text()

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.home / "units/pid").read_text()), signal.SIGKILL)
        self.server.close()


def _as_somebody() -> list[str]:
    """For root, a user of another number who may do what root may with root's files."""
    if os.geteuid() != 0:
        return []
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


ANSWERS = {
    "Mail address": ADDRESS,
    "User name": "alice",
    "Password": PASSWORD,
    "Categories": "",
    "New mail is sorted by": "",
    "Go on": "",
}


def answer_all(terminal: Terminal, **others: str) -> list[str]:
    """Answer whatever is asked until it ends; returns what was asked."""
    answers = ANSWERS | {name.replace("_", " "): value for name, value in others.items()}
    asked: list[str] = []
    while prompt := terminal.prompt(list(answers)):
        asked.append(prompt)
        assert asked.count(prompt) < 4, terminal.told
        terminal.type(answers[prompt])
    return asked


def writes(place: Place) -> list[str]:
    """The requests that have changed anything in the account."""
    log = place.sandbox.log.entries
    return [
        str(entry)
        for entry in log
        if entry.method in ("PUT", "DELETE") or any(call.endswith("/set") for call in entry.calls)
    ]


def test_from_nothing_to_a_service_that_works(place: Place) -> None:
    with place.init(*place.server_option) as terminal:
        asked = answer_all(terminal)
        assert terminal.end() == 0, terminal.told
    assert asked == list(ANSWERS)
    assert terminal.told.count("All is well.") == 1
    assert "29 created, 0 there already" in terminal.told
    assert "traces: all removed" in terminal.told
    assert PASSWORD not in terminal.told
    assert "put @ToFeed on a mail in Screener" in terminal.told
    assert "loginctl enable-linger" in terminal.told
    config = parse(place.config.read_text(), "x")
    assert config.jmap.username == "alice"
    assert (place.home / ".config/mailroom/jmap-password").stat().st_mode & 0o777 == 0o600

    before = len(writes(place)), place.config.stat()
    with place.init() as terminal:
        assert terminal.end() == 0
    assert terminal.told.startswith("Everything is set up and running: nothing to do.\n")
    assert place.run("--check") == (0, "Everything is set up and running: nothing to do.\n")
    assert (len(writes(place)), place.config.stat()) == before


MOMENTS = [
    "Logging in",
    "^configuration: ",
    "^secret: ",
    "Setting up the account",
    "^label +@ToFeed: created",
    "29 created",
    "Starting the service",
    "running, and enabled",
    "test mail: ",
]


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        *((moment, "kill") for moment in MOMENTS),
        *((moment, "interrupt") for moment in (MOMENTS[0], MOMENTS[4], MOMENTS[-1])),
    ],
)
def test_broken_off_anywhere_it_goes_on_from_there(place: Place, moment: str, end: str) -> None:
    with place.init(*place.server_option) as terminal:
        for prompt, answer in ANSWERS.items():
            if prompt in ("Categories", "New mail is sorted by", "Go on") and moment == MOMENTS[0]:
                break
            terminal.answer(prompt, answer)
        terminal.until(moment)
        if end == "kill":
            terminal.kill()
            terminal.end()
        else:
            terminal.interrupt()
            assert terminal.end() == 130, terminal.told
            assert "Interrupted." in terminal.told
    made = [
        *([f"the configuration {place.config}"] if place.config.exists() else []),
        *(["the secret jmap-password"] if place.secret.exists() else []),
    ]
    with place.init(*place.server_option) as again:
        asked = answer_all(again)
        assert again.end() == 0, again.told
    if asked:
        assert all(thing in again.told for thing in made), again.told
    assert ("Mail address" in asked) is (len(made) == 0)
    assert ("Password" in asked) is (len(made) < 2)
    assert place.run("--check")[0] == 0
    if end == "interrupt":  # nobody can clean up after a kill
        mails = place.sandbox._store.mails.values()
        assert not [mail for mail in mails if "checks" in mail.subject]


@pytest.mark.parametrize("prompt", list(ANSWERS))
def test_broken_off_at_a_question_nothing_is_made(place: Place, prompt: str) -> None:
    with place.init(*place.server_option) as terminal:
        for each, answer in ANSWERS.items():
            if each == prompt:
                break
            terminal.answer(each, answer)
        terminal.until(rf"^{prompt}.*: \Z")
        if prompt in ("Password", "Go on"):
            terminal.interrupt()
        else:
            terminal.hang_up()
        assert terminal.end() == 130
    assert terminal.told.endswith("Interrupted.\n")
    assert not place.config.exists()
    assert not place.secret.exists()
    assert writes(place) == []


def test_who_says_no_changes_nothing(place: Place) -> None:
    with place.init(*place.server_option) as terminal:
        answer_all(terminal, Go_on="no")
        assert terminal.end() == 1
    assert terminal.told.endswith("Nothing has been changed.\n")
    assert not place.config.exists()
    assert writes(place) == []


def test_a_wrong_password_is_told_and_asked_for_again(place: Place) -> None:
    with place.init(*place.server_option) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.answer("User name")
        terminal.answer("Password", "wrong")
        terminal.until(f"let {ADDRESS} in with this password: is the user name right")
        assert "[alice]" in terminal.answer("User name [alice]") + terminal.told
        terminal.answer("Password", PASSWORD)
        terminal.until("✓ mail: account alice")
        terminal.answer("Categories")


def test_a_secret_that_cannot_be_one_is_told_and_asked_for_again(place: Place) -> None:
    with place.init(*place.server_option) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.answer("User name", "alice")
        terminal.answer("Password", "hunter2\x1b[D-sesame")  # an arrow key
        terminal.until("✗ this secret has a control character")
        terminal.answer("Password", PASSWORD)
        terminal.until("✓ mail: account alice")
    options = place.answers()
    (place.home / "password").write_text("one\ntwo\n")
    code, told = place.run(*options)
    assert (code, told) == (
        2,
        "mailroom: --password-file FILE: this secret has a control character or more than one "
        "line\n",
    )


def test_a_password_in_a_url_is_not_repeated(place: Place) -> None:
    url = place.server.url.replace("//", f"//alice:{PASSWORD}@")
    with place.init("--server", url) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.until("✗ this URL holds a user name or a password")
        assert PASSWORD not in terminal.told


def test_a_question_fits_the_terminal(place: Place) -> None:
    with place.init(*place.server_option, COLUMNS="30") as terminal:
        terminal.answer("Mail address", ADDRESS)
        assert "its server is, and which mail" not in terminal.told
        shown = terminal.answer("User name")
        assert max(map(len, terminal.told.splitlines())) <= 60, shown
        assert all(len(line) <= 30 for line in shown.splitlines() if line.startswith("  "))


@pytest.mark.parametrize("address", ["anna", "anna@", "anna@x"])
def test_a_wrong_address_is_told_and_asked_for_again(place: Place, address: str) -> None:
    with place.init(*place.server_option) as terminal:
        terminal.answer("Mail address", address)
        terminal.until(f"✗ '{address}' (has no @|is not a mail address)")
        terminal.answer("Mail address", ADDRESS)
        terminal.until("^User name")


def test_where_no_jmap_server_is_another_is_asked_for(place: Place) -> None:
    place.sandbox.faults.add(Fault(path="/.well-known/jmap", answer=Response(404), times=1))
    with place.init(*place.server_option) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.until(rf"✗ no JMAP server at {place.server.url}: .* the answer is 404")
        terminal.answer("Mail server", place.server.url)
        terminal.until("^User name")


def test_without_any_contacts_it_says_so_and_asks_where_they_are(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.sandbox.faults.add(Fault(method="PROPFIND", answer=Response(404)))
    with contextlib.closing(place), place.init(*place.server_option) as terminal:
        for prompt in ("Mail address", "User name", "Password"):
            terminal.answer(prompt, ANSWERS[prompt])
        terminal.until("^! contacts: no contacts: none by JMAP at .*, no CardDAV there")
        place.sandbox.faults.clear()
        terminal.answer("CardDAV server", place.server.url)
        terminal.answer("User name there", "alice")
        terminal.answer("Password there", PASSWORD)
        terminal.until("✓ contacts: ")
        terminal.answer("Categories")


def test_a_server_without_push_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, CYRUS_3_6)
    with contextlib.closing(place), place.init(*place.server_option) as terminal:
        for prompt in ("Mail address", "User name", "Password"):
            terminal.answer(prompt, ANSWERS[prompt])
        terminal.until(r"^! push: not offered here \(204\): what you do is seen within a minute")


def test_a_server_of_folders_is_refused_in_words(tmp_path: Path) -> None:
    place = Place(tmp_path, Profile("folders", limits=Limits(max_mailboxes_per_email=1)))
    with contextlib.closing(place):
        code, told = place.run(*place.answers())
    assert code == 1
    assert "keeps a mail in one folder only" in told
    assert not place.config.exists()


def test_a_full_mailbox_of_the_users_is_theirs_to_give(place: Place) -> None:
    place.sandbox.create_mailbox("Feed")
    place.sandbox.deliver("bob@example.org", mailbox="Feed")
    with place.init(*place.server_option) as terminal:
        answer_all(terminal, Mailbox_for_Feed="News")
        assert terminal.end() == 0, terminal.told
    assert "You have a mailbox Feed already: it holds 1 mail, which stays yours." in terminal.told
    config = parse(place.config.read_text(), "x")
    assert config.triage.category("Feed").destination_mailbox == "News"
    assert len(place.sandbox.mails_in("Feed")) == 1


def test_without_a_manager_of_ones_own_nothing_is_begun(place: Place) -> None:
    code, told = place.run(NO_MANAGER="1")
    assert code == 1
    assert told == (
        "mailroom: you are not root, and your own service manager does not answer (systemctl "
        "--user): log in as yourself, not by su, or set it up for the whole machine: sudo mailroom "
        "init\n"
    )


def test_a_service_that_does_not_start_is_told_and_the_next_run_starts_it(place: Place) -> None:
    (place.home / "units").mkdir()
    (place.home / "units/broken").touch()
    code, told = place.run(*place.answers())
    assert code == 1
    assert "systemctl --user enable --quiet mailroom.service failed (no such unit)" in told
    assert f"Already there: the configuration {place.config}, the secret jmap-password." in told
    (place.home / "units/broken").unlink()
    assert place.run("--check") == (3, "would enable and start the service\n")
    with place.init() as terminal:
        assert answer_all(terminal) == ["Go on"]
        assert terminal.end() == 0, terminal.told


def test_a_network_that_goes_away_is_told_and_the_next_run_goes_on(place: Place) -> None:
    place.sandbox.faults.add(Fault(call="Mailbox/set", answer=Response(503)))
    code, told = place.run(*place.answers())
    assert code == 1
    assert "503" in told
    assert "Already there" in told
    place.sandbox.faults.clear()
    with place.init() as terminal:
        assert answer_all(terminal) == ["Go on"]
        assert terminal.end() == 0, terminal.told


# A server with a certificate of an authority of the user's own


@pytest.fixture
def private(place: Place, tmp_path: Path) -> Iterator[Front]:
    """The place's server by https; the authority's certificate is ca.pem in the home."""
    issue(place.home)
    front = Front(place.home, int(place.server.url.rpartition(":")[2]))
    yield front
    front.close()


def test_an_authority_of_ones_own_is_asked_for_where_it_is_needed(
    place: Place, private: Front
) -> None:
    with place.init("--server", private.url) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.until("is not signed by an authority")
        terminal.answer("File of the authority", str(place.home / "missing.pem"))
        terminal.until(r"✗ .*missing\.pem cannot be read: No such file or directory")
        terminal.answer("File of the authority", str(place.home / "ca.key"))
        terminal.until(r"✗ .*ca\.key holds no certificate in PEM")
        terminal.answer("File of the authority", str(place.home / "else.pem"))
        terminal.until(r"trusts,\s+nor\s+by\s+one\s+in\s+\S+else\.pem")
        assert not place.sandbox.log.entries  # nothing was sent yet
        terminal.answer("File of the authority", str(place.home / "ca.pem"))
        answers = {each: ANSWERS[each] for each in ANSWERS if each != "Mail address"}
        for prompt, answer in answers.items():
            terminal.answer(prompt, answer)
        assert terminal.end() == 0, terminal.told
    config = parse(place.config.read_text(), "x")
    assert config.jmap.url == f"{private.url}/.well-known/jmap"
    assert config.tls.ca_file == str(place.home / "ca.pem")


def test_who_has_no_such_authority_can_name_another_server(place: Place, private: Front) -> None:
    with place.init("--server", private.url) as terminal:
        terminal.answer("Mail address", ADDRESS)
        terminal.answer("File of the authority")
        terminal.answer("Mail server", place.server.url)
        terminal.until("^User name")


def test_an_authority_of_ones_own_is_given_beforehand(place: Place, private: Front) -> None:
    options = place.answers(server=private.url)
    code, told = place.run(*options)
    assert code == 2
    assert "no answer to 'File of the authority': give --ca-file FILE (The certificate of" in told
    code, told = place.run(*options, "--ca-file", "/nowhere.pem")
    assert (code, told) == (
        2,
        "mailroom: --ca-file FILE: /nowhere.pem cannot be read: No such file or directory\n",
    )
    code, told = place.run(*options, "--ca-file", str(place.home / "ca.pem"))
    assert (code, told.count("All is well.")) == (0, 1), told
    code, told = place.run("--check", "--ca-file", "/other.pem")
    assert code == 0
    assert f"--ca-file /other.pem is not what the configuration says ({place.home}/ca.pem)" in told


# Which installation


@pytest.mark.parametrize("named", ["--config", "$MAILROOM_CONFIG"])
def test_a_file_that_no_unit_reads_is_refused(place: Place, named: str) -> None:
    def check(file: Path) -> tuple[int, str]:
        if named == "--config":
            return place.run("--check", named, str(file))
        return place.run("--check", MAILROOM_CONFIG=str(file))

    elsewhere = place.home / "mine.yaml"
    code, told = check(elsewhere)
    assert code == 2
    assert told.startswith(
        f"mailroom: cannot set up {elsewhere}: the service that would be started reads "
        f"{place.config}; leave {named} out"
    )
    assert check(place.config)[0] == 3


def test_where_no_configuration_can_be_nothing_is_asked(place: Place) -> None:
    (place.home / "file").touch()
    code, told = place.run(XDG_CONFIG_HOME=str(place.home / "file"))
    assert code == 1
    assert told == (
        f"mailroom: cannot look for {place.home}/file/mailroom/mailroom.yaml: Not a directory; "
        "check the folder, and whose it is\n"
    )


# Without questions


def test_answers_come_from_options(place: Place) -> None:
    options = place.answers(categories="fewer", screening="mailroom")
    code, told = place.run("--check", *options)
    assert code == 3
    assert told.splitlines() == [
        "would write the configuration",
        "would store the secret",
        "would create the missing mailboxes, labels and contact groups in the account",
        "would write the rules for new mail",
        "would enable and start the service",
    ]
    assert not place.config.exists()
    assert writes(place) == []
    code, told = place.run(*options)
    assert (code, told.count("All is well.")) == (0, 1), told
    config = parse(place.config.read_text(), "x")
    assert len(config.triage.categories) == 4
    assert place.run("--check", *options)[0] == 0
    code, told = place.run("--check", "--screening", "off")
    assert (code, told.splitlines()[1]) == (
        0,
        "--screening off is not what the configuration says (mailroom)",
    )
    code, told = place.run(*options)
    assert (code, told.splitlines()[0]) == (0, "Everything is set up and running: nothing to do.")


def test_answers_come_from_a_file_and_the_secret_from_standard_input(place: Place) -> None:
    file = place.home / "answers.yaml"
    file.write_text(
        f"address: {ADDRESS}\nserver: {place.server.url}\nusername: alice\n"
        "password_file: '-'\nscreening: off\n"
    )
    code, told = place.run("--answers", str(file), stdin=f"{PASSWORD}\n")
    assert code == 0, told
    assert parse(place.config.read_text(), "x").screening.by == "off"


@pytest.mark.parametrize(
    ("missing", "option"),
    [("address", "--address"), ("password-file", "--password-file FILE")],
)
def test_a_missing_answer_names_its_option(place: Place, missing: str, option: str) -> None:
    code, told = place.run(*place.answers(**{missing: ""}))
    assert code == 2
    assert f": give {option} (" in told
    assert writes(place) == []


def test_a_full_mailbox_is_nobodys_to_give_by_silence(place: Place) -> None:
    place.sandbox.create_mailbox("Feed")
    place.sandbox.deliver("bob@example.org", mailbox="Feed")
    code, told = place.run(*place.answers())
    assert code == 2
    assert "give --mailbox Feed=OTHER (You have a mailbox Feed already" in told
    assert place.run(*place.answers(mailbox="Feed=Feed"))[0] == 0


def test_a_wrong_secret_is_told_with_the_code_for_it(place: Place) -> None:
    options = place.answers()
    (place.home / "password").write_text("wrong")
    code, told = place.run(*options)
    assert code == 77
    assert "does not let alice in with this password" in told
    assert not place.config.exists()


def test_a_secret_that_has_been_changed_is_asked_for_anew(place: Place) -> None:
    assert place.run(*place.answers())[0] == 0
    place.secret.write_text("old")
    assert place.run("--check")[0] == 3
    with place.init() as terminal:
        assert answer_all(terminal) == ["Password", "Go on"]
        assert terminal.end() == 0, terminal.told
    assert place.secret.read_text().strip() == PASSWORD


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_password_takes_the_place_of_a_token(place: Place, is_configured: bool) -> None:
    """The service would use the token instead."""
    if is_configured:
        assert place.run(*place.answers())[0] == 0
        place.secret.unlink()
    else:
        place.secret.parent.mkdir(parents=True)
    token = place.secret.with_name("jmap-token")
    token.write_text("an-old-token")
    token.chmod(0o600)
    code, told = place.run(*place.answers())
    assert (code, told.count("All is well.")) == (0, 1), told
    assert not token.exists()
