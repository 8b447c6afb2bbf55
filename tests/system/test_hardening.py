"""The walls around the service: each attempt is refused, and is not without its directives."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claims import Claims
from tests.system.host import Host
from tests.system.unit import PROJECT, SERVICE, Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROBE = "/usr/lib/mailroom/probe.py"
ANSWER = "/run/answer.json"

# What is to be refused -> the directives to take away, besides DynamicUser, until it is not.
WALLS: dict[str, dict[str, str]] = {
    "write to /usr": {"ProtectSystem": "no", "BindReadOnlyPaths": "", "NoExecPaths": ""},
    "write to /etc": {"ProtectSystem": "no"},
    "write to /var": {"ProtectSystem": "no"},
    "write to /run": {"ReadOnlyPaths": ""},
    "write to /tmp": {"InaccessiblePaths": ""},
    "read a home": {"ProtectHome": "no"},
    "see what others have in /tmp": {"PrivateTmp": "no", "InaccessiblePaths": ""},
    "see a device": {"PrivateDevices": "no"},
    "see another process": {"ProtectProc": "default"},
    "see the machine": {"ProcSubset": "all"},
    "run a program of its own": {"InaccessiblePaths": ""},
    "run a program of others": {"NoExecPaths": ""},
    "make a program set-user-id": {"RestrictSUIDSGID": "no", "InaccessiblePaths": ""},
    "make a namespace": {"RestrictNamespaces": "no"},
    "write code and run it": {"MemoryDenyWriteExecute": "no"},
    "change its personality": {"LockPersonality": "no"},
    "change its priority": {"SystemCallFilter": ""},
    "open a netlink socket": {"RestrictAddressFamilies": ""},
    "listen": {"SocketBindDeny": ""},
}
# Debian 12 builds its systemd without the BPF that this takes.
NOT_SHOWN = {"bookworm": {"listen"}}


class Prober:
    """Makes attempts on a host, under the unit's directives."""

    def __init__(self, host: Host) -> None:
        self.unit = Unit(host)
        self.unit.configure("")
        host.write(PROBE, (PROJECT / "tests/system/probe.py").read_text())
        host.run("touch", "/tmp/of-others")
        host.run("install", "--mode=755", "/usr/bin/true", "/run/program")

    def outside(self) -> dict[str, str]:
        """The outcomes of all attempts where nothing is in the way."""
        return self._read(self.unit.host.run("python3", PROBE, *WALLS).stdout)

    def inside(self, *attempts: str, **relaxed: str) -> dict[str, str]:
        """The outcomes of the attempts as the service, some directives being others."""
        self.unit.host.run("rm", "-f", ANSWER)
        words = " ".join(f'"{attempt}"' for attempt in attempts)
        self.unit.override(
            Type="oneshot",
            ExecStart=f"\nExecStart=/usr/bin/python3 {PROBE} {words}",
            StandardOutput=f"append:{ANSWER}",
            Restart="no",
            **relaxed,
        )
        self.unit.systemctl("start")
        return self._read(self.unit.host.read(ANSWER))

    @staticmethod
    def _read(printed: str) -> dict[str, str]:
        outcomes: dict[str, str] = json.loads(printed)
        return outcomes


@pytest.fixture(scope="module")
def prober(each_tree: Path) -> Iterator[Prober]:
    with Host.boot(each_tree) as host:
        yield Prober(host)


@pytest.fixture(scope="module")
def newest(tree: Path) -> Iterator[Prober]:
    with Host.boot(tree) as host:
        yield Prober(host)


def test_every_attempt_is_refused_inside_and_none_outside(prober: Prober, claims: Claims) -> None:
    release = prober.unit.release
    assert set(prober.outside().values()) == {"done"}
    shown = set(WALLS) - NOT_SHOWN.get(release, set())
    done = [attempt for attempt, outcome in prober.inside(*shown).items() if outcome == "done"]
    claims.at_most(0, len(done), release, f"hardening: of {len(WALLS)} attempts, not refused")
    assert done == []


@pytest.mark.parametrize("attempt", WALLS)
def test_it_is_the_directives_that_refuse_it(newest: Prober, attempt: str) -> None:
    relaxed = {"DynamicUser": "no"} | WALLS[attempt]
    assert newest.inside(attempt, **relaxed) == {attempt: "done"}


def test_the_service_has_no_privilege_and_its_own_view_of_the_kernel(prober: Prober) -> None:
    unit, host = prober.unit, prober.unit.host
    unit.override(Type="exec", ExecStart="\nExecStart=sleep infinity")
    unit.systemctl("start")
    pid = unit.show("MainPID")
    lines = host.read(f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "0" * 16
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert "0" not in status["Uid"].split()
    for kind in ("user", "mnt", "ipc", "uts"):
        ours, its = (host.run("readlink", f"/proc/{who}/ns/{kind}").stdout for who in (1, pid))
        assert its != ours, kind
    host.run("systemctl", "stop", SERVICE)
