"""Line charts as inline SVG: the page's style colours them, so they follow its light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeGuard

from kerasft.reports.markup import Html, escape, join, tag
from kerasft.reports.ticks import nice_step, nice_ticks, number, tick_label

_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 40
_DOTS = 60  # more epochs than this are a plain line

Points = Sequence[tuple[float, float | None]]
Series = Mapping[str, Points]
Place = Callable[[float, float], tuple[float, float]]


def line_chart(series: Series, *, title: str, x_label: str = "epoch", mark: float | None = None) -> Html:
    """Returns a chart of one or several curves.

    Args:
        series: "training" or "validation" (which choose the colour) to points (x, y), ascending in x.
            A y that is None or not finite leaves a gap.
        title: For those who cannot see the chart.
        x_label: Under the axis; x are whole numbers.
        mark: Draws a vertical line at this x.
    """
    points = [(x, y) for curve in series.values() for x, y in curve if _is_drawn(y)]
    if not points:
        return tag("p", "no finite value", class_="soft")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_low, x_high = (min(xs), max(xs)) if min(xs) < max(xs) else (xs[0] - 1, xs[0] + 1)
    y_ticks = nice_ticks(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        right = (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT - 8)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return round(_LEFT + 4 + right, 1), round(_HEIGHT - _BOTTOM - up, 1)

    parts = [*_grid(y_ticks, place), *_x_axis(min(xs), max(xs), x_label, place)]
    if mark is not None and x_low <= mark <= x_high:
        x, _ = place(mark, y_ticks[0])
        parts.append(Html(f'<path class="best" d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}"/>'))
    for name, curve in series.items():
        parts += _curve(name, curve, x_label, place)
    return Html(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{join(parts)}</svg>'
    )


def _grid(ticks: Sequence[float], place: Place) -> Iterator[Html]:
    for value in ticks:
        _, y = place(0, value)
        yield Html(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>')
        label = tick_label(value, ticks[1] - ticks[0])
        yield Html(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>')


def _x_axis(low: float, high: float, label: str, place: Place) -> Iterator[Html]:
    step = max(1, round(nice_step(high - low, 8))) if high > low else 1
    whole = [x for x in range(math.ceil(low), math.floor(high) + 1) if x % step == 0 or x == low]
    if len(whole) > 1 and whole[1] - whole[0] < step / 2:
        del whole[1]
    for value in whole:
        x, _ = place(value, 0)
        yield Html(f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield Html(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>')


def _is_drawn(y: float | None) -> TypeGuard[float]:
    return y is not None and math.isfinite(y)


def _curve(name: str, curve: Points, x_label: str, place: Place) -> Iterator[Html]:
    path, gap = "", True
    for x, y in curve:
        if _is_drawn(y):
            left, top = place(x, y)
            path += f"{'M' if gap else 'L'}{left} {top}"
        gap = not _is_drawn(y)
    yield Html(f'<path class="{escape(name)}" d="{path}"/>')
    if len(curve) <= _DOTS:
        for x, y in curve:
            if _is_drawn(y):
                left, top = place(x, y)
                hint = tag("title", f"{x_label} {x:g}, {name}: {number(y)}")
                yield Html(f'<circle class="{escape(name)}" cx="{left}" cy="{top}" r="2.8">{hint}</circle>')
