"""``python -m tests.mutants``: break the code, a little at a time, and see whether a test notices.

Which mutants are tried depends on the seed and on the code alone, and those of a function stay the
same for as long as it does. Survivors are printed, and the score; the exit code says nothing of it.
"""

import argparse
import hashlib
import multiprocessing
import os
import pickle
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.mutants import reach
from tests.mutants.mutations import Mutant, mutants
from tests.mutants.processes import adopt_orphans, die_with_parent
from tests.mutants.reach import Reach
from tests.mutants.trial import Fate, Trial, Verdict, carry_out, preload
from tests.say import say

_FOLDERS = [f"mailroom/{name}" for name in ("rules", "wire", "work", "engine")]
_QUICK = ["-m", "not (sandbox or system or every)"]
_COUNT = 400
_CACHE = Path("build/mutants")
_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)

Found = tuple[str, Mutant]


def main() -> int:
    options = _parser().parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each child compiles all tests
    sys.dont_write_bytecode = False
    began = time.monotonic()
    found = list(_all(options.code))
    if options.since:
        found = list(_among(found, _changed_lines(options.since, options.code)))
    chosen = _sample(found, options.count, options.seed)
    if not chosen:
        say("there is nothing to mutate")
        return 0
    known = _reach(_traced(options.code), options.tests or _QUICK, options.jobs)
    for name in sorted(known.failed):
        say(f"left out, for it fails by itself under a tracer: {name}")
    trials = [_trial(file, each, known) for file, each in chosen]
    for line in _report(_carried_out(trials, options.jobs)):
        say(line)
    say(_effort(time.monotonic() - began))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--count", type=int, default=_COUNT, help="how many, at most")
    parser.add_argument("--seed", default="1", help="which ones")
    parser.add_argument("--since", metavar="REV", help="only of lines changed since")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--code", nargs="+", default=_FOLDERS, help="folders or files")
    parser.add_argument("--tests", nargs=argparse.REMAINDER, help="what pytest is told")
    return parser


def _all(places: Iterable[str]) -> Iterator[Found]:
    for place in map(Path, places):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            yield from ((str(path), each) for each in mutants(path.read_text()))


def _changed_lines(revision: str, places: Sequence[str]) -> Mapping[str, set[int]]:
    command = ["git", "diff", "--unified=0", "--relative", revision, "--", *places]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    changed = {}
    for part in text.split("\n+++ b/")[1:]:
        hunks = [(int(start), int(count or 1)) for start, count in _HUNK.findall(part)]
        lines = {line for start, count in hunks for line in range(start, start + count)}
        changed[part.partition("\n")[0]] = lines
    return changed


def _among(found: Iterable[Found], changed: Mapping[str, set[int]]) -> Iterator[Found]:
    for file, mutant in found:
        if not changed.get(file, set()).isdisjoint(mutant.lines):
            yield file, mutant


def _sample(found: Sequence[Found], count: int, seed: str) -> list[Found]:
    """So many of them, in the order of the code. Each has its lot drawn by what it is, not by
    where it stands: a change of other code changes nothing for it."""
    twins: Counter[str] = Counter()
    lots = []
    for number, (file, mutant) in enumerate(found):
        key = f"{seed}|{file}|{mutant.key}"
        twins[key] += 1
        lots.append((hashlib.sha256(f"{key}|{twins[key]}".encode()).digest(), number))
    return [found[number] for number in sorted(number for _, number in sorted(lots)[:count])]


def _traced(places: Sequence[str]) -> list[str]:
    """The folders to follow: the usual ones also for a part of them, so that one run serves all."""
    folders = {place if Path(place).is_dir() else str(Path(place).parent) for place in places}
    return _FOLDERS if folders <= set(_FOLDERS) else sorted(folders)


def _reach(folders: Sequence[str], tests: Sequence[str], jobs: int) -> Reach:
    """What the tests reach, from the last time if nothing has changed since."""
    digest = hashlib.sha256(repr((sys.version, folders, tests)).encode())
    for folder in Path().glob("[!.]*/"):
        if folder.name not in ("build", "dist"):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{path}".encode() + path.read_bytes())
    cache = _CACHE / f"{digest.hexdigest()[:20]}.reach"
    if cache.exists():
        kept: Reach = pickle.loads(cache.read_bytes())
        return kept
    say("running the tests once, to see what they reach")
    known = reach.measure(folders, tests, jobs)
    _CACHE.mkdir(parents=True, exist_ok=True)
    for old in _CACHE.glob("*.reach"):
        old.unlink()
    cache.write_bytes(pickle.dumps(known))
    return known


def _trial(file: str, mutant: Mutant, known: Reach) -> Trial:
    """The module's own tests first, then the others; the cheapest first, of these those that run
    the least else."""
    module = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
    if mutant.is_early:
        names = list(known.of_module(file, module)) or list(known.tests)
    else:
        names = list(known.of_lines(file, mutant.lines))
    names.sort(key=lambda name: (_cost(known.tests[name]), name))
    own = f"test_{Path(file).stem}.py::"
    stages = [name for name in names if own in name], [name for name in names if own not in name]
    seconds = sum(known.tests[name].seconds for name in names)
    return Trial(file, module, mutant, tuple(map(tuple, stages)), seconds)


def _cost(ran: reach.Ran) -> tuple[int, int]:
    """Roughly, for the clock never says the same twice."""
    breadth = sum(lines.bit_count() for lines in ran.lines.values())
    return round(ran.seconds * 10).bit_length(), breadth


def _carried_out(trials: Sequence[Trial], jobs: int) -> Iterator[Verdict]:
    """The verdicts, in the order of the trials."""
    preload()
    with multiprocessing.get_context("fork").Pool(jobs, _be_worker) as pool:
        for number, verdict in enumerate(pool.imap(carry_out, trials), 1):
            yield verdict
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{number} of {len(trials)}\033[K\r")


def _be_worker() -> None:
    die_with_parent()
    adopt_orphans()


def _report(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """The survivors as they come, then the score, file by file."""
    tried: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    fates: Counter[Fate] = Counter()
    for each in verdicts:
        trial = each.trial
        if each.fate is Fate.SAME:
            continue
        fates[each.fate] += 1
        tried[trial.file] += 1
        killed[trial.file] += each.is_killed
        if not each.is_killed:
            yield f"{each.fate}: {trial.file}:{trial.mutant.lines.start} {trial.mutant}"
    yield ""
    for file, count in tried.items():
        yield f"{file:<34} {killed[file]:>4} of {count:>4} killed"
    percent = 100 * killed.total() / max(1, tried.total())
    yield (
        f"\n{killed.total()} of {tried.total()} mutants killed: {percent:.1f} % "
        f"({fates[Fate.HUNG]} of them hung)"
    )


def _effort(seconds: float) -> str:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    return f"{cpu:.0f} s of CPU, {seconds:.0f} s"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
