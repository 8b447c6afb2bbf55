"""A service that only speaks: both sockets, for what no mail server can be made to say quickly.

``python3 scripted.py FOLDER SEED`` in a test host: it listens on FOLDER/control.sock and
FOLDER/status.sock and answers as the service would, from what the file SEED says (seeds.py). It
knows no mail and no rules: it only remembers. Needs nothing beyond the standard library.
"""

import grp
import json
import os
import queue
import socketserver
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

CATEGORIES = ("Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck")
PARENTS = {"Person": "Imbox", "Billboard": "Paper Trail", "Truck": "Paper Trail"}
PING_SECONDS = 15.0
Answer = tuple[int, dict[str, Any]]
Readers = list["queue.Queue[tuple[str, dict[str, Any]]]"]


class State:
    """What is remembered of an account; ``name`` is that of one of several, whose events all go to
    the same ``readers``."""

    def __init__(
        self, seed: dict[str, Any], name: str = "", readers: "Readers | None" = None
    ) -> None:
        self.waiting: dict[str, dict[str, Any]] = {
            each["address"]: each for each in seed["waiting"]
        }
        self.senders: dict[str, dict[str, Any]] = {
            each["address"]: each for each in seed["senders"]
        }
        self.seed = seed
        self.filed: dict[str, dict[str, Any]] = {}
        self.polls = 0
        self.name = name
        self.health = "ok" if seed["status"]["status"] == "ok" else "unhealthy"
        self.readers: Readers = [] if readers is None else readers

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        whose = {"account": self.name} if self.name else {}
        for reader in self.readers:
            reader.put((kind, whose | data))

    def summary(self) -> dict[str, Any]:
        since = [each["since"] for each in self.waiting.values()]
        mails = sum(each["mails"] for each in self.waiting.values())
        return {"senders": len(since), "mails": mails, "oldest": min(since, default=None)}


class Handler(BaseHTTPRequestHandler):
    """One request. ``server.may``: it came by the control socket."""

    protocol_version = "HTTP/1.1"
    server: Any

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = self._take_account(url.path)
        members: dict[str, State] = self.server.members
        if path == "/events":
            self._stream()
        elif path == "/accounts" and members:
            listed = [{"account": name, "status": each.health} for name, each in members.items()]
            self._send(200, {"accounts": listed})
        else:
            self._send(*self._get(path, dict(parse_qsl(url.query))))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(*self._post(self._take_account(self.path), json.loads(body or b"{}")))

    def _take_account(self, path: str) -> str:
        """Answer for the account that the path names; the rest of the path."""
        self.state: State = self.server.state
        if not path.startswith("/accounts/"):
            return path
        _, _, name, rest = path.split("/", 3)
        self.state = self.server.members[unquote(name)]
        return f"/{rest}"

    def _get(self, path: str, query: dict[str, str]) -> Answer:
        state = self.state
        if path == "/status" and self.server.members and not state.name:
            return 200, {"status": "ok", "members": []}
        if path == "/status":
            counts = {"waiting": state.summary(), "poll_count": state.polls}
            return 200, state.seed["status"] | counts
        if not self.server.may:
            return 403, {"error": f"{path} needs the control socket: group mailroom-control"}
        answers = {
            "/categories": self._categories,
            "/waiting": self._waiting,
            "/mail": self._mail,
            "/senders": self._senders,
            "/sender": self._sender,
        }
        return answers[path](query) if path in answers else (404, {"error": f"nothing at {path}"})

    def _categories(self, query: dict[str, str]) -> Answer:
        listed = [{"name": n, "label": f"@To{n}", "parent": PARENTS.get(n)} for n in CATEGORIES]
        return 200, {"categories": listed, "screener": "Screener"}

    def _waiting(self, query: dict[str, str]) -> Answer:
        state = self.state
        newest = sorted(state.waiting.values(), key=lambda each: each["newest"]["received_at"])
        return 200, {**state.summary(), "waiting": newest[::-1]}

    def _senders(self, query: dict[str, str]) -> Answer:
        state = self.state
        whole = {"domains": state.seed["domains"], "lists": state.seed["lists"]}
        return 200, {"senders": list(state.senders.values()), **whole}

    def _mail(self, query: dict[str, str]) -> Answer:
        texts = self.state.seed["texts"]
        for each in self.state.waiting.values():
            newest = each["newest"]
            if newest["id"] == query["id"]:
                return 200, {
                    **newest,
                    "from": [{"name": each["name"], "email": each["address"]}],
                    "to": [{"name": "Alice", "email": "alice@example.org"}],
                    "text": texts.get(newest["id"], f"Hello,\n\nthis is {each['name']}.\n"),
                    "is_truncated": False,
                    "attachments": ["report.pdf"],
                }
        return 404, {"error": f"mail {query['id']} does not wait in Screener"}

    def _sender(self, query: dict[str, str]) -> Answer:
        address = query["address"]
        found = self.state.senders.get(address)
        waiting = self.state.waiting.get(address)
        category = found and found["category"]
        return 200, {
            "address": address,
            "addresses": found["addresses"] if found else [address],
            "name": (found or waiting or {"name": ""})["name"],
            "category": category,
            "is_ours": bool(found and found["is_ours"]),
            "history": [{"category": category, "on": found["since"]}] if found else [],
            "waiting": waiting["mails"] if waiting else 0,
            "next": {
                "outcome": "category",
                "category": category,
                "mailbox": category or "Screener",
            },
        }

    def _post(self, path: str, body: dict[str, Any]) -> Answer:
        state = self.state
        if path == "/poll":
            state.polls += 1
            state.tell("poll", {"trigger": "manual"})
            return 202, {"status": "accepted"}
        if not self.server.may:
            return 403, {"error": f"{path} needs the control socket: group mailroom-control"}
        return self._decide(body, is_undo=path == "/undo")

    def _decide(self, body: dict[str, Any], *, is_undo: bool) -> Answer:
        state = self.state
        [key] = {"address", "domain", "list"} & set(body)
        address = body[key]
        if reason := state.seed["refused"].get(address):
            return reason["status"], reason["answer"]
        known = state.senders.get(address)
        previous = known and known["category"]
        category = None if is_undo else body["category"]
        entry = state.waiting.pop(address, None)
        if category is None and address in state.filed:
            state.waiting[address] = state.filed.pop(address)
            state.senders.pop(address, None)
        elif category is not None:
            if entry:
                state.filed[address] = entry
            state.senders[address] = {
                "address": address, "addresses": [address], "name": entry["name"] if entry else "",
                "category": category, "since": f"{datetime.now(UTC):%Y-%m-%d}", "is_ours": True,
            }  # fmt: skip
        filed = entry["mails"] if entry else 0
        state.tell("triage", {"sender": address, "category": category})
        return 200, {
            key: address,
            "category": category,
            "previous": previous,
            "filed": filed,
            "by": "anna",
        }

    def _stream(self) -> None:
        mine: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.state.readers.append(mine)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        self.wfile.flush()
        for number in range(1, 1 << 30):
            try:
                kind, data = mine.get(timeout=PING_SECONDS)
                lines = f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
            except queue.Empty:
                lines = ": ping\n\n"
            try:
                self.wfile.write(lines.encode())
                self.wfile.flush()
            except OSError:
                return

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingUnixStreamServer):
    """One of the two sockets."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, path: Path, group: str, state: State, members: dict[str, State], *, may: bool
    ) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), Handler)
        self.state, self.members, self.may = state, members, may
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
        path.chmod(0o660)


def main(folder: Path, seed: Path) -> None:
    """Serve until killed."""
    folder.mkdir(parents=True, exist_ok=True)
    given = json.loads(seed.read_text())
    several = given.get("accounts", {})
    state = State(next(iter(several.values()), given))
    members = {name: State(each, name, state.readers) for name, each in several.items()}
    control = Server(folder / "control.sock", "mailroom-control", state, members, may=True)
    status = Server(folder / "status.sock", "mailroom-status", state, members, may=False)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    status.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
