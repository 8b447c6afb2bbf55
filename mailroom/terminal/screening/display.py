"""The terminal, with urwid: takes in keys and shows lines.

Only urwid's screen is used, on our own loop: it knows the keys and colours of all terminals,
notices a new size, and writes only the lines that have changed. What is used here is the same in
2.1.2 (Debian 12) and 2.6.16 (Debian 13).
"""

import contextlib
import os
import selectors
import signal
import termios
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import urwid
from urwid.raw_display import Screen

from mailroom.engine.loop import Loop, Timer
from mailroom.terminal.hangup import has_hung_up
from mailroom.terminal.screening.lines import Line

# Style, foreground, background, and what stands for it without colour. The terminal's own colours
# where possible: we do not know whether it is light or dark.
_STYLES = (
    ("title", "bold", "default", "bold"),
    ("head", "dark cyan", "default", "default"),
    ("cursor", "standout", "default", "standout"),
    ("name", "bold", "default", "default"),
    ("subject", "bold", "default", "bold"),
    ("dim", "dark cyan", "default", "default"),
    ("rule", "dark cyan", "default", "default"),
    ("key", "bold", "default", "bold"),
    ("message", "default", "default", "default"),
    ("way", "brown", "default", "default"),
    ("wrong", "dark red", "default", "bold"),
)
_COLOURS, _NO_COLOURS = 16, 1
# Terminals without colour.
_COLOURLESS = ("vt100", "vt102", "vt220", "vt320")


def has_colours(environ: Mapping[str, str]) -> bool:
    """Whether colours are available and wanted (https://no-color.org)."""
    return not environ.get("NO_COLOR") and environ.get("TERM", "") not in _COLOURLESS


class Display:
    """``on_keys`` gets the pressed keys by urwid's names; a new size is ``window resize``.
    ``on_gone`` is called when the terminal is gone."""

    def __init__(
        self,
        loop: Loop,
        on_keys: Callable[[Sequence[str]], None],
        on_gone: Callable[[], None],
        *,
        in_colour: bool,
    ) -> None:
        self._hook = _Hook(loop, on_gone)
        self._on_keys = on_keys
        self._on_gone = on_gone
        self._screen = Screen()
        self._screen.set_terminal_properties(colors=_COLOURS if in_colour else _NO_COLOURS)
        self._screen.register_palette(list(_STYLES))

    def start(self) -> None:
        """Take the terminal over."""
        self._screen.start()
        # Ctrl+C and Ctrl+Z come as keys: the loop handles them, not a signal handler.
        self._screen.tty_signal_keys(intr="undefined", susp="undefined")
        self._screen.hook_event_loop(self._hook, self._pressed)

    def stop(self) -> None:
        """Give the terminal back as it was, if it is still there."""
        self._screen.unhook_event_loop(self._hook)
        with contextlib.suppress(OSError, termios.error):
            self._screen.stop()

    def suspend(self) -> None:
        """Go back to the shell until it brings us to the foreground again."""
        self.stop()
        os.kill(0, signal.SIGTSTP)
        self.start()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        columns, rows = self._screen.get_cols_rows()
        return columns, rows

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines, from the top."""
        try:
            self._draw(lines)
        except OSError:  # EIO: it has just gone
            self._on_gone()

    def _draw(self, lines: Sequence[Line]) -> None:
        columns, rows = self.size
        shown = [_canvas(line, columns) for line in lines[:rows]]
        shown += [_canvas([], columns) for _ in range(rows - len(shown))]
        canvas = urwid.CanvasCombine([(each, None, False) for each in shown])
        self._screen.draw_screen((columns, rows), canvas)

    def clear(self) -> None:
        """Redraw all of it next time."""
        self._screen.clear()

    def _pressed(self, keys: Sequence[Any], _raw: object) -> None:
        self._on_keys([key for key in keys if isinstance(key, str)])


def _canvas(line: Line, columns: int) -> Any:
    pieces = [(style or None, text) for style, text in line if text]
    return urwid.Text(pieces or "", wrap="clip").render((columns,))


class _Hook:
    """Our loop, with the interface that urwid's screen wants."""

    def __init__(self, loop: Loop, on_gone: Callable[[], None]) -> None:
        self._loop = loop
        self._on_gone = on_gone

    def watch_file(self, fd: int, callback: Callable[[], object]) -> int:
        def ready(_events: int) -> None:
            # A terminal that is gone stays ready forever, and not every process gets a SIGHUP.
            if has_hung_up(fd):
                self._on_gone()
            else:
                callback()

        self._loop.watch(fd, selectors.EVENT_READ, ready)
        return fd

    def remove_watch_file(self, fd: int) -> bool:
        self._loop.unwatch(fd)
        return True

    def alarm(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return self._loop.call_at(self._loop.now() + seconds, lambda: _drop(callback()))

    def remove_alarm(self, timer: Timer) -> bool:
        timer.cancel()
        return True


def _drop(_result: object) -> None:
    pass
