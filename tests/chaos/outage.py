"""The path to the server fails, as the service sees it: run in namespaces of its own, in real time.

The name server and the door to the sandbox are ours, the service is a process. It is started while
the path fails already; later the path fails again while it is at work.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.door import NAME, Door, certify
from tests.chaos.faults import most_in_a_minute
from tests.process import SECRET, Process, configuration
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Sandbox, serve
from tests.silent_names import bring_loopback_up, use_name_server_of_ours
from tests.system.names import NameServer, udp_socket

# libcurl knows a name for a minute: only then a name server is asked again, and missed.
OUTAGE_SECONDS = 75.0
# The longest wait between two attempts, and what an attempt takes; twice, for the first may go to
# an address that libcurl still knows.
RECOVERY_SECONDS = 150.0
_STEP_SECONDS = 0.25
_POLL_SECONDS = 5
# Twice; and whatever poll a connection was cut under, before a forgotten name is missed.
_MOST_TOLD = 6
# More patient with a silent name server than the service is.
_RESOLVER = "timeout:20 attempts:1"
_SERVFAIL, _NXDOMAIN = 2, 3
_NOT_TRUSTED = "its certificate is not trusted"


@dataclass(frozen=True, slots=True)
class Site:
    """The path, the service at one end and the server at the other."""

    names: NameServer
    door: Door
    sandbox: Sandbox
    process: Process

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.process.ask("/status")[1]
        return document

    def until(self, reached: Callable[[], bool], seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < give_up_at, self.process.log
            self.process.hear(_STEP_SECONDS)


@dataclass(frozen=True, slots=True)
class Outage:
    """A way to fail, and a part of what the user is told."""

    says: str
    begin: Callable[[Site], None]


def _error(code: int) -> Callable[[Site], None]:
    return lambda site: setattr(site.names, "error", code)


def _show(certificate: str) -> Callable[[Site], None]:
    return lambda site: site.door.show(certificate)


def _fall_silent(site: Site) -> None:
    site.names.is_silent = True


def _lead_astray(site: Site) -> None:
    site.names.address = "127.0.0.2"


OUTAGES: Mapping[str, Outage] = {
    "connections are refused": Outage("nobody answers there", lambda site: site.door.close()),
    "the certificate has expired": Outage("its certificate has expired", _show("expired")),
    "the certificate is another host's": Outage("that of another host", _show("another")),
    "nobody known vouches for it": Outage(f"{_NOT_TRUSTED} (if it is", _show("unknown")),
    "the name server is silent": Outage("the name was not resolved within 10 s", _fall_silent),
    "NXDOMAIN": Outage("the name does not resolve", _error(_NXDOMAIN)),
    "SERVFAIL": Outage("the name does not resolve", _error(_SERVFAIL)),
    "the name leads astray": Outage("nobody answers there", _lead_astray),
}


def main(name: str, by: str) -> None:
    """Suffer it twice, and print the most attempts that there were in a minute; ``by`` is the way
    of contacts."""
    outage = OUTAGES[name]
    bring_loopback_up()
    use_name_server_of_ours(_RESOLVER)
    with _site(outage, by) as site:
        most = [_suffer(site, outage, OUTAGE_SECONDS / 2)]
        _recover(site, "bob@example.org")
        outage.begin(site)
        most.append(_suffer(site, outage, OUTAGE_SECONDS))
        _recover(site, "eve@example.org")
        _check_told(site, outage)
    sys.stdout.write(str(max(most)))


@contextmanager
def _site(outage: Outage, by: str) -> Iterator[Site]:
    """The service starts on a path that fails already."""
    sandbox = Sandbox(CYRUS_3_13 if by == "jmap" else CYRUS_3_10, password=SECRET)
    sandbox.standard_account()
    with (
        tempfile.TemporaryDirectory() as name,
        serve(sandbox) as running,
        NameServer(udp_socket()) as names,
    ):
        folder = Path(name)
        certify(folder)
        door = Door(folder, int(running.url.rpartition(":")[2]))
        config = configuration(
            folder,
            f"https://{NAME}",
            jmap={"url": f"https://{NAME}/jmap/", "username": "alice"},
            carddav={"url": f"https://{NAME}/dav/addressbooks/user/alice/Default/"},
            contacts={"by": by},
            tls={"ca_file": f"{folder}/ca.pem"},
            polling={"poll_interval": _POLL_SECONDS},
        )
        with Process(folder, config) as process:
            site = Site(names, door, sandbox, process)
            outage.begin(site)
            process.until_told("READY=1")
            yield site


def _suffer(site: Site, outage: Outage, seconds: float) -> float:
    """No connection outlives its use; the most attempts in a minute of it."""
    attempts: list[float] = []
    end = time.monotonic() + seconds
    known = site.status()["totals"]["requests"]
    while (now := time.monotonic()) < end:
        site.process.hear(_STEP_SECONDS)
        status = site.status()
        if status["phase"] != "polling":
            site.door.clear()
        made = status["totals"]["requests"]
        attempts += [now] * (made - known)
        known = made
    code, health = site.process.ask("/healthz")
    assert code == 503, health
    assert outage.says in site.status()["last_error"]["reason"], site.status()["last_error"]
    site.process.hear()
    assert "polls fail" in _latest_status(site), _latest_status(site)
    return most_in_a_minute(attempts)


def _recover(site: Site, sender: str) -> None:
    """It mends itself, and a label that waited is worked on."""
    with site.sandbox.lock:
        mail = site.sandbox.deliver(f"Sender <{sender}>", mailbox="Screener")
        site.sandbox.label(mail, "@ToFeed")
    site.names.error, site.names.is_silent, site.names.address = 0, False, "127.0.0.1"
    site.door.show("good")
    site.door.reopen()

    def is_well() -> bool:
        with site.sandbox.lock:
            is_filed = site.sandbox.mailboxes_of(mail) == {"Feed"}
        return is_filed and bool(site.status()["eventsource"]["connected"])

    site.until(is_well, RECOVERY_SECONDS)
    assert site.process.ask("/healthz")[0] == 200
    site.process.until(lambda: "polls fail" not in _latest_status(site), "a status without trouble")


def _check_told(site: Site, outage: Outage) -> None:
    """It was told when it began, not with every attempt; nothing has crashed."""
    told = [line for line in site.process.log.splitlines() if line.startswith("poll_failed ")]
    assert outage.says in told[0], told
    assert len(told) <= _MOST_TOLD, told
    assert "Traceback" not in site.process.log
    assert site.process.stop()[0] == 0


def _latest_status(site: Site) -> str:
    return [message for message in site.process.messages if message.startswith("STATUS=")][-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
