"""Where secrets are kept: whole or not at all, encrypted where the host can, shown nowhere."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailroom.engine.credstore import StoredSecret, remove, store, stored
from mailroom.engine.unit import Installation, find
from mailroom.errors import MailroomError

# It stands in for a host's key: what it makes can be read by itself alone, under the same name.
CREDS = """#!/usr/bin/python3
import os, sys
verb, *options = sys.argv[1:]
assert options[-2:] == ["-", "-"], options
[name] = [each for each in options if each.startswith("--name=")]
content = sys.stdin.buffer.read()
head = f"sealed {name}:".encode()
with open(os.environ["CALLS"], "a") as calls:
    print(*sys.argv, file=calls)
if verb == "encrypt":
    sys.stdout.buffer.write(head + content[::-1])
elif content.startswith(head) and WORKS:
    sys.stdout.buffer.write(content[len(head):][::-1])
else:
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host without systemd-creds, but for a test that calls :func:`able`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path


def able(host: Path, *, works: bool = True) -> None:
    program = host / "bin/systemd-creds"
    program.write_text(CREDS.replace("WORKS", str(works)))
    program.chmod(0o755)


def system(host: Path, account: str | None = None) -> Installation:
    return find({}, account=account, euid=0, root=host)


def user(host: Path) -> Installation:
    (host / ".config/mailroom").mkdir(parents=True)
    (host / ".config/mailroom/mailroom.yaml").touch()
    return find({"HOME": str(host)}, euid=1000, root=host)


def files(host: Path) -> dict[str, int]:
    """Every file of a secret, with its mode."""
    found = (path for path in host.rglob("*jmap-*") if path.is_file())
    return {str(path.relative_to(host)): stat.S_IMODE(path.stat().st_mode) for path in found}


def test_where_the_host_cannot_encrypt_root_alone_can_read_it(host: Path) -> None:
    done = store(system(host), "jmap-token", "secret")
    assert done == StoredSecret(host / "etc/credstore/mailroom.jmap-token", is_encrypted=False)
    assert files(host) == {"etc/credstore/mailroom.jmap-token": 0o600}
    assert done.path.read_text() == "secret"
    assert stat.S_IMODE(done.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("account", [None, "office"])
def test_it_is_encrypted_where_the_host_can(host: Path, account: str | None) -> None:
    able(host)
    done = store(system(host, account), "jmap-token", "secret")
    name = "mailroom.office.jmap-token" if account else "mailroom.jmap-token"
    assert files(host) == {f"etc/credstore.encrypted/{name}.encrypted": 0o600}
    assert done.is_encrypted
    assert b"secret" not in done.path.read_bytes()
    assert stored(system(host, account)) == {"jmap-token": "secret"}


def test_what_could_not_be_decrypted_again_is_not_relied_on(host: Path) -> None:
    able(host, works=False)
    assert not store(system(host), "jmap-token", "secret").is_encrypted
    assert files(host) == {"etc/credstore/mailroom.jmap-token": 0o600}


def test_no_argument_has_the_secret(host: Path) -> None:
    able(host)
    store(system(host), "jmap-token", "hunter2")
    stored(system(host))
    calls = (host / "calls").read_text()
    assert calls.count("--name=jmap-token.encrypted") == 3
    assert "hunter2" not in calls


def test_the_other_form_of_it_goes(host: Path) -> None:
    store(system(host), "jmap-token", "plain")
    able(host)
    store(system(host), "jmap-token", "sealed")
    assert stored(system(host)) == {"jmap-token": "sealed"}
    assert list(files(host)) == ["etc/credstore.encrypted/mailroom.jmap-token.encrypted"]
    (host / "bin/systemd-creds").unlink()
    store(system(host), "jmap-token", "plain again")
    assert stored(system(host)) == {"jmap-token": "plain again"}
    assert list(files(host)) == ["etc/credstore/mailroom.jmap-token"]


def test_of_two_the_encrypted_one_counts(host: Path) -> None:
    """The plain one is older then: it goes after the other has come."""
    able(host)
    store(system(host), "jmap-token", "new")
    (host / "etc/credstore").mkdir()
    (host / "etc/credstore/mailroom.jmap-token").write_text("old\n")
    assert stored(system(host)) == {"jmap-token": "new"}


def test_a_users_stands_beside_the_configuration(host: Path) -> None:
    able(host)
    done = store(user(host), "jmap-password", "secret")
    assert done == StoredSecret(host / ".config/mailroom/jmap-password", is_encrypted=False)
    assert files(host) == {".config/mailroom/jmap-password": 0o600}


def test_a_loose_file_becomes_a_tight_one(host: Path) -> None:
    store(system(host), "jmap-token", "old")
    path = host / "etc/credstore/mailroom.jmap-token"
    path.chmod(0o644)
    store(system(host), "jmap-token", "new")
    assert (files(host)[str(path.relative_to(host))], path.read_text()) == (0o600, "new")


def test_removing_takes_both_and_says_what_is_gone(host: Path) -> None:
    assert remove(system(host), "jmap-token") == []
    done = store(system(host), "jmap-token", "secret")
    assert remove(system(host), "jmap-token") == [done.path]
    assert stored(system(host)) == {}


def test_what_cannot_be_written_leaves_what_was(host: Path) -> None:
    (host / "etc/credstore/mailroom.jmap-token").mkdir(parents=True)
    with pytest.raises(MailroomError, match=r"cannot write the secret to .*: Is a directory"):
        store(system(host), "jmap-token", "hunter2")
    assert [path.name for path in (host / "etc/credstore").iterdir()] == ["mailroom.jmap-token"]


def test_what_another_host_encrypted_is_told(host: Path) -> None:
    able(host)
    path = store(system(host), "jmap-token", "secret").path
    path.write_bytes(b"another host's")
    with pytest.raises(MailroomError) as caught:
        stored(system(host))
    assert str(caught.value) == (
        f"the secret {path} cannot be decrypted here: store it again by `mailroom login`"
    )


def member(host: Path, name: str) -> Installation:
    folder = host / "etc/mailroom/accounts.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").touch()
    return find({}, account=name, euid=0, root=host)


@pytest.mark.parametrize("is_able", [False, True])
def test_those_of_many_accounts_are_lines_of_one_file(host: Path, is_able: bool) -> None:
    if is_able:
        able(host)
    anna, otto = member(host, "anna"), member(host, "otto@x.org")
    store(anna, "jmap-token", "t1")
    store(otto, "jmap-password", "p2")
    done = store(anna, "carddav-password", "c1")
    suffix = "/mailroom.account-secrets"
    assert str(done.path.relative_to(host)) == (
        f"etc/credstore.encrypted{suffix}.encrypted" if is_able else f"etc/credstore{suffix}"
    )
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert stored(anna) == {"jmap-token": "t1", "carddav-password": "c1"}
    assert stored(otto) == {"jmap-password": "p2"}
    assert stored(system(host)) == {}
    assert remove(anna, "jmap-token") == [done.path]
    assert remove(anna, "jmap-token") == []
    assert stored(anna) == {"carddav-password": "c1"}
    assert stored(otto) == {"jmap-password": "p2"}


def test_more_than_systemd_hands_over_is_not_stored(host: Path) -> None:
    anna = member(host, "anna")
    store(anna, "jmap-token", "t1")
    with pytest.raises(MailroomError, match="more than 1000000 bytes"):
        store(member(host, "otto"), "jmap-password", "x" * 1_000_000)
    assert stored(anna) == {"jmap-token": "t1"}


def test_who_stores_at_the_same_time_loses_nothing(host: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from mailroom.engine.credstore import store\n"
        "from mailroom.engine.unit import find\n"
        "for number in range(20):\n"
        "    store(find({}, account=sys.argv[2], euid=0, root=Path(sys.argv[1])),"
        " 'jmap-token', f't{number}')\n"
    )
    names = [f"a{number}" for number in range(4)]
    whose = [member(host, name) for name in names]
    children = [subprocess.Popen([sys.executable, "-c", code, str(host), name]) for name in names]
    assert [child.wait(60) for child in children] == [0] * 4
    assert [stored(each) for each in whose] == [{"jmap-token": "t19"}] * 4
