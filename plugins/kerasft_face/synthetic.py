"""Faces that a fetched DCGAN makes from seeds: pictures of nobody, as data."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasft.errors import DataError
from kerasft.pretrained.converters import dcgan
from kerasft_face.drawn import MOST, numbers

NAME = "dcgan_faces"

_AT_ONCE = 100


def dcgan_faces(*, count: int = 2000, resolution: int = 64, seed: int = 0) -> np.ndarray:
    """Makes faces with the DCGAN that `kerasft fetch dcgan_faces` brings (MIT; trained on drawn people).

    Args:
        count: How many.
        resolution: Side of a picture; they are made at 64 and resized with anti-aliasing.
        seed: Makes other faces; the first ones of a longer series are those of a shorter.

    Returns:
        uint8 `[count, resolution, resolution, 3]`.

    Raises:
        PretrainedError: The weights cannot be had.

    Example:
        >>> dcgan_faces(count=3, resolution=32).shape                          # doctest: +SKIP
        (3, 32, 32, 3)
    """
    from PIL import Image

    model = dcgan.pretrained(dtype="float32")
    latents = np.random.default_rng(seed).standard_normal((count, dcgan.LATENT)).astype(np.float32)
    found = np.empty((count, resolution, resolution, 3), np.uint8)
    for start in range(0, count, _AT_ONCE):
        made = np.asarray(model(latents[start : start + _AT_ONCE], training=False))
        pixels = np.clip(np.round((made + 1.0) * 127.5), 0, 255).astype(np.uint8)
        for number, picture in enumerate(pixels, start=start):
            resized = Image.fromarray(picture).resize((resolution, resolution), Image.Resampling.LANCZOS)
            found[number] = np.asarray(resized)
    return found


def is_address(data: Any) -> bool:
    """Says whether data is "dcgan_faces", or that with options.

    Example:
        >>> is_address("dcgan_faces?count=10"), is_address("./dcgan_faces")
        (True, False)
    """
    return isinstance(data, str) and data.partition("?")[0] == NAME


def from_address(address: str, *, resolution: int) -> dict[str, np.ndarray]:
    """Makes what an address such as "dcgan_faces?count=2000&seed=0" names.

    Raises:
        DataError: Its options are others.
        PretrainedError: The weights cannot be had.
    """
    options = numbers(address)
    if options is None:
        raise DataError(f"{address}: write for example {NAME}?count=2000&seed=0, with at most {MOST:,}")
    return {"picture": dcgan_faces(resolution=resolution, **options)}
