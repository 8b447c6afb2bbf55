"""``mailroom status`` and ``status --watch``."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from mailroom.errors import MailroomError
from mailroom.rules.triage.drags import MOST_DRAGGED
from mailroom.rules.words import count, who_waits
from mailroom.terminal.following import following
from mailroom.terminal.remote import Remote
from mailroom.terminal.screen import Document, output, plain
from mailroom.terminal.times import clock_face, span


def show_status(document: Document) -> bool:
    """Print the service's status; returns whether it is healthy."""
    console = output()
    for what, text in _status_rows(document):
        console.print(f"[bold]{what:<9}[/] {text}")
    for triage in document["recent_triages"][-5:]:
        console.print(f"  {_triage(triage)}")
    for what, text, advice in _attention(document):
        console.print(f"[red]{what:<9}[/] {text}")
        console.print(f"{'':<9} {advice}")
    return bool(document["status"] == "ok")


def watch(remote: Remote, before: Document) -> None:
    """Print a line for every poll after ``before``, for every triage, and for everything that the
    user has to look at.

    If the service is restarted, this waits for it.
    """
    console = output()

    def complain(problem: str) -> None:
        console.print(f"[red]{plain(problem)}[/]")

    for _ in following(remote, complain, with_names=False):
        try:
            now = remote.status()
        except MailroomError:
            continue  # it has just stopped, and the stream will end
        for line in news(before, now):
            console.print(line)
        before = now


def news(before: Document, now: Document) -> Iterator[str]:
    """What happened between two answers of ``/status``: triages first, then what needs the user,
    then the polls.

    Nothing is told twice: triages are told apart by their numbers, polls by their counts. Only the
    last poll's instant is known, so earlier ones since ``before`` get the same.
    """
    known, failed = 0, 0
    told: Document = {}
    polls: Document = {}
    if now["pid"] == before["pid"]:
        known = max((triage["number"] for triage in before["recent_triages"]), default=0)
        polls, failed = before["totals"]["polls"], before["totals"]["polls_failed"]
        told = before
    else:
        yield f"{clock_face(now['started_at'])}  [bold]started[/], pid {now['pid']}"
    fresh = [triage for triage in now["recent_triages"] if triage["number"] > known]
    if fresh and (untold := fresh[0]["number"] - known - 1):
        yield f"{clock_face(fresh[0]['at'])}  {count(untold, 'more sender')} triaged"
    yield from map(_triage, fresh)
    yield from _new_attention(told, now)
    yield from _polls(now, polls, now["totals"]["polls_failed"] - failed)


def _new_attention(before: Document, now: Document) -> Iterator[str]:
    """What ``before`` does not have: a refused reload, conflicts, senders that failed again."""
    if (refused := now["refused_reload"]) and refused != before.get("refused_reload"):
        for problem in refused["problems"]:
            yield f"{clock_face(refused['at'])}  [red]reload refused[/]: {plain(problem)}"
    for conflict in now["conflicts"]:
        if conflict not in before.get("conflicts", ()):
            yield f"{clock_face(conflict['since'])}  [red]conflict[/]: {_conflict(conflict)}"
    # Not told apart by the next try: its instant is computed anew for each answer, to the
    # millisecond.
    tried = {(each["sender"], each["attempts"]) for each in before.get("failing_senders", ())}
    for sender in now["failing_senders"]:
        if (sender["sender"], sender["attempts"]) not in tried:
            yield f"{_answered_at(now)}  [red]failing[/]: {_failing(sender)}"


def _attention(document: Document) -> Iterator[tuple[str, str, str]]:
    """What needs the user: a heading, what it is, and what to do about it."""
    if refused := document["refused_reload"]:
        problems = f"\n{'':<9} ".join(map(plain, refused["problems"]))
        advice = "correct it and reload; until then, the old configuration is in effect"
        yield "refused", f"the reload of {clock_face(refused['at'])}: {problems}", advice
    trouble = document["trouble"]
    if trouble and not trouble["lasting"]:  # lasting trouble is shown as the health's reason
        since = clock_face(trouble["since"])
        advice = "nothing is lost: it tries again by itself, and then catches up"
        yield "trouble", f"{plain(trouble['reason'])}, since {since}", advice
    for conflict in document["conflicts"]:
        since = clock_face(conflict["since"])
        advice = "take off all labels but one; until then, nothing of this sender is triaged"
        yield "conflict", f"{_conflict(conflict)}, since {since}", advice
    if at := document["rules_failed_at"]:
        advice = (
            "run mailroom check --rules; until then such mail comes to Inbox, and is screened there"
        )
        yield "rules", f"the server's rules failed for a mail at {clock_face(at)}", advice
    if moved := document["moved_at_once"]:
        advice = "nothing is done, because so many moves at once are not decisions: move them back,"
        advice += f" then {MOST_DRAGGED} at most at a time"
        yield "moved", f"mail of {count(moved, 'sender')} out of Screener at once", advice
    for sender in document["failing_senders"]:
        again = f", again at {clock_face(at)}" if (at := sender["next_try_at"]) else ""
        advice = "; the others go on. A new label on this sender's mail tries at once"
        yield (
            "failing",
            _failing(sender),
            f"tried {count(sender['attempts'], 'time')}{again}{advice}",
        )


def _conflict(conflict: Document) -> str:
    *others, last = map(plain, conflict["categories"])
    return f"{plain(conflict['sender'])} is labelled for {', '.join(others)} and {last}"


def _failing(sender: Document) -> str:
    return f"{plain(sender['sender'])}: {plain(sender['reason'])}"


def _polls(now: Document, before: Document, failed: int) -> Iterator[str]:
    """The polls that ``before`` does not count yet; ``failed`` of them failed."""
    happened = [
        trigger
        for trigger, count in now["totals"]["polls"].items()
        for _ in range(count - before.get(trigger, 0))
    ]
    # The answer names the last one that succeeded, and why the last one failed.
    happened.sort(key=lambda trigger: trigger == now["last_poll_trigger"])
    for trigger in happened[:failed]:
        reason = plain((now["trouble"] or now["last_error"])["reason"])
        yield f"{_answered_at(now)}  poll ({trigger}) [red]failed[/]: {reason}"
    for trigger in happened[failed:]:
        yield f"{clock_face(now['last_poll_at'])}  poll ({trigger})"


def _answered_at(document: Document) -> str:
    started = datetime.fromisoformat(document["started_at"])
    return clock_face((started + timedelta(seconds=document["uptime_seconds"])).isoformat())


def _status_rows(document: Document) -> list[tuple[str, str]]:
    push, upcoming = document["eventsource"], document["next_poll"]
    is_healthy = document["status"] == "ok"
    health = "[green]ok[/]" if is_healthy else f"[red]unhealthy[/]: {plain(document['reason'])}"
    stream = push["status"]
    if push["connected_since"]:
        stream += f" since {clock_face(push['connected_since'])}"
    if push["error"]:
        stream += f": {plain(push['error'])}"
    last = "none yet"
    if document["last_poll_at"]:
        last = f"{clock_face(document['last_poll_at'])} ({document['last_poll_trigger']})"
    due = f", next in {upcoming['in_seconds']:.0f} s ({upcoming['trigger']})" if upcoming else ""
    totals = document["totals"]
    triaged = sum(totals["senders_triaged"].values())
    rows = [
        ("mailroom", f"{document['version']}, pid {document['pid']}, {document['phase']}, up "
                     f"{span(document['uptime_seconds'])}"),
        ("account", plain(document["account"])),
        ("health", health),
        ("push", stream),
        ("polls", f"{document['poll_count']}, last {last}{due}"),
        ("triaged", f"{count(triaged, 'sender')}, {count(totals['mails_filed'], 'mail')} filed"),
    ]  # fmt: skip
    if totals["arrivals"]:
        rows.append(("arrivals", _arrivals(totals["arrivals"])))
    if document["waiting"]:
        rows.append(("waiting", _waiting(document["waiting"])))
    return rows


def _arrivals(by_outcome: Document) -> str:
    """New mail, and what decided about it, the most frequent first."""
    outcomes = sorted(by_outcome.items(), key=lambda each: (-each[1], each[0]))
    listed = ", ".join(f"{plain(outcome)} {number}" for outcome, number in outcomes)
    return f"{count(sum(by_outcome.values()), 'new mail')}: {listed}"


def _waiting(waiting: Document) -> str:
    if not waiting["mails"]:
        return "nobody"
    who = who_waits(waiting["senders"], waiting["mails"])
    return f"{who}, the oldest since {clock_face(waiting['oldest'])}"


def _triage(triage: Document) -> str:
    was = f" (was {plain(triage['previous'])})" if triage["previous"] else ""
    return (
        f"{clock_face(triage['at'])}  {plain(triage['sender'])} → {plain(triage['category'])}"
        f"{was}, {count(triage['filed'], 'mail')} ({triage['trigger']})"
    )
