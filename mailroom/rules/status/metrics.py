"""The snapshot of an account as Prometheus reads it: ``GET /metrics``.

The text format, version 0.0.4: every metric with its HELP and TYPE, counters named ``_total``,
label values escaped. Every sample has the label ``account``, so that several accounts can be read
side by side.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.status.health import Snapshot, is_healthy

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str
    samples: list[_Sample]


def metrics(snapshot: Snapshot) -> str:
    """The whole answer; a metric that has no value yet has no sample."""
    return metrics_of_all({snapshot.account: snapshot})


def metrics_of_all(snapshots: Mapping[str, Snapshot]) -> str:
    """The same for several accounts, by their names."""
    found: dict[str, _Metric] = {}
    for account, snapshot in snapshots.items():
        for metric in (*_gauges(snapshot), *_counters(snapshot)):
            whole = found.setdefault(metric.name, metric._replace(samples=[]))
            whole.samples.extend(
                _Sample({"account": account, **each.labels}, each.value) for each in metric.samples
            )
    lines: list[str] = []
    for metric in found.values():
        name = f"mailroom_{metric.name}"
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
        lines += [
            f"{name}{_braced(sample.labels)} {sample.value:.15g}" for sample in metric.samples
        ]
    return "\n".join(lines) + "\n"


def _gauges(snapshot: Snapshot) -> Iterator[_Metric]:
    about = {"version": snapshot.version}
    last_at = snapshot.last_poll.at if snapshot.last_poll else None
    waiting = snapshot.waiting
    senders, mails = (waiting.senders, waiting.mails) if waiting else (None, None)
    oldest = waiting.oldest if waiting else None
    is_connected = snapshot.push.status is PushStatus.CONNECTED
    for name, text, samples in (
        ("info", "Version and account of this Mailroom.", [_Sample(about, 1)]),
        ("healthy", "1 when healthy, as /healthz says.", _one(is_healthy(snapshot))),
        ("start_time_seconds", "When the process started.", _one(snapshot.started_at)),
        ("poll_interval_seconds", "Configured interval of polls.", _one(snapshot.poll_interval)),
        ("last_poll_timestamp_seconds", "When a poll last succeeded.", _one(last_at)),
        ("push_connected", "1 while the push stream is connected.", _one(is_connected)),
        (
            "push_down_since_timestamp_seconds",
            "When push was last connected, while it ought to be.",
            _one(snapshot.push.down_since),
        ),
        ("senders_failing", "Senders that cannot be triaged.", _one(len(snapshot.failing))),
        (
            "senders_conflicting",
            "Senders with labels of several categories.",
            _one(len(snapshot.conflicts)),
        ),
        ("waiting_senders", "Senders with mail in Screener.", _one(senders)),
        ("waiting_mails", "Mails in Screener.", _one(mails)),
        ("waiting_oldest_timestamp_seconds", "When the oldest waiting mail came.", _one(oldest)),
    ):
        yield _Metric(name, "gauge", text, samples)


def _counters(snapshot: Snapshot) -> Iterator[_Metric]:
    totals, push = snapshot.totals, snapshot.push
    for name, text, samples in (
        ("polls", "Polls finished, by what caused them.", _each("trigger", totals.polls)),
        ("polls_failed", "Polls that failed.", _one(totals.polls_failed)),
        ("push_reconnects", "Push connections made again.", _one(push.reconnect_count)),
        ("arrivals", "New mails, by what decided.", _each("outcome", totals.arrivals)),
        ("senders_triaged", "Senders triaged.", _each("category", totals.triaged)),
        ("mails_filed", "Mails filed.", _one(totals.mails_filed)),
        ("conflicts", "Senders found with two different labels.", _one(totals.conflicts)),
        ("errors", "Errors, by kind.", _each("kind", totals.errors)),
        ("http_requests", "HTTP requests sent.", _one(totals.requests)),
        ("http_received_bytes", "Bytes received by HTTP.", _one(totals.bytes_received)),
        ("http_sent_bytes", "Bytes sent by HTTP.", _one(totals.bytes_sent)),
    ):
        yield _Metric(f"{name}_total", "counter", text, samples)


def _one(value: float | None) -> list[_Sample]:
    return [] if value is None else [_Sample({}, value)]


def _each(label: str, counts: Mapping[str, int]) -> list[_Sample]:
    return [_Sample({label: key}, count) for key, count in sorted(counts.items())]


_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def _braced(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}" if labels else ""
