"""``mailroom export`` and ``mailroom import``: take decisions from one Mailroom to another.

An import can be interrupted and repeated: what is done already is not done again.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mailroom.errors import MailroomError
from mailroom.rules.triage.subject import SCREENER, SubjectKind
from mailroom.terminal.answers import SendersDocument
from mailroom.terminal.decisionfile import Bad, Parsed, parse
from mailroom.terminal.harmless import harmless
from mailroom.terminal.lists import write_json
from mailroom.terminal.naming import CategoryNames, canonical_key
from mailroom.terminal.remote import Decision, Refused, Remote, Whom

_STDIN = "-"
# A service that stops refuses all requests under way with 503; they are sent again.
_TRIES = 3

Document = dict[str, Any]


def show_decisions(remote: Remote) -> int:
    """Every decision as a line of JSON."""
    for whom, category, since in decided(remote.senders()):
        document = {whom.kind: whom.name, "category": category, "since": since}
        sys.stdout.write(json.dumps(document) + "\n")
    return 0


def import_decisions(
    remote: Remote, file: str, category: str | None, *, applies: bool, as_json: bool
) -> int:
    """Make the decisions of a file (``-``: stdin), or tell which are to be made."""
    parsed = parse(_text(file), CategoryNames(remote.categories()), category)
    there = {_canonical(whom): now for whom, now, _ in decided(remote.senders())}
    plan = Import(parsed, there)
    if applies:
        plan.apply(remote, _progress(len(plan.open)))
    if as_json:
        write_json(plan.document(is_applied=applies))
    else:
        plan.tell(is_applied=applies)
    return 1 if plan.bad or (applies and plan.open) else 0


class Import:
    """What a file asks for, and how much of it is done. ``there`` is what was decided before."""

    def __init__(self, parsed: Sequence[Parsed], there: Mapping[Whom, str]) -> None:
        self.bad = [each for each in parsed if isinstance(each, Bad)]
        self.already: list[Decision] = []
        self.done: list[Decision] = []
        self.open: dict[Decision, Refused | None] = {}  # with the reason, if refused
        self._there = there
        for each in parsed:
            if isinstance(each, Decision):
                if self._now(each) == each.category:
                    self.already.append(each)
                else:
                    self.open[each] = None

    def apply(self, remote: Remote, progress: Callable[[int], None]) -> None:
        """Make the open decisions. Those that a stopping service refused are sent again."""
        for _ in range(_TRIES):
            asked = [each for each, error in self.open.items() if error is None or error.is_passing]
            for decision, answer in remote.triage_all(asked):
                if isinstance(answer, Refused):
                    self.open[decision] = answer
                else:
                    del self.open[decision]
                    self.done.append(decision)
                    progress(len(self.done))

    def tell(self, *, is_applied: bool) -> None:
        """Print faults on stderr, and on stdout what would be done or how much was done."""
        for bad in self.bad:
            sys.stderr.write(f"mailroom: line {bad.line}: {harmless(bad.reason)}\n")
        for decision, error in self.open.items():
            if is_applied:
                sys.stderr.write(f"mailroom: {harmless(decision.whom)}: {error}\n")
            else:
                now = f" (now {now})" if (now := self._now(decision)) else ""
                target = decision.category or SCREENER
                sys.stdout.write(harmless(f"{decision.whom} → {target}{now}") + "\n")
        counts = self._counts(is_applied=is_applied)
        told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        advice = "" if is_applied or not self.open else "; --apply makes them"
        sys.stdout.write(f"{told or 'no decisions'}{advice}\n")

    def document(self, *, is_applied: bool) -> Document:
        failed = "failed" if is_applied else "to make"
        outcomes: list[tuple[Decision, str, Refused | None]] = []
        outcomes += [(each, "already so", None) for each in self.already]
        outcomes += [(each, "made", None) for each in self.done]
        outcomes += [(each, failed, error) for each, error in self.open.items()]
        return {
            "is_applied": is_applied,
            "decisions": [
                {
                    each.whom.kind: each.whom.name,
                    "category": each.category,
                    "outcome": outcome,
                    "error": str(error) if error else None,
                }
                for each, outcome, error in outcomes
            ],
            "bad_lines": [{"line": each.line, "error": each.reason} for each in self.bad],
        }

    def _counts(self, *, is_applied: bool) -> Mapping[str, int]:
        left = "failed" if is_applied else "to make"
        return {
            "made": len(self.done),
            left: len(self.open),
            "already so": len(self.already),
            "not understood": len(self.bad),
        }

    def _now(self, decision: Decision) -> str | None:
        return self._there.get(_canonical(decision.whom))


def decided(senders: SendersDocument) -> Iterator[tuple[Whom, str, str | None]]:
    """Every decision that the service knows, one for each address, with its day."""
    for each in senders["senders"]:
        for address in dict.fromkeys((each["address"], *each["addresses"])):
            yield Whom(SubjectKind.ADDRESS, address), each["category"], each["since"]
    for domain in senders["domains"]:
        yield Whom(SubjectKind.DOMAIN, domain["domain"]), domain["category"], domain["since"]
    for listed in senders["lists"]:
        yield Whom(SubjectKind.LIST, listed["list"]), listed["category"], listed["since"]


def _canonical(whom: Whom) -> Whom:
    return Whom(whom.kind, canonical_key(whom))


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MailroomError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MailroomError(f"cannot read {file}: it is not UTF-8; save it as UTF-8") from error


def _progress(total: int) -> Callable[[int], None]:
    """Prints a count on a terminal, in a line that is cleared at the end."""
    if not sys.stderr.isatty():
        return lambda _done: None
    end = "\r\x1b[K"
    return lambda done: _write(f"{end}{done} of {total}" if done < total else end)


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
