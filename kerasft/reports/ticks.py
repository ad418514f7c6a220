"""Round numbers for axes and for people."""

from __future__ import annotations

import math
import unicodedata

_TINY = 1e-200  # logarithms and divisions of less go wrong


def nice_step(span: float, count: int) -> float:
    """Returns a step of 1, 2 or 5 times a power of ten that cuts `span` into at most `count` parts.

    Example:
        >>> nice_step(0.93, 5), nice_step(23, 8)
        (0.2, 5.0)
    """
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    # Less a little, since 0.3 / 3 is more than 0.1.
    factor = next(f for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9))
    return round(factor * power, 12) or factor * power


def nice_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Returns round numbers, evenly spaced; the first is not above `low`, the last not below `high`.

    Example:
        >>> nice_ticks(0.12, 0.94)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, _TINY):
        half = size / 10 if size > _TINY else 0.5
        low, high = low - half, high + half
    step = nice_step(high - low, count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) if step > 1e-9 else i * step for i in range(first, last + 1)]


def tick_label(value: float, step: float) -> str:
    """Returns a tick's number with as many decimals as the step needs.

    Example:
        >>> tick_label(0.5, 0.25), tick_label(12000, 2000), tick_label(2e-5, 1e-5)
        ('0.50', '12,000', '2e-05')
    """
    if value and (abs(value) >= 1e6 or step < 1e-4):
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    if decimals and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    return f"{value:,.{decimals}f}"


def number(value: float | None) -> str:
    """Returns a metric's value as people read it.

    Example:
        >>> number(0.95123), number(12345.678), number(2e-5), number(None)
        ('0.9512', '12,345.7', '2.00e-05', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.1f}" if size >= 1000 else f"{value:.4f}"


def compact(count: int) -> str:
    """Returns a large count in three digits.

    Example:
        >>> compact(987), compact(22_713_216), compact(12_345)
        ('987', '22.7M', '12.3k')
    """
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:.0f}{unit}"
    return str(count)


def duration(seconds: float) -> str:
    """Returns a time span in its two largest units.

    Example:
        >>> duration(7.24), duration(3900), duration(200000)
        ('7.2 s', '1 h 5 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = round(seconds) // 60, round(seconds) // 3600
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {round(seconds) % 60} s"


def width_of(text: str) -> int:
    """Returns the width of text in halves of an em: East Asian characters take two.

    Example:
        >>> width_of("good"), width_of("好")
        (4, 2)
    """
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if not unicodedata.combining(c)
    )


def shorten(text: str, width: int) -> str:
    """Cuts text to a width (see `width_of`).

    Example:
        >>> shorten("a long label", 7)
        'a long…'
    """
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
