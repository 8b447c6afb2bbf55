"""A chart of something over time, as SVG: its mean, and its worst second, of each slice of time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 900, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 54, 36
_SLICES = 300
_FONT = 'font-family="sans-serif" font-size="12"'


@dataclass(frozen=True, slots=True)
class Chart:
    """``values`` by second; ``dark`` are spans of seconds that stand out, called ``dark_is``."""

    title: str
    values: Sequence[int]
    dark: Sequence[tuple[float, float]]
    dark_is: str

    def svg(self) -> str:
        return "\n".join([*self._lines(), "</svg>", ""])

    def _lines(self) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'role="img" aria-label="{self.title}">'
        )
        yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        for begins, ends in self.dark:
            left, right = self._x(begins), self._x(ends)
            yield (
                f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
                f'height="{_HEIGHT - _TOP - _BOTTOM}" fill="#e4e4e4"/>'
            )
        yield f'<text x="{_LEFT}" y="20" {_FONT} font-weight="bold">{self.title}</text>'
        legend = f"red: the worst second; blue: the mean; grey: {self.dark_is}"
        yield f'<text x="{_LEFT}" y="40" {_FONT}>{legend}</text>'
        yield from self._axes()
        yield self._line(max, "#c0392b")
        yield self._line(lambda slice_: sum(slice_) / len(slice_), "#1f5fa8")

    def _axes(self) -> Iterator[str]:
        step = _round_step(max(self.values) / 4)
        for value in range(0, max(self.values) + 1, step):
            y = self._y(value)
            yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ccc"/>'
            yield (
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" {_FONT} text-anchor="end">{value:,}</text>'
            )
        minutes = len(self.values) // 60
        for minute in range(0, minutes + 1, _round_step(minutes / 9)):
            yield (
                f'<text x="{self._x(minute * 60):.1f}" y="{_HEIGHT - 14}" {_FONT} '
                f'text-anchor="middle">{minute} min</text>'
            )

    def _line(self, of: Callable[[Sequence[int]], float], color: str) -> str:
        size = max(1, len(self.values) // _SLICES)
        slices = [self.values[at : at + size] for at in range(0, len(self.values), size)]
        points = " ".join(
            f"{self._x((number + 0.5) * size):.1f},{self._y(of(slice_)):.1f}"
            for number, slice_ in enumerate(slices)
        )
        return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'

    def _x(self, second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / len(self.values)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / max(self.values)


def _round_step(least: float) -> int:
    """1, 2 or 5 of some power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least:
                return digit * power
        power *= 10
