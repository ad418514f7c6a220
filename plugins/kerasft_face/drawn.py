"""Cartoon faces in two domains, drawn from a seed: data without a download."""

from __future__ import annotations

import urllib.parse
from typing import Any

import numpy as np

from kerasft.errors import ConfigError, DataError

PREFIX = "cartoons:"
DOMAINS = ("people", "aliens")
_OVERSAMPLING = 4
MOST = 100_000

_SKINS = ((255, 224, 196), (241, 194, 150), (224, 172, 120), (176, 120, 76), (120, 78, 48), (84, 54, 36))
_HAIRS = ((30, 24, 20), (90, 56, 28), (150, 96, 40), (216, 170, 90), (170, 60, 30), (120, 120, 124))
_EYES = ((70, 120, 180), (80, 140, 90), (110, 70, 40), (40, 40, 44))
_ALIEN_SKINS = ((110, 210, 120), (80, 190, 200), (160, 130, 220), (200, 220, 90))


def cartoons(domain: str = "people", *, count: int = 2000, resolution: int = 32, seed: int = 0) -> np.ndarray:
    """Draws faces: people, who differ in skin, hair, eyes, mouth, glasses and background, or aliens.

    Args:
        domain: "people" or "aliens".
        count: How many.
        resolution: Side of a picture.
        seed: Draws other faces; the first ones of a longer series are those of a shorter.

    Returns:
        uint8 `[count, resolution, resolution, 3]`.

    Raises:
        ConfigError: There is no such domain.

    Example:
        >>> cartoons("aliens", count=3, resolution=16).shape
        (3, 16, 16, 3)
    """
    if domain not in DOMAINS:
        raise ConfigError(f"cartoons: there is no domain {domain!r}; take {' or '.join(DOMAINS)}")
    draw = _person if domain == "people" else _alien
    streams = np.random.SeedSequence([seed, DOMAINS.index(domain)]).spawn(count)
    return np.stack([_drawn(draw, np.random.default_rng(stream), resolution) for stream in streams])


def from_address(address: str, *, resolution: int) -> dict[str, np.ndarray]:
    """Draws what an address such as "cartoons:people?count=2000&seed=0" names.

    Raises:
        DataError: The address names something else.

    Example:
        >>> from_address("cartoons:aliens?count=2", resolution=8)["picture"].shape
        (2, 8, 8, 3)
    """
    domain, options = address.removeprefix(PREFIX).partition("?")[0], numbers(address)
    if domain not in DOMAINS or options is None:
        raise DataError(
            f"{address} names no cartoons; write for example cartoons:{DOMAINS[0]}?count=2000&seed=0, with "
            f"{' or '.join(DOMAINS)} and at most {MOST:,}"
        )
    return {"picture": cartoons(domain, resolution=resolution, **options)}


def numbers(address: str) -> dict[str, int] | None:
    """Returns count and seed of an address, as far as they are given; None where its options are others.

    Example:
        >>> numbers("cartoons:people?count=20"), numbers("cartoons:people?colour=1")
        ({'count': 20}, None)
    """
    options = address.partition("?")[2]
    given = dict(urllib.parse.parse_qsl(options))
    fits = all(name in ("count", "seed") and text.isdecimal() for name, text in given.items())
    if not fits or bool(options) != bool(given):
        return None
    found = {name: int(text) for name, text in given.items()}
    return found if 0 < found.get("count", 1) <= MOST else None


class _Canvas:
    """Draws in units of the picture's side, from a centre that may be tilted, with smooth edges."""

    def __init__(self, side: int, ground: Any) -> None:
        from PIL import Image, ImageDraw

        self._side, size = side, (side * _OVERSAMPLING,) * 2
        self._ground = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
        self._image = Image.new("RGBA", size)
        self._draw = ImageDraw.Draw(self._image)

    def _at(self, *values: float) -> list[float]:
        return [value * self._side * _OVERSAMPLING for value in values]

    def ellipse(self, x: float, y: float, width: float, height: float, colour: Any) -> None:
        self._draw.ellipse(self._at(x - width, y - height, x + width, y + height), fill=colour)

    def ring(self, x: float, y: float, radius: float, colour: Any) -> None:
        thick = max(1, round(0.018 * self._side * _OVERSAMPLING))
        box = self._at(x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, outline=colour, width=thick)

    def line(self, points: list[tuple[float, float]], colour: Any, width: float = 0.02) -> None:
        thick = max(1, round(width * self._side * _OVERSAMPLING))
        self._draw.line(self._at(*(c for p in points for c in p)), fill=colour, width=thick, joint="curve")

    def polygon(self, points: list[tuple[float, float]], colour: Any) -> None:
        self._draw.polygon(self._at(*(c for p in points for c in p)), fill=colour)

    def pixels(self, tilt: float) -> np.ndarray:
        from PIL import Image

        face = self._image.rotate(tilt, Image.Resampling.BICUBIC)
        self._ground.paste(face, mask=face)
        return np.asarray(self._ground.resize((self._side, self._side), Image.Resampling.BOX))


def _drawn(draw: Any, random: np.random.Generator, side: int) -> np.ndarray:
    corners = random.integers(60, 256, (2, 3))
    ground = np.stack([corners[[0, 0]], corners[[1, 1]]]).astype(np.uint8)
    canvas = _Canvas(side, ground)
    draw(canvas, random)
    return canvas.pixels(random.uniform(-8.0, 8.0))


def _shade(colour: Any, factor: float) -> tuple[int, ...]:
    return tuple(int(min(255, part * factor)) for part in colour)


def _pick(random: np.random.Generator, colours: Any) -> tuple[int, ...]:
    return _shade(colours[random.integers(len(colours))], random.uniform(0.9, 1.08))


def _curve(x: float, y: float, width: float, bend: float) -> list[tuple[float, float]]:
    return [(x + width * t, y + bend * (1.0 - t * t)) for t in np.linspace(-1.0, 1.0, 9).tolist()]


def _person(canvas: _Canvas, random: np.random.Generator) -> None:
    skin, hair, iris = _pick(random, _SKINS), _pick(random, _HAIRS), _pick(random, _EYES)
    x, y = 0.5 + random.uniform(-0.04, 0.04), 0.53 + random.uniform(-0.03, 0.03)
    wide, tall = random.uniform(0.23, 0.29), random.uniform(0.29, 0.35)
    style = random.integers(4)  # bald, short, long, curly
    clothes = _shade(random.integers(40, 230, 3), 1.0)
    if style == 2:
        canvas.ellipse(x, y + 0.06, wide + 0.09, tall + 0.1, hair)
    canvas.ellipse(x, 1.05, 0.4, 0.22, clothes)
    canvas.polygon([(x - 0.09, y), (x + 0.09, y), (x + 0.1, 0.93), (x - 0.1, 0.93)], _shade(skin, 0.86))
    for ear in (-1, 1):
        canvas.ellipse(x + ear * wide, y, 0.045, 0.07, _shade(skin, 0.92))
    if style:
        canvas.ellipse(x, y - 0.08, wide + 0.03, tall - 0.01, hair)
    if style == 3:
        for angle in np.linspace(np.pi, 2 * np.pi, 9).tolist():
            lock = x + (wide + 0.02) * np.cos(angle), y - 0.06 + tall * np.sin(angle)
            canvas.ellipse(*lock, 0.08, 0.08, hair)
    canvas.ellipse(x, y + (0.03 if style else 0.0), wide, tall - (0.04 if style else 0.0), skin)
    apart, size = random.uniform(0.095, 0.125), random.uniform(0.042, 0.056)
    gaze = random.uniform(-0.015, 0.015)
    brow, raised = _shade(hair, 0.8), random.uniform(-0.015, 0.02)
    for eye in (-1, 1):
        at = x + eye * apart
        canvas.ellipse(at, y - 0.02, size, size * 0.72, (250, 250, 250))
        canvas.ellipse(at + gaze, y - 0.02, size * 0.55, size * 0.6, iris)
        canvas.ellipse(at + gaze, y - 0.02, size * 0.26, size * 0.28, (20, 18, 18))
        canvas.line(_curve(at, y - 0.1 - raised, 0.055, -0.02), brow, 0.022)
    canvas.line([(x, y), (x - 0.022, y + 0.085), (x + 0.015, y + 0.09)], _shade(skin, 0.75), 0.018)
    smile, lips = random.uniform(-0.03, 0.06), random.uniform(0.07, 0.11)
    if smile > 0.03 and random.random() < 0.6:
        lower = _curve(x, y + 0.15, lips, smile + 0.03)
        canvas.polygon([*_curve(x, y + 0.15, lips, 0.005), *reversed(lower)], (130, 40, 44))
    else:
        canvas.line(_curve(x, y + 0.165, lips, smile), (160, 64, 60), 0.028)
    if random.random() < 0.25:
        frame = _shade(random.integers(10, 110, 3), 1.0)
        for eye in (-1, 1):
            canvas.ring(x + eye * apart, y - 0.02, 0.083, frame)
        canvas.line([(x - apart + 0.08, y - 0.02), (x + apart - 0.08, y - 0.02)], frame, 0.016)


def _alien(canvas: _Canvas, random: np.random.Generator) -> None:
    skin, iris = _pick(random, _ALIEN_SKINS), _shade(random.integers(10, 60, 3), 1.0)
    x, y = 0.5 + random.uniform(-0.04, 0.04), 0.5 + random.uniform(-0.03, 0.03)
    wide, chin = random.uniform(0.27, 0.33), random.uniform(0.14, 0.19)
    dark = _shade(skin, 0.7)
    canvas.ellipse(x, 1.02, 0.3, 0.2, _shade(random.integers(60, 140, 3), 1.0))
    canvas.polygon([(x - 0.05, y), (x + 0.05, y), (x + 0.06, 0.95), (x - 0.06, 0.95)], dark)
    for side in (-1, 1):
        lean = random.uniform(0.08, 0.2)
        tip = (x + side * (0.1 + lean), y - 0.42)
        canvas.line([(x + side * 0.1, y - 0.25), tip], dark, 0.025)
        canvas.ellipse(*tip, 0.04, 0.04, _shade(skin, 1.2))
    canvas.ellipse(x, y - 0.08, wide, 0.25, skin)
    jaw = [(x - wide + 0.03, y), (x + wide - 0.03, y), (x + chin / 2, y + 0.34), (x - chin / 2, y + 0.34)]
    canvas.polygon(jaw, skin)
    canvas.ellipse(x, y + 0.3, chin * 0.6, 0.06, skin)
    apart, big = random.uniform(0.12, 0.15), random.uniform(0.085, 0.115)
    for side in (-1, 1):
        at = x + side * apart
        canvas.ellipse(at, y - 0.02, big, big * 0.75, iris)
        canvas.ellipse(at - 0.03, y - 0.05, big * 0.25, big * 0.2, (240, 250, 250))
    canvas.line(_curve(x, y + 0.22, random.uniform(0.04, 0.08), random.uniform(-0.02, 0.03)), dark, 0.022)
    for side in (-1, 1):
        canvas.ellipse(x + side * 0.018, y + 0.12, 0.008, 0.012, dark)
    for _ in range(int(random.integers(0, 5))):
        canvas.ellipse(x + random.uniform(-0.15, 0.15), y - random.uniform(0.16, 0.28), 0.02, 0.015, dark)
