"""Credentials: where secrets come from, what is refused, and that none is ever shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from mailroom.engine.credentials import Basic, Bearer, Credentials, load_credentials, logins
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config, ContactsWay
from mailroom.rules.configuration.text import effective, parse

NO_MAIL_SECRET = (
    "no secret for the mail server: mailroom login stores one (the credential jmap-token, or "
    "$MAILROOM_JMAP_TOKEN; for log-in by password jmap-password, or $MAILROOM_JMAP_PASSWORD)"
)
NO_BOOK_SECRET = (
    "no password for the address book at {}: mailroom login --carddav stores one (the credential "
    "carddav-password, or $MAILROOM_CARDDAV_PASSWORD)"
)

ENVIRONMENT = {
    "MAILROOM_JMAP_TOKEN": "token-e",
    "MAILROOM_JMAP_PASSWORD": "password-e",
    "MAILROOM_CARDDAV_PASSWORD": "book-e",
    "MAILROOM_CARDDAV_USERNAME": "me@example.org",
}


def by_carddav(config: Config) -> Config:
    return replace(config, contacts=ContactsWay("carddav"))


def in_directory(path: Path, **secrets: bytes) -> dict[str, str]:
    """Return an environment whose credentials directory holds these secrets."""
    for name, content in secrets.items():
        (path / name.replace("_", "-")).write_bytes(content)
    return {"CREDENTIALS_DIRECTORY": str(path)}


def own_server(**carddav: str) -> Config:
    book = "".join(f"  {key}: {value}\n" for key, value in carddav.items())
    return parse(f"jmap: {{url: mail.example.org, username: me}}\ncarddav:\n{book}", "FILE")


def test_secrets_come_from_the_environment() -> None:
    found = load_credentials(ENVIRONMENT)
    assert found.jmap_token == "token-e"
    assert found.jmap_password == "password-e"
    assert found.carddav_password == "book-e"
    assert found.carddav_username == "me@example.org"


def test_a_credential_wins_over_its_variable_one_by_one(tmp_path: Path) -> None:
    found = load_credentials({**ENVIRONMENT, **in_directory(tmp_path, jmap_token=b"token-d\n")})
    assert (found.jmap_token, found.jmap_password) == ("token-d", "password-e")
    assert found.sources == {
        "jmap-token": "set (from the credentials directory)",
        "jmap-password": "set (from the environment)",
        "carddav-password": "set (from the environment)",
    }


def test_what_systemd_has_decrypted_wins(tmp_path: Path) -> None:
    (tmp_path / "jmap-token.encrypted").write_bytes(b"new")
    found = load_credentials({**ENVIRONMENT, **in_directory(tmp_path, jmap_token=b"old")})
    assert found.jmap_token == "new"
    assert found.sources["jmap-token"] == "set (from the credentials directory)"


def test_an_account_without_a_secret_gets_the_shared_ones_and_tells_its_own() -> None:
    own = {"jmap-password": "not set", "carddav-password": "in anna's file"}
    shared = {"jmap-password": "in the file of all", "carddav-password": "not set"}
    credentials = Credentials(carddav_password="own", sources=own).or_shared(
        Credentials(jmap_password="shared", sources=shared)
    )
    assert (credentials.jmap_password, credentials.carddav_password) == ("shared", "own")
    assert credentials.sources["jmap-password"] == "in the file of all"
    assert credentials.sources["carddav-password"] == "in anna's file"
    assert credentials.is_shared


def test_nothing_set_is_no_error_until_somebody_wants_to_log_in() -> None:
    found = load_credentials({"MAILROOM_JMAP_TOKEN": ""})
    assert set(found.sources.values()) == {"not set"}
    with pytest.raises(ConfigurationError) as caught:
        logins(Config(), found)
    assert caught.value.problems == (NO_MAIL_SECRET,)


def test_a_token_alone_is_enough_where_contacts_may_go_by_jmap() -> None:
    found = logins(Config(), Credentials(jmap_token="t"))
    assert (found.jmap, found.carddav) == (Bearer("t"), None)
    assert logins(own_server(url="dav.example.org"), Credentials(jmap_password="p")).carddav is None


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"a", "a"),
        (b"a\n", "a"),
        (b"a\r\n", "a"),
        (b" a ", " a "),
        ("pä 🔑".encode(), "pä 🔑"),
    ],
)
def test_one_newline_at_the_end_is_not_of_the_secret(
    tmp_path: Path, content: bytes, secret: str
) -> None:
    assert load_credentials(in_directory(tmp_path, jmap_password=content)).jmap_password == secret


MALFORMED = [
    (b"", "the credential {} is empty; write the secret into it"),
    (b"\n", "the credential {} is empty; write the secret into it"),
    (b"hunter2\xff", "the credential {} is not UTF-8; write it again"),
    *(
        (
            content,
            "the credential {} has a control character or more than one line; "
            "write the bare secret into it, one line",
        )
        for content in (b"hunter2\nx", b"hunter2\n\n", b"\thunter2", b"hunter2\x00", b"hunter2\x7f")
    ),
    *(
        (
            content,
            "the credential {} has characters that no token has (RFC 6750, section 2.1); "
            "write the bare secret into it, one line",
        )
        for content in (b"Bearer hunter2", "hunter2ä".encode())
    ),
]


@pytest.mark.parametrize(("content", "told"), MALFORMED)
def test_a_malformed_secret_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_credentials(in_directory(tmp_path, jmap_token=content))
    assert caught.value.problems == (told.format(tmp_path / "jmap-token"),)
    assert caught.value.__cause__ is None


def test_all_malformed_secrets_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "jmap-token").mkdir()
    environ = {
        **in_directory(tmp_path, carddav_password=b""),
        "MAILROOM_JMAP_PASSWORD": "a\nb",
        "MAILROOM_CARDDAV_USERNAME": "me:hunter2",
    }
    with pytest.raises(ConfigurationError) as caught:
        load_credentials(environ)
    assert caught.value.problems == (
        f"cannot read the credential {tmp_path}/jmap-token: Is a directory; "
        "check its owner and mode",
        "$MAILROOM_JMAP_PASSWORD has a control character or more than one line; "
        "write the bare secret into it, one line",
        f"the credential {tmp_path}/carddav-password is empty; write the secret into it",
        "$MAILROOM_CARDDAV_USERNAME has a ':' or a control character; correct it",
    )


def test_a_token_is_preferred_to_a_password() -> None:
    found = logins(own_server(), load_credentials(ENVIRONMENT))
    assert found.jmap == Bearer("token-e")
    assert found.carddav == Basic("me@example.org", "book-e")
    assert found.carddav_secret == "carddav-password"


def test_one_password_serves_one_origin() -> None:
    found = logins(own_server(), Credentials(jmap_password="p"))
    assert found.jmap == found.carddav == Basic("me", "p")
    assert found.carddav_secret == "jmap-password"  # what to check when it is refused


def test_one_server_is_not_asked_two_secrets_of() -> None:
    with pytest.raises(ConfigurationError) as caught:
        logins(own_server(), Credentials())
    assert len(caught.value.problems) == 1
    assert "jmap-password" in caught.value.problems[0]
    with pytest.raises(ConfigurationError) as caught:
        logins(by_carddav(own_server(url="dav.example.org")), Credentials())
    assert len(caught.value.problems) == 2


def test_a_token_is_no_password_of_the_address_book() -> None:
    with pytest.raises(ConfigurationError) as caught:
        logins(by_carddav(own_server()), Credentials(jmap_token="t"))
    assert caught.value.problems == (NO_BOOK_SECRET.format("https://mail.example.org"),)


def test_a_password_is_not_carried_to_another_origin() -> None:
    with pytest.raises(ConfigurationError) as caught:
        logins(by_carddav(own_server(url="dav.example.org")), Credentials(jmap_password="p"))
    assert caught.value.problems == (NO_BOOK_SECRET.format("https://dav.example.org"),)


def test_a_password_needs_a_user_name() -> None:
    config = parse("jmap: {url: mail.example.org}", "FILE")
    with pytest.raises(ConfigurationError) as caught:
        logins(config, Credentials(jmap_password="p"))
    assert caught.value.problems == (
        "a password needs a user name: set jmap.username in the configuration",
    )


@pytest.mark.parametrize(
    ("carddav", "variable", "expected"),
    [({"username": "file"}, "variable", "file"), ({}, "variable", "variable"), ({}, None, "me")],
)
def test_the_address_books_user_is_the_most_precise_one_named(
    carddav: dict[str, str], variable: str | None, expected: str
) -> None:
    credentials = Credentials(jmap_token="t", carddav_password="p", carddav_username=variable)
    assert logins(own_server(**carddav), credentials).carddav == Basic(expected, "p")


def test_without_any_user_name_the_session_is_asked() -> None:
    credentials = Credentials(jmap_token="t", carddav_password="p")
    assert logins(Config(), credentials).carddav == Basic(None, "p")


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    credentials = load_credentials({**ENVIRONMENT, **in_directory(tmp_path, jmap_token=b"token-d")})
    shown = (
        repr(credentials)
        + repr(logins(Config(), credentials))
        + repr(logins(own_server(), Credentials(jmap_password="password-e")))
        + effective(Config(), credentials.sources)
    )
    for secret in ("token-d", "token-e", "password-e", "book-e"):
        assert secret not in shown
    assert "# jmap-token: set (from the credentials directory)\n" in shown
