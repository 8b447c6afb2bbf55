"""``python -m tests.demo [--stay]``, as ``make demo`` does it."""

import argparse
import sys

from mailroom.cli import guarded
from tests.demo.play import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--stay", action="store_true", help="go on running, to play with")
    options = parser.parse_args()
    return guarded(lambda: play(options.stay))


if __name__ == "__main__":
    sys.exit(main())
