"""Charts as inline SVG: lines over steps, points with intervals, and points of a front. All text is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 10, 48
_MOST_POINTS = 300  # of a line
COLOURS = 8  # classes c0 to c7 of the page


@dataclass(frozen=True)
class Series:
    """Points of one colour.

    Attributes:
        label: Its name.
        colour: Number of its colour.
        points: (x, y), by x where they are joined.
        intervals: (low, high) for each point; empty for none.
        style: "line", "dots", "front" (joined, with dots) or "pale" (small dots).
    """

    label: str
    colour: int
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float] | None] = field(default=())
    style: str = "line"


def chart(series: Sequence[Series], across: str, up: str, percent: bool = False) -> Markup:
    """A chart of several series.

    Args:
        series: What is drawn; points that are not finite are left out.
        across: Name of the horizontal axis.
        up: Name of the vertical axis.
        percent: Whether the horizontal axis is a share, shown as percent.

    Returns:
        An <svg> element; "" where there is no point.
    """
    points = [point for each in series for point in _finite(each.points)]
    if not points:
        return Markup("")
    ends = [end for each in series for pair in each.intervals if pair is not None for end in pair]
    x, y = (
        _Axis([point[0] for point in points], _LEFT, WIDTH - _RIGHT),
        _Axis([*(point[1] for point in points), *filter(_drawable, ends)], HEIGHT - _BOTTOM, _TOP),
    )
    parts = [_frame(x, y, across, up, percent)]
    parts += [_drawn(each, x, y) for each in series]
    label = escape(f"{up} by {across}", quote=True)
    return _svg(HEIGHT, label, parts)


def interval_chart(
    rows: Sequence[tuple[str, int, float, tuple[float, float] | None, Sequence[float]]], title: str
) -> Markup:
    """Arms below each other, each with its mean, its interval, and pale the values of its runs.

    Args:
        rows: Label, number of the colour, mean, interval (None for one run), values.
        title: What is measured.

    Returns:
        An <svg> element; "" without rows.
    """
    rows = [row for row in rows if _drawable(row[2])]
    if not rows:
        return Markup("")
    line, height = 42, 42 * len(rows) + 30
    ends = [end for _, _, mean, pair, values in rows for end in (mean, *(pair or ()), *values) if _drawable(end)]
    x = _Axis(ends, 12, WIDTH - 12)
    parts = [
        f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="4" y2="{height - 22}"/>'
        f'<text x="{x(t):.1f}" y="{height - 8}" text-anchor="middle">{_shown(t, x.step)}</text>'
        for t in x.ticks
    ]
    for number, (label, colour, mean, pair, values) in enumerate(rows):
        y = number * line + 30
        short = label if len(label) <= 60 else f"{label[:59]}…"
        parts.append(f'<text x="12" y="{y - 12}">{escape(short)}</text>')
        inside = [
            f'<circle class="pale" cx="{x(value):.1f}" cy="{y:.1f}" r="3"/>' for value in values if _drawable(value)
        ]
        if pair is not None and all(map(_drawable, pair)):
            inside.append(f'<path class="line" d="M{x(pair[0]):.1f} {y}H{x(pair[1]):.1f}"/>')
        inside.append(f'<circle cx="{x(mean):.1f}" cy="{y}" r="4.5"/>')
        parts.append(f'<g class="c{colour % COLOURS}">{"".join(inside)}</g>')
    label = escape(title, quote=True)
    return _svg(height, label, parts)


def _svg(height: int, label: str, parts: Sequence[str]) -> Markup:
    # Every text in the parts and the label is escaped where it is put in.
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


class _Axis:
    """Numbers to places, with a margin, and round numbers for ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        self._low, self._high, self._start, self._end = low - margin, high + margin, start, end
        rough = (self._high - self._low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = next((power * factor for factor in (1, 2, 5, 10) if power * factor >= rough), rough)
        first = math.ceil(self._low / self.step)
        self.ticks = [self.step * (first + number) for number in range(8) if self.step * (first + number) <= self._high]

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)


def _frame(x: _Axis, y: _Axis, across: str, up: str, percent: bool) -> str:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for tick in y.ticks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 5:.1f}" text-anchor="end">{_shown(tick, y.step)}</text>'
        )
    for tick in x.ticks:
        shown = f"{_shown(100 * tick, 100 * x.step)} %" if percent else _shown(tick, x.step)
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{shown}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text class="name" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>')
    turned = f"translate(14 {(_TOP + bottom) / 2}) rotate(-90)"
    parts.append(f'<text class="name" transform="{turned}" text-anchor="middle">{escape(up)}</text>')
    return "".join(parts)


def _drawn(series: Series, x: _Axis, y: _Axis) -> str:
    points = _finite(series.points)
    parts = []
    if series.style in ("line", "front") and points:
        kept = points if len(points) <= _MOST_POINTS else _thinned(points)
        parts.append(f'<path class="line" d="M{"L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in kept)}"/>')
    for (a, _), pair in zip(series.points, series.intervals, strict=False):
        if pair is not None and all(map(_drawable, pair)):
            parts.append(f'<path class="line" d="M{x(a):.1f} {y(pair[0]):.1f}V{y(pair[1]):.1f}"/>')
    if series.style != "line" or len(points) == 1:
        pale = series.style == "pale"
        name = ' class="pale"' if pale else ""
        parts += [f'<circle{name} cx="{x(a):.1f}" cy="{y(b):.1f}" r="{2.5 if pale else 4}"/>' for a, b in points]
    return f'<g class="c{series.colour % COLOURS}"><title>{escape(series.label)}</title>{"".join(parts)}</g>'


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in points if _drawable(a) and _drawable(b)]


def _drawable(value: float) -> bool:
    return math.isfinite(value) and (not value or 1e-30 < abs(value) < 1e30)  # others would overflow an axis


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = len(points) / _MOST_POINTS
    return [*(points[int(number * step)] for number in range(_MOST_POINTS)), points[-1]]


def _shown(value: float, step: float) -> str:
    if abs(value) >= 1e5 or (value and abs(value) < 1e-4):
        return f"{value:.1e}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}" if abs(value) > step / 1e6 else "0"
