"""``python -m tests.chaos [ROW ...]``: the table; exit code 1 if a row fails.

A row that cannot be tried here says why; REQUIRE_ALL=1 makes it a failure.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.rows import ROWS
from tests.chaos.table import HEADING, Result, run


def main(names: Sequence[str]) -> int:
    """Try the rows, all without ``names``; what failed is told in full after the table."""
    unknown = set(names) - ROWS.keys()
    if unknown:
        sys.stderr.write(f"there is no row {', '.join(sorted(unknown))}: {', '.join(ROWS)}\n")
        return 2
    # A process that is killed tells nobody what it was about to do; here its process lives on.
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _: None
    _say(HEADING)
    results = [_tried(name) for name in names or ROWS]
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        _say(f"\n{failure}")
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


def _tried(name: str) -> Result:
    row = ROWS[name]
    result = Result(row, row.obstacle())
    if result.obstacle:
        _say(str(result))
        return result
    for result in run(row, row.cases()):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{name} {result.count}\033[K")
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    _say(str(result))
    return result


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
