"""``python -m tests.screen``: the screen's picture, drawn into docs/behaviour.md."""

import sys

from tests.screen.drawing import DOCUMENT, drawn

DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
sys.stdout.write(f"drawn into {DOCUMENT}\n")
