"""How long to measure: fully, or shortly, to see whether the benchmark itself works."""

from dataclasses import dataclass

_SHORTER = 10


@dataclass(frozen=True, slots=True)
class Effort:
    is_short: bool = False

    def times(self, count: int) -> int:
        """So many repetitions; shortly, a tenth and at least one."""
        return max(1, count // _SHORTER) if self.is_short else count

    def seconds(self, seconds: float) -> float:
        """So long; shortly, a tenth."""
        return seconds / _SHORTER if self.is_short else seconds
