"""``python -m tests.chaos [ROW ...]``: the table; exit code 1 if a row fails.

A row that cannot be tried here says why; REQUIRE_ALL=1 makes it a failure. What was tried of this
very code is not tried again; FRESH=1 begins anew.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from tests.chaos.kept import BusyError, Kept, fingerprint
from tests.chaos.rows import ROWS
from tests.chaos.table import HEADING, Result, Row, run, told
from tests.say import say


def main(names: Sequence[str]) -> int:
    """Try the rows, all without ``names``; what failed is told in full after the table."""
    unknown = set(names) - ROWS.keys()
    if unknown:
        sys.stderr.write(f"there is no row {', '.join(sorted(unknown))}: {', '.join(ROWS)}\n")
        return 2
    # A process that is killed tells nobody what it was about to do; here its process lives on.
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _: None
    code, is_fresh = fingerprint(), os.environ.get("FRESH") == "1"
    say(HEADING)
    try:
        results = [_tried(name, code, is_fresh) for name in names or ROWS]
    except BusyError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        say(f"\n{failure}")
    return exit_code(results, os.environ)


def exit_code(results: Iterable[Result], environ: Mapping[str, str]) -> int:
    """1 if a row has failed, or was not run and had to be."""
    must_run = environ.get("REQUIRE_ALL") == "1"
    return int(
        any(
            each.failures or (must_run and each.obstacle and each.row.is_demanded)
            for each in results
        )
    )


def _tried(name: str, code: str, is_fresh: bool) -> Result:
    row = ROWS[name]
    result = Result(row, row.obstacle())
    if result.obstacle:
        say(str(result))
        return result
    with Kept(row, code, is_fresh=is_fresh) as kept:
        if kept.tried:
            when = f", as of {kept.finished}" if kept.finished else ""
            taken = f"{name}: {len(kept.tried):,} cases are taken from {kept.path}{when}"
            sys.stderr.write(f"{taken} (FRESH=1 begins anew)\n")
        result = told(row, kept.tried) if kept.finished else _gone_on(row, kept)
    say(str(result))
    return result


def _gone_on(row: Row, kept: Kept) -> Result:
    """Try what was not tried yet."""
    result = Result(row)
    for result in run(row, row.cases(), kept):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{row.name} {result.count}\033[K")
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    kept.finish(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    return result


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
