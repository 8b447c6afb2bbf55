"""All rows of the table."""

from collections.abc import Iterator, Mapping

from tests.chaos import (
    cards,
    clients,
    crash,
    cyrus,
    endurance,
    faults,
    fleet,
    fleetmonth,
    fuzz,
    hour,
    lives,
    mails,
    paths,
    stalwart,
    streams,
    swallowed,
)
from tests.chaos.arrivals import DOOR_SCENARIOS
from tests.chaos.commands import COMMANDS
from tests.chaos.ordered import ORDER_SCENARIOS
from tests.chaos.table import Case, Row
from tests.system import prepare

_MINUTE = ("requests in a minute", 60)
_MEMORY = ("MiB more at the peak", 5)
_GROWTH = ("MiB more in the end", 1)


def _jobs() -> Iterator[Case]:
    scenarios = {**crash.SCENARIOS, **crash.LARGE_SCENARIOS}
    begins = [(name, each.begin) for name, each in scenarios.items()]
    at_door = ((name, each.begin) for name, each in DOOR_SCENARIOS.items())
    ordered = ((name, each.begin) for name, each in ORDER_SCENARIOS.items())
    yield from crash.cases([*begins, *at_door, *ordered])
    yield from swallowed.cases()


def _commands() -> Iterator[Case]:
    return crash.cases(COMMANDS.items())


ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("kill", "killed before, in and after every request, then started again", _jobs),
        Row("command", "setup and reset, killed likewise and run again", _commands),
        Row("fault", "every fault at every request, once and for 5 min", faults.cases, *_MINUTE),
        Row("random", "a third of the requests fails, for 5 min", faults.random_cases, *_MINUTE),
        Row("life", "a user's doings at random, also in the middle of triages", lives.cases),
        Row("many-kill", "50 accounts on a server, their process killed", fleet.kill_cases),
        Row(
            "many-fault",
            "50 accounts, of which some fail in every way; the others, beside alone",
            fleet.fault_cases,
            "ms later than alone",
            50,
        ),
        Row(
            "many-outage",
            "50 accounts, their server down for 5 min, and longer for some",
            fleet.outage_cases,
            "s until all is done",
            300,
        ),
        Row(
            "many-month",
            "a month: 200 accounts come and go by HUP, some files are bad and mended",
            fleetmonth.cases,
            "objects more in the end",
            fleetmonth.MOST_MORE,
        ),
        Row(
            "path",
            "refused, certificates, names: at the start and at work",
            paths.cases,
            *_MINUTE,
            paths.obstacle,
        ),
        Row("stream", "hostile event streams for 2 min, and a tap", streams.cases, *_MEMORY),
        Row("mail", "hostile names, addresses and From headers, triaged twice", mails.cases),
        Row("card", "triaged, triaged again, taken back; compared in bytes", cards.cases),
        Row(
            "fuzz",
            "streams cut everywhere, cards, XML and JSON, guided by coverage",
            fuzz.cases,
            obstacle=fuzz.obstacle,
        ),
        Row("client", "1,000 rude clients of the sockets", clients.cases, *_MEMORY),
        Row(
            "endurance",
            "a month: dropped streams, nights asleep, wrong clocks, lost tokens",
            endurance.cases,
            *_GROWTH,
        ),
        Row(
            "cyrus",
            "the unit killed by kill -9 at requests to Cyrus, systemd restarts",
            cyrus.cases,
            obstacle=prepare.obstacle,
        ),
        Row(
            "forky",
            "likewise, on the Debian to come and its Cyrus",
            cyrus.forky_cases,
            obstacle=prepare.forky_obstacle,
            is_demanded=False,
        ),
        Row(
            "stalwart",
            "likewise, at requests to Stalwart, both ways of contacts",
            stalwart.cases,
            obstacle=stalwart.obstacle,
            is_demanded=False,
            environment=("STALWART",),
        ),
        Row(
            "hour",
            "an hour under systemd and load, Cyrus cut off every 10 s",
            hour.cases,
            *_GROWTH,
            prepare.obstacle,
        ),
    )
}
