"""Messages to systemd (sd_notify(3)), and its watchdog (sd_watchdog_enabled(3)).

``sdnotify`` finds the socket and sends. It encodes Latin-1 and swallows every error, so it gets
only ASCII: a message with other characters could be lost silently (seen: sdnotify 0.3.2).
"""

import contextlib
import os
import time
from collections.abc import Mapping
from math import inf

import sdnotify

from mailroom.engine.loop import Loop, Timer

# All services share systemd's socket: when its queue is full, READY=1 is worth a short wait. A
# status line is not: the loop would stall after every poll, and leave push events unread.
_PATIENCE_SECONDS = 0.25


class Notify:
    """Sends messages to ``$NOTIFY_SOCKET``; without one, does nothing."""

    def __init__(self) -> None:
        is_supervised = bool(os.environ.get("NOTIFY_SOCKET"))
        self._notifier = sdnotify.SystemdNotifier() if is_supervised else None
        self._line: str | None = None
        self._is_ready_due = False
        #: Whether the newest status line, or READY=1, could not be sent.
        self.is_behind = False
        self._patience_seconds = _PATIENCE_SECONDS
        if self._notifier is not None:
            self._notifier.debug = True  # then it raises errors, and we know what was not sent

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def ready(self) -> None:
        """The service is up, or its reload is done. If systemd does not take it now, it goes out
        with the next status line."""
        self._is_ready_due = not self._send("READY=1")

    def status(self, line: str) -> None:
        """The line for ``systemctl status``; sent only if it differs from the last one sent, or
        has to bring READY=1."""
        is_news = line != self._line or self._is_ready_due
        self.is_behind = is_news and self._notifier is not None
        if self.is_behind:
            # A newline would begin another assignment.
            text = line.encode("ascii", "backslashreplace").decode("ascii").replace("\n", r"\n")
            ready = "READY=1\n" if self._is_ready_due else ""
            if self._send(f"{ready}STATUS={text}", patience_seconds=0.0):
                self._line, self.is_behind, self._is_ready_due = line, False, False

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload has begun; :meth:`ready` ends it.

        The instant goes into the same datagram: with it systemd tells this reload from an older
        one.
        """
        now_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_usec}")

    def stopping(self) -> None:
        """The service is stopping: from now on no message is worth a wait."""
        self._patience_seconds, self._is_ready_due = 0.0, False
        self._send("STOPPING=1")

    def _send(self, message: str, patience_seconds: float | None = None) -> bool:
        """Returns whether systemd has taken it."""
        if self._notifier is None or self._notifier.socket is None:
            return False
        if patience_seconds is None:
            patience_seconds = self._patience_seconds
        self._notifier.socket.settimeout(patience_seconds)
        with contextlib.suppress(OSError):
            self._notifier.notify(message)
            return True
        return False


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two feedings: half of what systemd allows; None if it does not watch."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    # WATCHDOG_PID names the process that is meant: its children inherit the environment.
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(usec) / 2 / 1_000_000


# After this part of the interval, a loop that is awake for something else feeds the watchdog, which
# saves a wake-up: with the unit's 90 s, the poll of every minute does.
_EARLY = 2 / 3


class Watchdog:
    """Feeds systemd's watchdog, at once and then by a deadline of the loop, or before it if the
    loop is awake anyway.

    If the loop no longer turns, nobody feeds it: that is the point. The deadline is one of
    CLOCK_BOOTTIME, so it is due at once when the machine resumes.
    """

    def __init__(self, loop: Loop, notify: Notify, interval_seconds: float) -> None:
        self._loop = loop
        self._notify = notify
        self._interval_seconds = interval_seconds
        self._timer: Timer | None = None
        self._early_at = inf
        loop.on_idle(self._feed_early)
        self.feed()

    def feed(self) -> None:
        self.stop()
        self._notify.watchdog()
        now = self._loop.now()
        self._timer = self._loop.call_at(now + self._interval_seconds, self.feed)
        self._early_at = now + _EARLY * self._interval_seconds

    def stop(self) -> None:
        self._early_at = inf
        if self._timer is not None:
            self._timer.cancel()

    def _feed_early(self) -> None:
        if self._loop.now() >= self._early_at:
            self.feed()
