"""One process and several accounts, each with a server of its own: what goes wrong with one is its
own matter, and no secret of one is told to another's server."""

import base64
import json
import os
import pwd
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.client import ask, follow
from mailroom.engine.sockets import control_path
from mailroom.wire.sse import Parser
from tests.process import Process, mailroom
from tests.sandbox import Entry, Request, Sandbox, serve
from tests.schemas import validate

pytestmark = pytest.mark.sandbox

BOB = "Bob <bob@example.org>"


class Household:
    """Three accounts on three servers; the files of their process."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.sandboxes: dict[str, Sandbox] = {}
        self.authorizations: dict[str, set[str]] = {}
        self.urls: dict[str, str] = {}
        (folder / "accounts.d").mkdir()
        (folder / "credentials").mkdir()
        for name in ("anna", "otto", "zoe"):
            sandbox = Sandbox(user=name, password=f"secret-of-{name}")
            sandbox.standard_account()
            self.sandboxes[name] = sandbox
            self.authorizations[name] = set()
            sandbox.before(self._listener(name))
            self.urls[name] = stack.enter_context(serve(sandbox)).url
            self.write(name)
            (folder / "credentials" / f"{name}.jmap-password").write_text(f"secret-of-{name}")
        self.config = folder / "mailroom.yaml"
        self.config.write_text("polling: {poll_interval: 30}\n")

    def _listener(self, name: str) -> Any:
        def listen(_entry: Entry, request: Request) -> None:
            headers = {key.lower(): value for key, value in request.headers.items()}
            self.authorizations[name].add(headers.get("authorization", ""))

        return listen

    def write(self, name: str, **more: Any) -> None:
        url = self.urls[name]
        servers = {"jmap": {"url": url, "username": name}, "carddav": {"url": url}}
        self.file(name).write_text(json.dumps({**servers, **more}))

    def file(self, name: str) -> Path:
        return self.folder / "accounts.d" / f"{name}.yaml"

    def start(self, *arguments: str, **variables: str) -> Process:
        secrets = {"CREDENTIALS_DIRECTORY": str(self.folder / "credentials")}
        given = {**secrets, "MAILROOM_JMAP_PASSWORD": "", **variables}
        return Process(self.folder / "run", self.config, given, arguments=arguments)


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    with ExitStack() as stack:
        yield Household(tmp_path, stack)


def rows(service: Process) -> dict[str, dict[str, Any]]:
    return {row["account"]: row for row in service.ask("/accounts")[1]["accounts"]}


def states(service: Process) -> dict[str, str]:
    return {name: row["status"] for name, row in rows(service).items()}


def are_connected(service: Process, count: int) -> bool:
    """Whether so many have push, and have polled: before that nobody can be asked for."""
    found = rows(service).values()
    return [row["push"] for row in found if row["last_poll_at"]].count("connected") == count


def command(service: Process, method: str, target: str, body: object = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, answer = ask(control_path(service.socket), method, target, body=content)
    return status, json.loads(answer)


def test_every_account_is_served_and_has_answers_of_its_own(household: Household) -> None:
    mails = {name: each.deliver(BOB) for name, each in household.sandboxes.items()}
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        assert service.ask("/healthz")[1]["accounts"] == {"ok": 3, "unhealthy": 0}
        household.sandboxes["anna"].label(mails["anna"], "@ToFeed")
        service.until(lambda: household.sandboxes["anna"].mailboxes_of(mails["anna"]) == {"Feed"})
        decision = {"address": "bob@example.org", "category": "Jail"}
        status, done = command(service, "POST", "/accounts/zoe/triage", decision)
        assert (status, done["filed"]) == (200, 1)
        assert household.sandboxes["zoe"].mailboxes_of(mails["zoe"]) == {"Jail"}
        assert household.sandboxes["otto"].mailboxes_of(mails["otto"]) == {"Screener"}
        assert command(service, "GET", "/accounts/otto/waiting")[1]["senders"] == 1
        assert service.ask("/accounts/otto/status")[1]["account"] == "otto"
        assert command(service, "GET", "/waiting")[0] == 404
        assert command(service, "GET", "/accounts/eve/waiting")[0] == 404
        assert 'mailroom_healthy{account="zoe"} 1' in service.ask("/metrics")[1]
        assert "account=anna" in service.log
        assert service.stop()[0] == 0


def test_no_secret_of_one_account_goes_to_the_server_of_another(household: Household) -> None:
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
    for name, told in household.authorizations.items():
        basic = base64.b64encode(f"{name}:secret-of-{name}".encode()).decode()
        assert told - {""} == {f"Basic {basic}"}


def test_the_password_of_all_goes_to_the_server_that_the_defaults_name(
    household: Household,
) -> None:
    """Whatever the file of an account says."""
    url = household.urls["anna"]
    defaults = {"jmap": {"url": url, "username": "{account}%master"}, "carddav": {"url": url}}
    household.config.write_text(json.dumps(defaults))
    (household.folder / "credentials" / "jmap-password").write_text("secret-of-all")
    for name in ("anna", "otto"):
        (household.folder / "credentials" / f"{name}.jmap-password").unlink()
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: bool(household.authorizations["anna"]), "a request")
        assert states(service)["otto"] == "unhealthy"
        assert "no secret for the mail server" in rows(service)["otto"]["reason"]
    told = "".join(household.authorizations["otto"])
    assert base64.b64encode(b"otto:secret-of-all").decode() not in told
    assert not household.authorizations["otto"] - {""}


def test_the_book_password_of_all_goes_to_the_server_that_the_defaults_name(
    household: Household,
) -> None:
    """It is another than the mail server, and the account's file names a third."""
    books, elsewhere = household.urls["otto"], household.urls["zoe"]
    defaults = {"jmap": {"url": household.urls["anna"]}, "carddav": {"url": books}}
    household.config.write_text(json.dumps(defaults))
    credentials = household.folder / "credentials"
    (credentials / "anna.jmap-password").unlink()
    (credentials / "jmap-password").write_text("secret-of-anna")
    (credentials / "carddav-password").write_text("secret-of-all-books")
    household.write("anna", carddav={"url": elsewhere}, contacts={"by": "carddav"})
    for name in ("otto", "zoe"):
        household.file(name).unlink()
    with household.start() as service:
        service.until(lambda: service.child.poll() is not None, "exit")
    assert "no password for the address book" in service.log
    secret = base64.b64encode(b"anna:secret-of-all-books").decode()
    assert not [told for told in household.authorizations["zoe"] if secret in told]


def test_an_administrator_logs_in_on_behalf_of_each_account_at_one_server(
    household: Household,
) -> None:
    """By JMAP, push and CardDAV alike, and on connections that accounts share."""
    url, anna = household.urls["anna"], household.sandboxes["anna"]
    admin = base64.b64encode(b"admin:secret-of-all").decode()
    anna.administrator = f"Basic {admin}"
    behalf: dict[str, set[str]] = {"anna": set(), "otto": set()}

    def listen(name: str) -> Any:
        def hear(_entry: Entry, request: Request) -> None:
            headers = {key.lower(): value for key, value in request.headers.items()}
            kind = "stream" if "event" in request.path else request.path.split("/")[1]
            behalf[name].add(f"{kind} {headers.get('authorize-as')}")

        return hear

    for name in behalf:
        household.sandboxes[name].before(listen(name))
    defaults = {"url": url, "username": "admin", "authorize_as": "{account}"}
    household.config.write_text(json.dumps({"jmap": defaults, "carddav": {"url": url}}))
    (household.folder / "credentials" / "jmap-password").write_text("secret-of-all")
    (household.folder / "credentials" / "anna.jmap-password").unlink()
    household.file("anna").write_text("")
    household.file("zoe").unlink()
    own: dict[str, Any] = {
        "jmap": {"url": household.urls["otto"], "username": "otto", "authorize_as": None}
    }
    own["carddav"] = {"url": household.urls["otto"]}
    household.file("otto").write_text(json.dumps(own))
    mail = anna.deliver(BOB)
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 2), "push")
        anna.label(mail, "@ToFeed")
        service.until(lambda: anna.mailboxes_of(mail) == {"Feed"})
    assert {each.partition(" ")[2] for each in behalf["anna"]} == {"anna"}
    assert {each.partition(" ")[0] for each in behalf["anna"]} >= {"jmap", "stream", "dav"}
    assert {each.partition(" ")[2] for each in behalf["otto"]} == {"None"}
    assert household.authorizations["anna"] - {""} == {f"Basic {admin}"}
    assert admin not in "".join(household.authorizations["otto"])


def test_the_watchdog_is_fed_while_further_accounts_are_read(household: Household) -> None:
    """It counts from the first account on, when systemd is told that the service is ready."""
    household.file("zoe").write_text("triage: {categories: [" + "A, " * 80_000 + "]}")  # takes long
    with household.start(WATCHDOG_USEC="100000") as service:
        service.until_told("READY=1").until_told("WATCHDOG=1", 2)
        assert "zoe" not in rows(service)


def test_what_is_wrong_with_one_account_is_its_own_matter(household: Household) -> None:
    household.file("otto").write_text("jmap: {url: 7}\n")
    (household.folder / "credentials" / "zoe.jmap-password").write_text("wrong")
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 1), "push")
        found = rows(service)
        assert found["anna"]["status"] == "ok"
        assert "otto.yaml:1: jmap.url: must be text" in found["otto"]["reason"]
        status, document = service.ask("/healthz")
        assert (status, document["status"]) == (200, "ok")
        assert document["accounts"]["ok"] >= 1
        assert command(service, "GET", "/accounts/otto/waiting")[0] == 503


def test_refused_credentials_end_no_other_account(household: Household) -> None:
    (household.folder / "credentials" / "zoe.jmap-password").write_text("wrong")
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 2), "push")
        service.until(lambda: states(service)["zoe"] == "unhealthy", "the refusal")
        assert "zoe.jmap-password" not in service.log
        assert "wrong" not in service.log.replace("what is wrong", "")
        told = [line for line in service.log.splitlines() if line.startswith("credentials_refused")]
        assert len(told) == 1
        assert "account=zoe" in told[0]
        assert service.child.poll() is None


def test_a_reload_touches_what_has_changed(household: Household) -> None:
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        streams = {n: _streams(each) for n, each in household.sandboxes.items()}
        household.write("otto", polling={"poll_interval": 45})
        household.file("zoe").unlink()
        service.send(signal.SIGHUP)
        service.until(lambda: "config_reloaded" in service.events, "the reload")
        assert set(rows(service)) == {"anna", "otto"}
        service.until(lambda: are_connected(service, 2), "push")
        assert _streams(household.sandboxes["anna"]) == streams["anna"]
        assert _streams(household.sandboxes["otto"]) == streams["otto"] + 1
        household.file("otto").write_text("nonsense: 1\n")
        service.send(signal.SIGHUP)
        service.until(lambda: "nonsense" in str(rows(service)["otto"]["reason"]), "the refusal")
        assert states(service)["otto"] == "ok"  # it goes on as it was
        assert _streams(household.sandboxes["otto"]) == streams["otto"] + 1


def test_without_any_good_account_there_is_no_service(household: Household) -> None:
    for name in ("anna", "otto", "zoe"):
        household.file(name).write_text("nonsense: 1\n")
    with household.start() as service:
        service.until(lambda: service.child.poll() is not None, "exit")
        assert service.child.poll() == 78
        assert sum("nonsense" in line for line in service.log.splitlines()) >= 3


def test_accounts_that_cannot_be_listed_stay_as_they_are(household: Household) -> None:
    """As where the folder is another for a moment; and a pipe in it is not waited for."""
    folder = household.folder / "accounts.d"
    os.mkfifo(folder / "pipe.yaml")
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        assert "is not a regular file" in rows(service)["pipe"]["reason"]
        (folder / "pipe.yaml").unlink()
        os.rename(folder, household.folder / "kept")
        os.symlink("accounts.d", folder)  # ELOOP
        service.send(signal.SIGHUP)
        service.until(lambda: "cannot list the accounts" in service.log, "the refusal")
        assert {"anna", "otto", "zoe"} <= rows(service).keys()
        assert are_connected(service, 3)
        folder.unlink()
        os.rename(household.folder / "kept", folder)
        service.send(signal.SIGHUP)
        service.until(lambda: rows(service).keys() == {"anna", "otto", "zoe"}, "the reload")


def test_a_refused_reload_to_a_single_account_leaves_the_many(household: Household) -> None:
    """There is no secret for one."""
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        os.rename(household.folder / "accounts.d", household.folder / "kept")
        service.send(signal.SIGHUP)
        service.until(lambda: "config_refused" in service.events, "the refusal")
        assert service.ask("/status")[1]["accounts"] == {"ok": 3, "unhealthy": 0}
        assert service.child.poll() is None


def test_an_owner_decides_for_that_account_by_the_status_socket(household: Household) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    household.write("anna", owners=[me])
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        assert service.ask("/accounts/anna/waiting")[0] == 200
        assert service.ask("/accounts/otto/waiting")[0] == 403


def _streams(sandbox: Sandbox) -> int:
    return sum(entry.is_stream for entry in sandbox.log.entries)


# Commands


def run(household: Household, service: Process, *arguments: str) -> tuple[int, str]:
    """The exit code of a command, and all that it says."""
    folder = household.folder / "run"
    done = mailroom(folder, *arguments, "--socket", str(service.socket))
    return done.returncode, done.stdout + done.stderr


def test_commands_are_about_the_account_that_is_named(household: Household) -> None:
    mail = household.sandboxes["zoe"].deliver(BOB)
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        whose = ("--account", "zoe")
        code, told = run(household, service, "triage", "bob@example.org", "feed", *whose)
        assert (code, household.sandboxes["zoe"].mailboxes_of(mail)) == (0, {"Feed"}), told
        assert run(household, service, "waiting", "--count", *whose) == (0, "0\n")
        assert "health    ok" in run(household, service, "status", *whose)[1]
        assert "mailroom_healthy 1" in run(household, service, "metrics", *whose)[1]
        assert 'mailroom_healthy{account="zoe"} 1' in run(household, service, "metrics")[1]
        before = [row["last_poll_at"] for row in rows(service).values()]
        assert run(household, service, "poll", "--account", "otto") == (0, "")
        service.until(
            lambda: [row["last_poll_at"] for row in rows(service).values()] != before, "a poll"
        )
        for command in ("waiting", "triage bob@example.org feed", "undo bob@example.org"):
            code, told = run(household, service, *command.split())
            assert code == 2
            assert "there are 3 accounts here: name one with --account: anna, otto, zoe" in told
        code, told = run(household, service, "senders", "--account", "eve")
        assert (code, "there is no account eve: there are anna, otto, zoe" in told) == (2, True)
        code, told = run(household, service, "status")
        assert code == 0
        assert [line.split()[:2] for line in told.splitlines()[-3:]] == [
            ["anna", "ok"],
            ["otto", "ok"],
            ["zoe", "ok"],
        ]


def test_what_is_answered_has_the_shapes_of_the_schemas(household: Household) -> None:
    household.file("otto").write_text("jmap: {url: 7}\n")
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 2), "push")
        for path, name in (
            ("/healthz", "fleet-healthz"),
            ("/status", "fleet-status"),
            ("/accounts", "accounts"),
            ("/accounts/anna/healthz", "healthz"),
            ("/accounts/anna/status", "status"),
            ("/waiting", "error"),
            ("/accounts/eve/status", "error"),
            ("/accounts/otto/status", "error"),
            ("/accounts/anna/events", "error"),
        ):
            validate(name, service.ask(path)[1])
        assert service.ask("/accounts/anna/poll", "POST")[0] == 202


def test_every_event_says_whose_it_is(household: Household) -> None:
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        told = follow(service.socket, parser := Parser())
        assert next(told) == []
        mail = household.sandboxes["zoe"].deliver(BOB)
        household.sandboxes["zoe"].label(mail, "@ToFeed")
        kinds: dict[str, set[str]] = {}
        while "triage" not in kinds or "zoe" not in kinds["triage"]:
            for event in next(told):
                document = json.loads(event.data)
                validate(f"event-{event.type}", document)
                kinds.setdefault(event.type, set()).add(document["account"])
        assert kinds["triage"] == {"zoe"}
        assert parser.last_event_id


def test_systemd_is_told_every_second_and_a_half_at_most(household: Household) -> None:
    """However often the number of those who wait changes."""
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        service.hear()
        began, before, number = time.monotonic(), len(service.messages), 0
        while time.monotonic() < began + 4.0:
            for sandbox in household.sandboxes.values():
                sandbox.deliver(f"b{number}@example.org")
            service.send(signal.SIGUSR1)
            number += 1
            service.hear(0.1)
        seconds = time.monotonic() - began
        told = [line for line in service.messages[before:] if line.startswith("STATUS=")]
        assert service.ask("/healthz")[1]["poll_count"] > 3 * seconds
        assert 2 <= len(told) <= seconds / 1.5 + 1


def alone(household: Household, *arguments: str) -> tuple[int, str]:
    """A command that looks itself, with the secrets of all accounts."""
    done = mailroom(
        household.folder,
        *arguments,
        *("--config", str(household.config)),
        CREDENTIALS_DIRECTORY=str(household.folder / "credentials"),
        MAILROOM_JMAP_PASSWORD="",
    )
    return done.returncode, done.stdout + done.stderr


def test_commands_that_look_themselves_have_the_accounts_configuration_and_secret(
    household: Household,
) -> None:
    household.write("zoe", triage={"categories": ["Feed"]})
    code, told = alone(household, "check", "--account", "zoe")
    assert (code, told.endswith("All is well.\n")) == (0, True), told
    assert "accounts.d/zoe.yaml" in told
    code, told = alone(household, "config", "--account", "zoe")
    assert code == 0
    assert "username: zoe" in told
    assert "# jmap-password: set (from the credentials directory)" in told
    assert "poll_interval: 30" in told
    household.sandboxes["zoe"].deliver(BOB)
    assert alone(household, "triage", "--dry-run", "--account", "zoe")[0] == 0
    assert alone(household, "setup", "--account", "zoe")[0] == 0
    assert alone(household, "reset", "--account", "zoe")[0] == 0
    for name in ("anna", "otto"):
        assert not household.authorizations[name]
    assert household.authorizations["zoe"]


@pytest.mark.parametrize("command", ["setup", "reset", "triage --dry-run", "check --live"])
def test_without_a_name_they_say_which_accounts_there_are(
    household: Household, command: str
) -> None:
    code, told = alone(household, *command.split())
    assert code == 2
    assert "there are 3 accounts here: name one with --account: anna, otto, zoe" in told


def test_check_without_a_name_reads_all_files(household: Household) -> None:
    code, told = alone(household, "check")
    assert (code, "mailroom.yaml and 3 accounts" in told) == (0, True), told
    household.file("otto").write_text("jmap: {url: 7}\n")
    household.file("zoe").write_text("\nnonsense: 1\n")
    code, told = alone(household, "check")
    assert code == 78
    assert "otto.yaml:1: jmap.url: must be text" in told
    assert "zoe.yaml:2: nonsense" in told


def test_a_file_with_another_ending_is_told_and_ignored(household: Household) -> None:
    household.file("otto").rename(wrong := household.file("otto").with_suffix(".yml"))
    told = f"{wrong} is ignored: rename it to otto.yaml"
    code, shown = alone(household, "check")
    assert (code, f"mailroom: {told}\n" in shown) == (0, True), shown
    with household.start() as service:
        service.until_told("READY=1")
        assert service.log.count(told) == 1
        service.send(signal.SIGHUP)
        service.until(lambda: "config_reloaded" in service.events, "the reload")
        assert service.log.count(told) == 2


def test_reset_is_refused_while_the_account_is_served_and_done_when_it_is_switched_off(
    household: Household,
) -> None:
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")
        words = (
            "reset",
            "--apply",
            "--yes",
            "--rules-are-off",
            "--account",
            "zoe",
            "--socket",
            str(service.socket),
        )
        code, told = alone(household, *words)
        assert code == 1
        assert "a service answers for zoe" in told
        file = household.file("zoe")
        file.rename(file.with_name(".zoe.yaml"))
        assert f"mv {file} {file.with_name('.zoe.yaml')}" in told
        service.send(signal.SIGHUP)
        service.until(lambda: "config_reloaded" in service.events, "the reload")
        assert set(rows(service)) == {"anna", "otto"}
        code, told = alone(household, *words)
        assert code == 0, told
        assert set(rows(service)) == {"anna", "otto"}


def test_the_secrets_of_all_accounts_can_be_one_file(household: Household) -> None:
    folder = household.folder / "credentials"
    lines = [f"{each.name}: {each.read_text()}\n" for each in folder.iterdir()]
    for each in folder.iterdir():
        each.unlink()
    (folder / "account-secrets").write_text("".join(lines))
    with household.start() as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 3), "push")


def test_a_file_of_secrets_that_is_none_is_no_service(household: Household) -> None:
    (household.folder / "credentials/account-secrets").write_text("hunter2\n")
    with household.start() as service:
        assert service.end() == 78
        assert "account-secrets:1: is not of the form anna.jmap-token: SECRET" in service.log
        assert "hunter2" not in service.log
