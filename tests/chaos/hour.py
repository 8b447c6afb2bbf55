"""A real hour of Debian's own Mailroom under systemd: Cyrus, taps without a pause, a path that is
cut every ten seconds. After the warm-up nothing grows, and no label is missed."""

import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.relay import Relay, staged
from tests.chaos.table import Case
from tests.system.scene import CATEGORIES, Scene

_SECONDS = 3600.0
_WARM_UP = 0.2  # of the time; all senders have been met by then
_DROP_SECONDS, _POLL_SECONDS = 10.0, 10
# A reconnect may take a minute, and so may a poll that failed.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.5
_SENDERS, _MAILS_EACH, _AT_ONCE = 30, 2, 4
_PARENTS = {"Person": "Imbox", "Billboard": "Paper Trail", "Truck": "Paper Trail"}
# How many connections a poll keeps open depends on what it did; a leak is one a minute or more.
_KEPT = 4
_SEED = 6
_MIB = 1 << 20


class Hour:
    """One process that is never restarted, and a user who is never content."""

    def __init__(self, scene: Scene, relay: Relay) -> None:
        self.taps = 0
        self._scene = scene
        self._relay = relay
        self._chance = random.Random(_SEED)
        self._pid = scene.unit.status()["pid"]
        self._cuts = 0
        self._next_cut = time.monotonic() + _DROP_SECONDS
        self._names = {identifier: name for name, identifier in scene.mailboxes.items()}
        self._senders = [f"s{number}@example{number % 3}.org" for number in range(_SENDERS)]
        scene.screen(*[f"Sender <{sender}>" for sender in self._senders * _MAILS_EACH])

    def live(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tap_some()

    def size(self) -> tuple[int, int]:
        """Bytes of memory and open files, once all is quiet and no old connection is left."""
        unit = self._scene.unit
        connects = unit.status()["eventsource"]["reconnect_count"]
        self._relay.cut(streams_only=False, resets=True)

        def is_quiet(status: dict[str, Any]) -> bool:
            stream = status["eventsource"]
            is_new = stream["reconnect_count"] > connects and stream["connected"]
            return bool(is_new) and status["phase"] == "idle"

        assert unit.await_status(is_quiet, _PATIENCE_SECONDS)["pid"] == self._pid, "it died"
        process = Path(f"/proc/{unit.host.leader}/root/proc/{self._pid}")
        pages = int((process / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE"), len(list((process / "fd").iterdir()))

    def _tap_some(self) -> None:
        """A few senders at once, each to another place; until all of them are there."""
        chance = self._chance
        wanted = {
            sender: chance.choice([*CATEGORIES, "Screener"])
            for sender in chance.sample(self._senders, chance.randint(1, _AT_ONCE))
        }
        mails = self._mails()
        for sender, name in wanted.items():
            entry = chance.choice([mail for mail in mails if _sender(mail) == sender])
            label = self._scene.mailboxes[f"@To{name.replace(' ', '')}"]
            self._scene.user.patch(entry["id"], {label: True})
        self.taps += len(wanted)
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while missed := self._missed(wanted):
            assert time.monotonic() < give_up_at, (missed, self._scene.unit.status())
            self._cut_when_due()
            time.sleep(_LOOK_SECONDS)

    def _missed(self, wanted: dict[str, str]) -> list[Any]:
        """The mails that are not where their sender's category wants them, Inbox aside."""
        missed = []
        for mail in self._mails():
            name = wanted.get(_sender(mail))
            places = {self._names[box] for box in mail["mailboxIds"]} - {"Inbox"}
            if name and places != {name, _PARENTS.get(name, name)}:
                missed.append((_sender(mail), name, places))
        return missed

    def _mails(self) -> list[dict[str, Any]]:
        account = {"accountId": self._scene.user.name}
        source = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
        properties = ["id", "mailboxIds", "from"]
        answers = self._scene.user.jmap(
            ("Email/query", account, "0"),
            ("Email/get", {**account, "#ids": source, "properties": properties}, "1"),
        )
        mails: list[dict[str, Any]] = answers[1][1]["list"]
        assert len(mails) == _SENDERS * _MAILS_EACH
        return mails

    def _cut_when_due(self) -> None:
        """In turn the stream and all connections, by FIN and by RST."""
        if time.monotonic() >= self._next_cut:
            self._next_cut = time.monotonic() + _DROP_SECONDS
            self._relay.cut(streams_only=self._cuts % 2 == 0, resets=self._cuts % 4 < 2)
            self._cuts += 1


def cases() -> Iterator[Case]:
    yield Case(f"{_SECONDS:.0f} s", partial(live, _SECONDS))


def live(seconds: float) -> float:
    """MiB by which the service has grown since it was warm."""
    with staged(_POLL_SECONDS) as (scene, relay):
        hour = Hour(scene, relay)
        hour.live(seconds * _WARM_UP)
        size, files = hour.size()
        hour.live(seconds * (1 - _WARM_UP))
        size_now, files_now = hour.size()
        assert files_now <= files + _KEPT, f"{files_now} open files, {files} when it was warm"
        assert not scene.unit.events("sender_failed")
        return max(0.0, (size_now - size) / _MIB)


def _sender(mail: dict[str, Any]) -> str:
    address: str = mail["from"][0]["email"]
    return address
