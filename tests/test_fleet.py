"""Many accounts by their files: what each is, what a reading changes."""

from pathlib import Path

import pytest
import yaml

from mailroom.engine.accountfiles import AccountFile, AccountFiles, account_names
from mailroom.engine.accountsecrets import AccountSecrets, parse, secrets_of, written
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import load, load_of
from mailroom.engine.credentials import Credentials, logins
from mailroom.engine.loop import Loop
from mailroom.engine.unit import find
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config, from_data
from mailroom.rules.configuration.fleet import (
    is_name,
    may_have_shared_secret,
    merged,
    sharing,
)
from mailroom.rules.configuration.text import parse_account

DEFAULTS = {
    "jmap": {"url": "https://mail.example.org", "username": "{account}%master"},
    "triage": {"categories": ["Feed", "Jail"]},
    "polling": {"poll_interval": 120},
}


@pytest.mark.parametrize("name", ["anna", "anna@example.org", "a.b-c_d+e", "0", "A" * 64])
def test_an_account_can_be_called_so(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".anna", "-a", "a/b", "a b", "ä", "A" * 65, "a\n"])
def test_an_account_cannot_be_called_so(name: str) -> None:
    assert not is_name(name)


def test_an_account_says_what_is_otherwise_and_has_the_rest_of_all() -> None:
    config = parse_account("triage: {categories: [Feed]}", "a.yaml", "anna", DEFAULTS)
    assert [each.name for each in config.triage.categories] == ["Feed"]
    assert config.jmap.username == "anna%master"
    assert config.polling.poll_interval == 120


def test_the_accounts_name_stands_wherever_the_defaults_say_so() -> None:
    defaults = {"jmap": {"username": "admin", "authorize_as": "{account}@x.org"}}
    config = parse_account("", "a.yaml", "anna", defaults)
    assert (config.jmap.username, config.jmap.authorize_as) == ("admin", "anna@x.org")
    assert config.account == "anna@x.org"
    with pytest.raises(ConfigurationError, match=r"a\.yaml:1: jmap\.authorize_as: .* is not ASCII"):
        parse_account("jmap: {authorize_as: ärger}", "a.yaml", "anna", defaults)
    with pytest.raises(ConfigurationError, match=r"a\.yaml:1: jmap\.authorize_as: .* a space"):
        parse_account("jmap: {authorize_as: ' anna'}", "a.yaml", "anna", defaults)


def test_what_follows_from_another_key_follows_from_the_accounts() -> None:
    text = "jmap: {url: 'https://other.example.net'}"
    config = parse_account(text, "a.yaml", "anna", DEFAULTS)
    assert config.carddav.url.startswith("https://other.example.net")


def test_an_empty_file_is_an_account_like_all() -> None:
    assert parse_account("", "a.yaml", "anna", DEFAULTS).jmap.username == "anna%master"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("logging: {level: debug}", "a.yaml:1: logging: is for all accounts: write it into"),
        ("\ntls: {ca_file: /x}", "a.yaml:2: tls: is for all accounts"),
        ("polling: {poll_interval: x}", "a.yaml:1: polling.poll_interval: must be a number"),
        ("triage: {screener_mailbox: Feed}", "a.yaml:1: triage"),
        ("[", "a.yaml:1: "),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_account(text, "a.yaml", "anna", DEFAULTS)
    assert caught.value.problems[0].startswith(problem)


def test_equal_sections_are_one() -> None:
    defaults = from_data(DEFAULTS)
    one = sharing(from_data(merged(DEFAULTS, {}, "anna")), defaults)
    assert one == from_data(merged(DEFAULTS, {}, "anna"))
    assert one.triage is defaults.triage
    assert one.jmap is not defaults.jmap


def test_the_password_of_all_is_for_one_origin() -> None:
    defaults = from_data(DEFAULTS)
    for url, may in (
        ("https://mail.example.org/jmap/", True),
        ("https://mail.example.org:8443/", False),
        ("http://mail.example.org/", False),
        ("https://mail.example.org.evil.example/", False),
    ):
        config = from_data(merged(DEFAULTS, {"jmap": {"url": url}}, "anna"))
        assert may_have_shared_secret(config, defaults) is may


def test_an_account_has_secrets_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "anna.jmap-token").write_text("t1\n")
    (tmp_path / "accounts_otto.jmap-password").write_text("p2")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "MAILROOM_JMAP_TOKEN": "of nobody"}
    assert AccountSecrets(environ).of("anna").jmap_token == "t1"
    assert AccountSecrets(environ).of("otto").jmap_password == "p2"
    nobody = AccountSecrets(environ).of("eve")
    assert (nobody.jmap_token, nobody.jmap_password) == (None, None)
    with pytest.raises(ConfigurationError, match="no secret for the mail server"):
        logins(Config(), nobody)


def test_the_secrets_of_many_accounts_are_lines_of_one_credential(tmp_path: Path) -> None:
    secrets = {"anna.jmap-token": "t:1#", "eve@x.org.jmap-password": " p: w "}
    assert parse(written(secrets), "here") == secrets
    (tmp_path / "account-secrets").write_text(f"# made by hand\n\n{written(secrets)}")
    (tmp_path / "anna.jmap-token").write_text("of a former time")
    found = AccountSecrets({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found.of("anna").jmap_token == "t:1#"
    assert found.of("eve@x.org").jmap_password == " p: w "
    assert found.of("x.org").jmap_password is None
    assert found.of("anna").sources["jmap-token"] == "set (from the credentials directory)"
    (tmp_path / "account-secrets.encrypted").write_text("anna.jmap-token: decrypted\n")
    found = AccountSecrets({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found.of("anna").jmap_token == "decrypted"


def test_lines_that_are_none_are_told_by_their_numbers_and_not_shown() -> None:
    bad = "hunter2\nanna.token: hunter2\n.jmap-token: hunter2\nanna.jmap-token:hunter2\n"
    text = f"anna.jmap-token: a\n{bad}"
    with pytest.raises(ConfigurationError) as raised:
        parse(text, "secrets")
    assert [problem.partition(" ")[0] for problem in raised.value.problems] == [
        f"secrets:{line}:" for line in (2, 3, 4, 5)
    ]
    assert "hunter2" not in str(raised.value)


def test_a_secret_that_no_header_can_carry_is_its_accounts_matter(tmp_path: Path) -> None:
    (tmp_path / "account-secrets").write_text("anna.jmap-token: a b\notto.jmap-token: good\n")
    found = AccountSecrets({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    with pytest.raises(ConfigurationError, match=r"the secret anna\.jmap-token has characters"):
        found.of("anna")
    assert found.of("otto").jmap_token == "good"


SHARED = {
    "MAILROOM_JMAP_PASSWORD": "of all",
    "MAILROOM_CARDDAV_PASSWORD": "books of all",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The defaults, beside the files of anna, who has all by default, and otto, who has not."""
    path = tmp_path / "etc/mailroom/mailroom.yaml"
    (path.parent / "accounts.d").mkdir(parents=True)
    path.write_text(yaml.safe_dump(DEFAULTS))
    (path.parent / "accounts.d/anna.yaml").touch()
    (path.parent / "accounts.d/otto.yaml").write_text("jmap: {url: 'https://else.example'}\n")
    return path


def _secrets(config: Path, account: str, **more: str) -> Credentials:
    """What a command about this account has."""
    installation = find({}, account=account, euid=0, root=config.parents[2])
    return secrets_of(installation, load_of(installation), {**SHARED, **more})


def test_a_command_has_the_password_of_all_for_the_server_of_the_defaults(config: Path) -> None:
    anna = _secrets(config, "anna")
    assert (anna.jmap_password, anna.carddav_password) == ("of all", "books of all")
    assert anna.is_shared
    assert anna.sources == {
        "jmap-token": "not set",
        "jmap-password": "set (from the environment)",
        "carddav-password": "set (from the environment)",
    }


def test_a_command_has_no_password_of_all_for_another_server(config: Path) -> None:
    otto = _secrets(config, "otto")
    assert (otto.jmap_password, otto.carddav_password, otto.is_shared) == (None, None, False)


def test_an_account_with_a_secret_of_its_own_needs_none_of_all(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "anna.jmap-token").write_text("t1")
    anna = _secrets(config, "anna", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert (anna.jmap_token, anna.jmap_password, anna.is_shared) == ("t1", None, False)


def test_each_account_is_read_and_a_faulty_file_is_its_own_matter(config: Path) -> None:
    folder = config.parent / "accounts.d"
    (folder / "eve.yaml").write_text("jmap: {}\njmap: {}\n")
    (folder / "two words.yaml").touch()
    (folder / "zoe.yaml").mkdir()
    read: list[AccountFile] = []
    clock = BoottimeClock()
    loop = Loop(clock)
    names = account_names(config)
    reading = loop.spawn(AccountFiles(config, names, load(config)).each(loop, read.append), "read")
    while not reading.done:
        loop.turn()
    loop.close()
    clock.close()
    reading.result()
    urls = {each.name: each.config.jmap.url for each in read if each.config}
    assert urls == {
        "anna": "https://mail.example.org/.well-known/jmap",
        "otto": "https://else.example/.well-known/jmap",
    }
    assert {each.name: each.problems for each in read if not each.config} == {
        "eve": (f"{folder}/eve.yaml:2: jmap: is given twice, first on line 1; keep one",),
        "two words": (
            f"{folder}/two words.yaml: 'two words' cannot be an account's name: at most 64 "
            "letters, digits and @ . _ + -",
        ),
        "zoe": (f"{folder}/zoe.yaml: is not a regular file; remove it",),
    }
