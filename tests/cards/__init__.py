"""Cards as the programs and servers of the world write them, good ones and bad ones."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def _cards(folder: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((_FOLDER / folder).glob("*.vcf"))}


SAFE = _cards("safe")
UNSAFE = _cards("unsafe")
