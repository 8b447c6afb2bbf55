"""``mailroom check --live``: a tick per step of one tap, timed."""

import signal
from collections.abc import Callable, Mapping

from mailroom.engine.unit import Installation
from mailroom.errors import exit_code
from mailroom.terminal.context import open_context
from mailroom.terminal.screen import Document, output, tick
from mailroom.work.setup.check import worst
from mailroom.work.setup.live import Interrupted, Live

_INTERRUPTED = 130


def show_live(
    installation: Installation,
    environ: Mapping[str, str],
    ask: Callable[[], Document],
    within_seconds: float | None,
) -> int:
    """Try a tap; returns the exit code: not 0 if push did not report it, if it took too long or if
    it failed. Ctrl+C cleans up as well, and ends with 130."""
    console = output()
    context = open_context(installation, environ)
    live = Live(context.loop, context.config, context.clients, ask)
    for number in (signal.SIGINT, signal.SIGTERM):
        context.loop.on_signal(number, live.interrupt)
    try:
        findings = context.run(live.run(within_seconds, lambda found: tick(console, found)))
    finally:
        context.loop.close()
    if any(isinstance(each.error, Interrupted) for each in findings):
        return _INTERRUPTED
    error = worst(findings)
    return exit_code(error) if error else 0
