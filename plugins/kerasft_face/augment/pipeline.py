"""The augmentations of StyleGAN2-ADA, drawn for each picture, executed as one move and one recolouring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_face.augment import colour, geometry
from kerasft_face.augment.draws import Draws

_SHARE = 0.125  # of the side, by which a picture is moved
_ZOOM, _CONTRAST, _SATURATION = 0.2, 0.5, 1.0  # standard deviations, in powers of two
_BRIGHTNESS = 0.2


def _flip(draws: Draws, side: int) -> Any:
    mirrored = draws.sometimes() * draws.whole(2)
    return geometry.scaling(1.0 - 2.0 * mirrored, tf.ones_like(mirrored))


def _quarter_turns(draws: Draws, side: int) -> Any:
    return geometry.quarter_turns(draws.sometimes() * draws.whole(4))


def _shift(draws: Draws, side: int) -> Any:
    pixels = draws.sometimes() * side * _SHARE
    return geometry.translation(tf.round(pixels * draws.uniform()), tf.round(pixels * draws.uniform()))


def _zoom(draws: Draws, side: int) -> Any:
    factor = tf.pow(2.0, draws.sometimes() * _ZOOM * draws.normal())
    return geometry.scaling(factor, factor)


def _rotate(draws: Draws, side: int) -> Any:
    return geometry.rotation(draws.sometimes(twice=True) * math.pi * draws.uniform())


def _stretch(draws: Draws, side: int) -> Any:
    factor = tf.pow(2.0, draws.sometimes() * _ZOOM * draws.normal())
    return geometry.scaling(factor, 1.0 / factor)


def _slide(draws: Draws, side: int) -> Any:
    pixels = draws.sometimes() * side * _SHARE
    return geometry.translation(pixels * draws.normal(), pixels * draws.normal())


def _brightness(draws: Draws) -> Any:
    return colour.brightness(draws.sometimes() * _BRIGHTNESS * draws.normal())


def _contrast(draws: Draws) -> Any:
    return colour.contrast(tf.pow(2.0, draws.sometimes() * _CONTRAST * draws.normal()))


def _luma_flip(draws: Draws) -> Any:
    return colour.luma_flip(draws.sometimes() * draws.whole(2))


def _hue(draws: Draws) -> Any:
    return colour.hue(draws.sometimes() * math.pi * draws.uniform())


def _saturation(draws: Draws) -> Any:
    return colour.saturation(tf.pow(2.0, draws.sometimes() * _SATURATION * draws.normal()))


# Rotations before and after stretching let it act along any direction.
_MOVES: tuple[tuple[str, Callable[[Draws, int], Any]], ...] = (
    ("flip", _flip),
    ("quarter_turns", _quarter_turns),
    ("shift", _shift),
    ("zoom", _zoom),
    ("rotate", _rotate),
    ("stretch", _stretch),
    ("rotate", _rotate),
    ("slide", _slide),
)
_COLOURINGS: tuple[tuple[str, Callable[[Draws], Any]], ...] = (
    ("brightness", _brightness),
    ("contrast", _contrast),
    ("luma_flip", _luma_flip),
    ("hue", _hue),
    ("saturation", _saturation),
)

KINDS = {
    "b": ("flip", "quarter_turns", "shift"),
    "g": ("zoom", "rotate", "stretch", "slide"),
    "c": ("brightness", "contrast", "luma_flip", "hue", "saturation"),
}
"""Pixel blitting, general geometric transformations and colour transformations, by their letters."""


@keras.saving.register_keras_serializable(package="kerasft_face")
class Augment(keras.layers.Layer):
    """Applies each of its augmentations to each picture with one probability.

    Nothing leaks while the probability is below a bound, which is 0.82 for "shift" and 1 for the others:
    there, the distribution of augmented pictures determines that of the pictures. So a generator whose
    pictures look real when augmented makes pictures that look real.
    Source: Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data", section 2 and
    appendices B and C.

    Args:
        kinds: Letters of `KINDS`, or names of single augmentations.
        seed: Of the random numbers.
        **kwargs: Of `keras.layers.Layer`.

    Raises:
        ValueError: There is no such augmentation, or none is asked for.

    Example:
        >>> Augment("bgc", seed=0)(keras.ops.zeros((2, 8, 8, 3)), p=0.5).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, kinds: str | Sequence[str] = "bgc", *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        known = {name for names in KINDS.values() for name in names}
        self.kinds = kinds if isinstance(kinds, str) else tuple(kinds)
        names = {name for kind in self.kinds for name in KINDS.get(kind, (kind,))}
        if not names or not names <= known:
            raise ValueError(
                f"Augment: kinds must be of the letters {', '.join(KINDS)} or of the names "
                f"{', '.join(sorted(known))}, not {kinds!r}."
            )
        self._moves = [move for name, move in _MOVES if name in names]
        self._colourings = [colouring for name, colouring in _COLOURINGS if name in names]
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures: Any, p: Any) -> Any:
        """Augments pictures.

        Args:
            pictures: float `[batch, side, side, 3]`, about -1 to 1; the side is known.
            p: The probability, a scalar.
        """
        moved, recoloured = self.draw(tf.shape(pictures)[0], p, side=pictures.shape[1], dtype=pictures.dtype)
        if moved is not None:
            pictures = geometry.warp(pictures, moved)
        if recoloured is not None:
            pictures = colour.recolour(pictures, recoloured)
        return pictures

    def draw(self, count: Any, p: Any, *, side: int, dtype: Any = "float32") -> tuple[Any, Any]:
        """Draws what to do with pictures.

        Args:
            count: How many.
            p: The probability, a scalar.
            side: Of the pictures.
            dtype: Of the results.

        Returns:
            Maps of places `[count, 3, 3]` and of colours `[count, 4, 4]`, see `geometry` and `colour`; None
            where nothing of the sort is in `kinds`.
        """
        draws = Draws(count=count, p=p, seed=self.seed_generator, dtype=dtype)
        moved = _all([move(draws, side) for move in self._moves])
        return moved, _all([colouring(draws) for colouring in self._colourings])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kinds": self.kinds, "seed": self.seed}


def _all(maps: list[Any]) -> Any:
    total = None
    for each in maps:
        total = each if total is None else geometry.compose(each, total)
    return total
