"""A service by script: who waits, what is decided, what is refused, on a real Unix socket."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mailroom.engine.loop import Loop
from tests.peer import Asked, End, Peer, Step, answer, head

CATEGORIES = ("Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck")
NOW = datetime.now(UTC)


class ScriptedService:
    """Answers the requests of the screen; ``decisions`` are those that were carried out."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.path = path
        self.waiting: dict[str, dict[str, Any]] = {}
        self.gone: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        self.asked: list[str] = []
        self.decisions: list[tuple[str, str | None]] = []
        self.categories: dict[str, str] = {}
        self.refused: dict[str, tuple[str, str]] = {}
        self.holds: set[str] = set()
        self.has_events = False
        self._held: list[tuple[Asked, Any]] = []
        self.listeners: list[Any] = []
        self._loop = loop
        self._numbers = 0
        self.peer: Peer | None = None
        self.start()

    def start(self) -> None:
        self.peer = Peer(self._loop, self._script, path=self.path)

    def stop(self) -> None:
        """It is gone, and its socket with it."""
        self.close()
        self.path.unlink()

    def close(self) -> None:
        if self.peer is not None:
            self.peer.__exit__(None, None, None)
        self.peer = None
        self.listeners.clear()

    def arrive(
        self,
        address: str,
        name: str,
        subject: str,
        minutes: float = 0,
        mails: int = 1,
        text: str = "",
    ) -> None:
        """Mail of a sender who waits now; the newest is first."""
        self._numbers += 1
        at = (NOW - timedelta(minutes=minutes)).isoformat(timespec="milliseconds")
        newest = {"id": f"M{self._numbers}", "subject": subject, "received_at": at}
        self.texts[newest["id"]] = text or f"The text of {subject}."
        sender = {"address": address, "name": name, "mails": mails, "newest": newest, "since": at}
        self.waiting = {address: sender, **self.waiting}
        self.tell(changed=[sender])

    def tell(self, *, changed: Iterable[Any] = (), gone: Iterable[str] = ()) -> None:
        """Tell all who listen to events who waits now and did not, or the reverse."""
        document = {"changed": list(changed), "gone": list(gone), "is_complete": True}
        for listener in self.listeners:
            listener.do(f"event: waiting\ndata: {json.dumps(document)}\n\n".encode())

    def release(self) -> None:
        """Carry out what was held back."""
        held, self._held, self.holds = self._held, [], set()
        for asked, connection in held:
            connection.do(*self._triage(json.loads(asked.body)))

    def _script(self, asked: Asked) -> Iterable[Step]:  # noqa: PLR0911 - a table of answers
        assert self.peer is not None
        url = urlsplit(asked.target)
        self.asked.append(url.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match asked.method, url.path:
            case "GET", "/categories":
                named = [
                    {"name": name, "label": f"@To{name}", "parent": None} for name in CATEGORIES
                ]
                return _said({"categories": named, "screener": "Screener"})
            case "GET", "/waiting":
                return _said(self._list())
            case "GET", "/mail" if query["id"] in self.texts:
                return _said(self._mail(query["id"]))
            case "POST", "/triage":
                decision = json.loads(asked.body)
                if decision["address"] in self.holds:
                    self._held.append((asked, self.peer.asking))
                    return ()
                return self._triage(decision)
            case "GET", "/events" if self.has_events:
                self.listeners.append(self.peer.asking)
                return [head("Content-Type: text/event-stream")]
        return _said({"error": f"nothing at {asked.target}"}, "404 Not Found")

    def _list(self) -> dict[str, Any]:
        waiting = list(self.waiting.values())
        mails = sum(each["mails"] for each in waiting)
        oldest = min((each["since"] for each in waiting), default=None)
        return {"senders": len(waiting), "mails": mails, "oldest": oldest, "waiting": waiting}

    def _mail(self, mail: str) -> dict[str, Any]:
        senders = [*self.waiting.values(), *self.gone.values()]
        sender = next(each for each in senders if each["newest"]["id"] == mail)
        newest = sender["newest"]
        return {
            **newest,
            "from": [{"name": sender["name"], "email": sender["address"]}],
            "to": [],
            "text": self.texts[mail],
            "is_truncated": False,
            "attachments": [],
        }

    def _triage(self, decision: dict[str, Any]) -> Iterable[Step]:
        address, category = decision["address"], decision["category"]
        if address in self.refused:
            status, reason = self.refused[address]
            return _said({"error": reason}, status)
        self.decisions.append((address, category))
        previous = self.categories.pop(address, None)
        sender = self.waiting.pop(address, None) or self.gone.pop(address)
        if category is None:
            self.waiting = {address: sender, **self.waiting}
            self.tell(changed=[sender])
        else:
            self.categories[address] = category
            self.gone[address] = sender
            self.tell(gone=[address])
        done = {"address": address, "category": category, "previous": previous, "by": "anna"}
        return _said({**done, "filed": sender["mails"]})


def _said(document: dict[str, Any], status: str = "200 OK") -> list[Step]:
    return [answer(json.dumps(document).encode(), status, "Content-Type: application/json")]


__all__ = ["CATEGORIES", "NOW", "End", "ScriptedService"]
