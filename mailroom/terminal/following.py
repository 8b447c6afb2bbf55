"""``mailroom watch``: a line for each event, or a command run for each.

If the service is restarted, this waits for it and continues with the next event.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mailroom.errors import MailroomError
from mailroom.rules.words import count, who_waits
from mailroom.terminal.harmless import harmless
from mailroom.terminal.remote import Remote
from mailroom.terminal.times import clock_face
from mailroom.wire.sse import Event, Parser

Document = dict[str, Any]

# How long the user's command may take for one event: the others wait meanwhile.
COMMAND_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


def show_events(
    remote: Remote, *, as_json: bool = False, command: str | None = None, names: bool = True
) -> None:
    """Tell every event until interrupted; :func:`teller` says how."""
    tell = teller(as_json=as_json, command=command, names=names)
    for events in following(remote, complain, with_names=True):
        for event in events:
            tell(event)


def teller(
    *, as_json: bool = False, command: str | None = None, names: bool = True
) -> Callable[[Event], None]:
    """The function that tells an event. A ``command`` is run for each event, one at a time, with
    the event as JSON on its stdin; then nothing is printed except with ``as_json``. With ``names``,
    an event of one of many accounts is printed with the account's name."""

    def tell(event: Event) -> None:
        document = as_document(event)
        if as_json:
            _print(json.dumps(document, ensure_ascii=False))
        elif command is None:
            _print_words(document, names=names)
        if command is not None:
            run(command, document, COMMAND_SECONDS)

    return tell


def _print_words(document: Document, *, names: bool) -> None:
    at = f"{clock_face(document['at'])}  " if "at" in document else ""
    whose = f"{harmless(document['account'])}: " if names and "account" in document else ""
    for line in lines(document):
        _print(f"{at}{whose}{line}")


def following(
    remote: Remote,
    told: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    *,
    with_names: bool,
) -> Iterator[list[Event]]:
    """The events, forever; an empty list each time the stream begins. When the service goes away,
    ``told`` is called once. Raises MailroomError if it was not there in the first place."""
    last_event_id, has_begun, is_silent = "", False, False
    while True:
        parser = Parser(last_event_id)
        problem = "the service has hung up; waiting for it"
        try:
            for events in remote.events(parser, with_names=with_names):
                has_begun, is_silent = True, False
                yield events
        except MailroomError as error:
            if not has_begun:
                raise
            problem = str(error)
        last_event_id = parser.last_event_id
        if not is_silent:
            told(problem)
        is_silent = True
        sleep(_AGAIN_SECONDS)


def as_document(event: Event) -> Document:
    """An event as one document: its type, its id and its data."""
    try:
        said = json.loads(event.data)
    except ValueError as error:
        raise MailroomError(f"the service sends an event that is not JSON: {event.type}") from error
    return {"event": event.type, "id": event.id, **said}


def run(command: str, document: Document, seconds: float) -> None:
    """Have the shell run the command, and wait for it. If it takes longer, it is killed with all
    the processes that it has started.

    A failing command is reported, and does not stop the next event.
    """
    given = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    # Ctrl+C waits until we know which process to kill. (The command itself gets it as usual.)
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    let_come = partial(signal.pthread_sigmask, signal.SIG_SETMASK, former)
    try:
        child = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.PIPE,
            env={**os.environ, "MAILROOM_EVENT": document["event"]},
            start_new_session=True,
            preexec_fn=let_come,  # noqa: PLW1509 - this process has one thread
        )
    except BaseException:
        let_come()
        raise
    try:
        let_come()
        child.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        complain(f"the command took longer than {seconds:g} s for {_name(document)}: it was ended")
    else:
        if child.returncode:
            complain(f"the command failed for {_name(document)}: exit code {child.returncode}")
    finally:
        if child.returncode is None:
            _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill it with all that it has started. Its own wait() could wait forever: Ctrl+C may have come
    when that had taken its lock, and could not release it yet (CPython 3.11)."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has just ended by itself
        os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)


def lines(document: Document) -> Iterator[str]:
    """An event in words, without its time."""
    match document["event"]:
        case "poll":
            why = document["error"]
            yield f"poll ({document['trigger']})" + (f" failed: {harmless(why)}" if why else "")
        case "triage":
            yield _triage(document)
        case "arrival":
            yield from _arrivals(document)
        case "waiting":
            yield _waiting(document)
        case "push":
            why = document["error"]
            yield f"push {document['status']}" + (f": {harmless(why)}" if why else "")
        case "trouble":
            trouble = document["trouble"]
            yield f"trouble: {harmless(trouble['reason'])}" if trouble else "trouble is over"
        case "reload":
            yield from (f"reload refused: {harmless(each)}" for each in document["problems"])
            if not document["problems"]:
                yield "configuration reloaded"
        case "lost":
            yield _lost(document)
        case other:
            yield harmless(other)


def complain(message: str) -> None:
    sys.stderr.write(f"mailroom: {harmless(message)}\n")


def _triage(document: Document) -> str:
    was = f" (was {harmless(document['previous'])})" if document["previous"] else ""
    by = f", by {harmless(document['by'])}" if document["by"] else ""
    return (
        f"{harmless(document['sender'])} → {harmless(document['category'])}{was},"
        f" {count(document['filed'], 'mail')} ({document['trigger']}{by})"
    )


def _arrivals(document: Document) -> Iterator[str]:
    """A line for each mail whose sender is told, and one line for all the others."""
    mails = document.get("mails", [])
    for mail in mails:
        where = harmless(mail["category"] or mail["outcome"])
        name = f" ({harmless(mail['name'])})" if mail["name"] else ""
        about = f": {harmless(mail['subject'])}" if mail["subject"] else ""
        state = "waits" if mail["waits"] else where
        yield f"new from {harmless(mail['address']) or 'nobody'}{name}, {state}{about}"
    if left := document["count"] - len(mails):
        yield f"{count(left, 'further new mail' if mails else 'new mail')}"


def _waiting(document: Document) -> str:
    if not document["mails"]:
        return "nobody waits"
    who = who_waits(document["senders"], document["mails"])
    return f"{who} waiting, the oldest since {clock_face(document['oldest'])}"


def _lost(document: Document) -> str:
    if document["count"] is None:
        return "the service was restarted: what happened meanwhile is unknown"
    return f"{count(document['count'], 'event')} missed"


def _name(document: Document) -> str:
    return f"{document['event']} {document['id']}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
