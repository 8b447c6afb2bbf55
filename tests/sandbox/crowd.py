"""How many requests a server bears: at once, and within a minute."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from tests.sandbox.log import Entry
from tests.sandbox.profile import Profile
from tests.sandbox.requests import RequestError

_MINUTE_SECONDS: Final = 60.0
_TOO_MANY: Final = 429


class Crowd:
    """The requests that are there, of one user."""

    def __init__(self, profile: Profile, clock: Callable[[], float]) -> None:
        self._profile = profile
        self._clock = clock
        self._under_way: list[Entry] = []
        self._let_in: deque[float] = deque()

    def let_in(self) -> None:
        """Count one request more. Raises RequestError where the minute has had enough."""
        most, now = self._profile.limits.max_requests_per_minute, self._clock()
        if most is None:
            return
        while self._let_in and self._let_in[0] <= now - _MINUTE_SECONDS:
            self._let_in.popleft()
        if len(self._let_in) >= most:
            wait_seconds = self._let_in[0] + _MINUTE_SECONDS - now
            headers = {"Retry-After": str(math.ceil(wait_seconds))}
            detail = "too many within a minute"
            raise RequestError("limit", detail, status=_TOO_MANY, headers=headers)
        self._let_in.append(now)

    def make_way(self) -> None:
        """Raise RequestError where as many requests are under way as may be at once."""
        now = self._clock()
        self._under_way = [e for e in self._under_way if e.ended and e.ended > now]
        if len(self._under_way) >= self._profile.limits.max_concurrent_requests:
            raise RequestError("limit", "too many at once", "maxConcurrentRequests")

    def add(self, entry: Entry) -> None:
        """Have a request under way until it has ended."""
        self._under_way.append(entry)
