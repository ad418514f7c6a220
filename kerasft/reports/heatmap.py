"""Confusion matrices as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kerasft.reports.markup import Html, escape, join, tag
from kerasft.reports.ticks import shorten, width_of

_MOST_NUMBERED = 30
_LABEL, _LETTER = 20, 6.6  # longest label in letters; width of a letter in pixels
_ROOMY = 320  # pixels that cells may take so that their labels need not slant
_SHADES = 8


def confusion_picture(matrix: np.ndarray, names: Sequence[str]) -> Html:
    """Returns a picture of a confusion matrix, shaded by the share of the true class.

    Up to 30 classes have their names and numbers in it.

    Args:
        matrix: float [classes, classes], true by predicted.
        names: The classes.
    """
    totals = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix, np.float64), where=totals > 0)
    if len(names) > _MOST_NUMBERED:
        return _overview(shares)
    labels = [shorten(name, _LABEL) for name in names]
    longest = max(map(width_of, labels)) * _LETTER
    cell = max(30, 8 * max(len(_count(value)) for value in matrix.ravel()) + 12)
    if (longest + 10) * len(names) < _ROOMY:
        cell = max(cell, round(longest + 10))
    slanted = longest > cell - 4
    left = 30 + longest + 8
    top = 26 + (longest * 0.71 + 12 if slanted else 20)
    size = cell * len(names)
    width, height = left + size + (max(12, longest * 0.71) if slanted else 12), top + size + 8
    parts = [
        *_axis_titles(left, top, size),
        *_labels(names, labels, left, top, cell, slanted),
        *_cells(matrix, shares, names, left, top, cell),
    ]
    return _svg(parts, width, height)


def _labels(
    names: Sequence[str], labels: Sequence[str], left: float, top: float, cell: float, slanted: bool
) -> Iterator[Html]:
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        hint = tag("title", name)
        middle = (i + 0.5) * cell
        yield Html(
            f'<text x="{left - 8:.1f}" y="{top + middle + 4:.1f}" text-anchor="end">'
            f"{escape(label)}{hint}</text>"
        )
        turn, anchor = ("rotate(-45)", "start") if slanted else ("", "middle")
        yield Html(
            f'<text transform="translate({left + middle + 3 * slanted:.1f} {top - 7:.1f}) {turn}" '
            f'text-anchor="{anchor}">{escape(label)}{hint}</text>'
        )


def _cells(
    matrix: np.ndarray, shares: np.ndarray, names: Sequence[str], left: float, top: float, cell: float
) -> Iterator[Html]:
    size = cell * len(names)
    lines = [f"M{left + k * cell:.1f} {top:.1f}v{size}" for k in range(len(names) + 1)]
    lines += [f"M{left:.1f} {top + k * cell:.1f}h{size}" for k in range(len(names) + 1)]
    for i, j in np.argwhere(matrix):
        share = shares[i, j]
        x, y = left + j * cell, top + i * cell
        kind = "hit" if i == j else "miss"
        hint = tag("title", f"{names[i]} → {names[j]}: {_count(matrix[i, j])} ({share:.1%})")
        shade = f'class="{kind}" fill-opacity="{0.12 + 0.88 * share:.2f}"'
        strong = " strong" if share > 0.5 else ""
        yield Html(
            f'<g>{hint}<rect x="{x:.1f}" y="{y:.1f}" width="{cell}" height="{cell}" {shade}/>'
            f'<text class="cell{strong}" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}">'
            f"{_count(matrix[i, j])}</text></g>"
        )
    yield Html(f'<path class="grid" d="{"".join(lines)}"/>')


def _overview(shares: np.ndarray) -> Html:
    """One path a shade: a thousand classes would be a million elements otherwise."""
    classes = len(shares)
    cell = min(12.0, max(0.5, round(2 * 560 / classes) / 2))
    left, top = 22.0, 22.0
    size = cell * classes
    paths: dict[tuple[str, int], list[str]] = {}
    for i, j in np.argwhere(shares > 0):
        shade = min(_SHADES - 1, int(shares[i, j] * _SHADES))
        kind = "hit" if i == j else "miss"
        square = f"M{left + j * cell:g} {top + i * cell:g}h{cell:g}v{cell:g}h-{cell:g}z"
        paths.setdefault((kind, shade), []).append(square)
    frame = Html(f'<path class="grid" d="M{left} {top}h{size:g}v{size:g}h-{size:g}z"/>')
    parts = [*_axis_titles(left, top, size), frame]
    for (kind, shade), squares in sorted(paths.items()):
        opacity = 0.3 + 0.7 * (shade + 1) / _SHADES
        parts.append(Html(f'<path class="{kind}" fill-opacity="{opacity:.2f}" d="{"".join(squares)}"/>'))
    return _svg(parts, left + size + 4, top + size + 4)


def _svg(parts: Sequence[Html], width: float, height: float) -> Html:
    style = f"width:{width:.0f}px;max-width:100%;min-width:{min(width, 0.7 * width + 60):.0f}px;height:auto"
    body = Html(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="{style}" role="img" '
        f'aria-label="confusion matrix">{join(parts)}</svg>'
    )
    return tag("div", body, class_="scroll")


def _axis_titles(left: float, top: float, size: float) -> Iterator[Html]:
    yield Html(f'<text x="{left:.1f}" y="14">predicted</text>')
    middle = top + size / 2
    yield Html(f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">true</text>')


def _count(value: float) -> str:
    """Returns a count in at most four characters; weighted counts are not whole."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k" if value < 1e6 else f"{value / 1e6:.0f}M"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.2g}"
