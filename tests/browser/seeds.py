"""What the scripted service knows: few senders, many, and hostile ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

Seed = dict[str, Any]

# name, address, newest subject, mails, minutes ago
_PEOPLE = (
    ("Dana Whitfield", "dana@whitfield.example", "Lunch on Thursday?", 1, 2),
    ("Lumen Weekly", "hello@lumenweekly.example", "Issue 214: What light does at night", 4, 60),
    ("Northway Parcels", "no-reply@northway.example", "Your parcel 8841-20 is on its way", 2, 130),
    ("Bike Kitchen", "crew@bikekitchen.example", "Open evening moved to Friday", 1, 340),
    ("", "invoices@solarhub.example", "Invoice 2026-1103", 1, 1500),
    ("Prize Department", "winner@lucky-draw.example", "You have been selected!!!", 7, 3000),
    ("Miriam Oduya", "miriam.oduya@uni-north.example", "Draft of chapter three", 3, 6600),
)
_DECIDED = (
    ("Alma Reyes", "alma@reyes.example", "Person", "2026-11-02", True),
    ("City Library", "news@library.example", "Feed", "2026-10-11", True),
    ("Grid & Co", "billing@grid.example", "Paper Trail", "2026-09-30", False),
    ("Harbour Market", "offers@harbour.example", "Billboard", "2026-11-20", True),
    ("Jonas Feld", "jonas@feld.example", "Imbox", None, False),
    ("Pill Shop", "cheap@pills.example", "Jail", "2026-08-01", True),
)

SCRIPT = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
# Right-to-left override: shown as written, the name would end in ".doc".
BIDI = "invoice\u202ecod.exe"


def few() -> Seed:
    """An ordinary morning."""
    waiting = [
        sender(number, name, address, subject, mails, minutes)
        for number, (name, address, subject, mails, minutes) in enumerate(_PEOPLE)
    ]
    senders = [
        {"address": a, "addresses": [a], "name": n, "category": c, "since": s, "is_ours": ours}
        for n, a, c, s, ours in _DECIDED
    ]
    return {
        "waiting": waiting,
        "senders": senders,
        "domains": [{"domain": "shop.example", "category": "Billboard", "since": "2026-11-25"}],
        "lists": [{"list": "dev.lists.example", "category": "Feed", "since": None}],
        "refused": {},
        "texts": {},
        "status": status(),
    }


def many(number: int) -> Seed:
    """So many senders who wait."""
    waiting = [
        sender(n, f"Sender {n:04}", f"s{n}@example.net", f"Subject {n}", 1 + n % 5, 1 + n)
        for n in range(number)
    ]
    return few() | {"waiting": waiting}


def hostile() -> Seed:
    """Senders who write what breaks out of pages that put text together as markup."""
    long = "A" * 10_000
    names = (
        SCRIPT,
        BIDI,
        long,
        "\x00\x1b[31mred\x07",
        "\u202e" * 50 + "x",
        "line\nbreak\r\nX-Header: 1",
    )
    waiting = [sender(n, name, f"h{n}@example.net", name, 1, n + 1) for n, name in enumerate(names)]
    waiting.append(sender(90, "Quoted", '"a<b>\'&amp;"@example.net', "quoted", 1, 90))
    waiting.append(sender(91, "Wide", f"{'w' * 200}@{'x' * 50}.example", "wide", 1, 91))
    text = f"{SCRIPT}\n{BIDI}\n{'B' * 60_000}\nhttps://example.net/"
    return few() | {"waiting": waiting, "texts": {"M0": text}}


def sender(
    number: int, name: str, address: str, subject: str, mails: int, minutes: int
) -> dict[str, Any]:
    newest = {"id": f"M{number}", "subject": subject, "received_at": ago(minutes)}
    since = ago(minutes + 70 * (mails - 1))
    return {"address": address, "name": name, "mails": mails, "newest": newest, "since": since}


def status() -> dict[str, Any]:
    """An answer to GET /status with two things that need somebody."""
    push = {
        "connected": True, "status": "connected", "connected_since": ago(130),
        "last_event": ago(1), "reconnect_count": 1, "url": "https://jmap.example.org/events",
        "error": None,
    }  # fmt: skip
    totals = {
        "polls": {"push": 12, "scheduled": 4, "startup": 1}, "polls_failed": 0,
        "senders_triaged": {"Feed": 3}, "arrivals": {"unknown": 9, "contact": 4},
        "mails_filed": 21, "conflicts": 1, "errors": {}, "requests": 80,
        "bytes_received": 90000, "bytes_sent": 30000,
    }  # fmt: skip
    failing = {
        "sender": "ned@nowhere.example", "attempts": 3, "next_try_at": ago(-4),
        "reason": "the address book refused the card: 403 valid-address-data",
    }  # fmt: skip
    conflict = {"sender": "kim@club.example", "categories": ["Feed", "Jail"], "since": ago(12)}
    return {
        "status": "ok", "reason": None, "last_poll_age_seconds": 3.2, "last_poll_at": ago(0),
        "last_poll_trigger": "push", "poll_count": 17, "eventsource": push, "version": "0.1.0",
        "pid": 314, "account": "alice@example.org", "phase": "idle", "started_at": ago(1500),
        "uptime_seconds": 90000.0, "poll_interval_seconds": 60.0,
        "next_poll": {"at": ago(-1), "in_seconds": 57.0, "trigger": "scheduled"},
        "trouble": None, "last_error": None, "totals": totals, "recent_triages": [],
        "failing_senders": [failing], "conflicts": [conflict], "refused_reload": None,
        "waiting": None, "moved_at_once": 0, "rules_failed_at": None,
    }  # fmt: skip


def ago(minutes: float) -> str:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"
