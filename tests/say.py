"""How the runners print: at once, also into a pipe."""

import sys


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
