"""Coverage-guided fuzzing of the readers (atheris), a fixed number of runs from a fixed seed.

``python -m tests.chaos.fuzz TARGET RUNS BYTES FOLDER`` is one target: libFuzzer ends its process.
FOLDER keeps the input that broke it.
"""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.chaos.table import Case

_SEED = 6
_PATIENCE_SECONDS = 300.0
# The runs, of inputs of so many bytes at most: some ten seconds each. A stream is cut everywhere,
# which costs as many readings as it has bytes.
_RUNS: Mapping[str, tuple[int, int]] = {
    "sse": (6_000, 96),
    "vcard": (60_000, 1024),
    "dav": (60_000, 1024),
    "jmap": (60_000, 1024),
    "sieve": (30_000, 512),
    "refusal": (30_000, 1024),
}


def obstacle() -> str | None:
    if importlib.util.find_spec("atheris") is None:
        return "needs atheris (packaging/venv.sh fuzz), which this Python may not have"
    return None


def cases() -> Iterator[Case]:
    for target, (runs, most) in _RUNS.items():
        yield Case(f"{target}, {runs:,} runs", partial(_fuzz, target, runs, most))


def _fuzz(target: str, runs: int, most: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [sys.executable, "-m", "tests.chaos.fuzz", target, str(runs), str(most), folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        broke = [path.read_bytes() for path in Path(folder).glob("*-*")]
    assert child.returncode == 0, f"{broke}\n{child.stdout[-3000:]}{child.stderr[-3000:]}"
    assert f"Done {runs} runs" in child.stderr, child.stderr[-3000:]
    return 0.0


def main(target: str, runs: str, most: str, folder: str) -> None:
    import atheris  # noqa: PLC0415 - not everybody has it

    with atheris.instrument_imports(include=["mailroom.wire"]):
        from tests.chaos import readers  # noqa: PLC0415 - only what is loaded in here is watched

    read, examples = readers.TARGETS[target]
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    for number, example in enumerate(examples):
        (corpus / str(number)).write_bytes(example)
    options = (f"-runs={runs}", f"-seed={_SEED}", f"-max_len={most}")
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
