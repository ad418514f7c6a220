"""Pictures as features, with the name of what extracted them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kerasft.errors import ConfigError, TrainingError
from kerasft.metrics.extractors import Extractor
from kerasft.pretrained.cache import home
from kerasft.training.checkpoint import load, save


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of a set of pictures.

    Attributes:
        values: float32 `[pictures, features]`.
        extractor: Name and hash of what extracted them.
    """

    values: np.ndarray
    extractor: str


def extract(
    pictures: np.ndarray,
    extractor: Extractor,
    *,
    batch_size: int = 64,
    cache: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Features:
    """Extracts features, a batch at a time.

    Args:
        pictures: uint8 `[pictures, height, width, 3]`.
        extractor: From `kerasft.metrics.extractor`.
        batch_size: Pictures at once.
        cache: Keep the features under KERASFT_HOME, and take them from there the next time.
        progress: Called with the number of pictures done.

    Raises:
        ConfigError: There is no picture, or the features are not finite or cannot be kept.
    """
    if len(pictures) == 0:
        raise ConfigError("there is no picture to extract features from")
    if cache and not extractor.lasting:
        raise ConfigError(
            f"features of {extractor.name} cannot be kept, since nothing tells the function from another of "
            "its name: leave out cache, or make an Extractor with a digest"
        )
    path = _cached(pictures, extractor) if cache else None
    if path is not None and path.is_file():
        with contextlib.suppress(TrainingError):  # a broken file is written anew
            return Features(load(path).arrays["values"], extractor.identity)
    parts = []
    for start in range(0, len(pictures), batch_size):
        parts.append(extractor(pictures[start : start + batch_size]))
        progress(min(start + batch_size, len(pictures)))
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        raise ConfigError(f"features of {extractor.name} are NaN or infinite: they cannot be compared")
    if path is not None:
        save(path, {"values": values}, {"extractor": extractor.identity})
    return Features(values, extractor.identity)


def _cached(pictures: np.ndarray, extractor: Extractor) -> Path:
    digest = hashlib.blake2b(f"{extractor.identity} {pictures.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pictures).tobytes())
    return home() / "features" / f"{digest.hexdigest()}.npz"


def check_comparable(one: Features, other: Features) -> None:
    """Refuses features of different extractors.

    Raises:
        ConfigError: They are.
    """
    if one.extractor != other.extractor:
        raise ConfigError(
            f"features of {one.extractor} cannot be compared with features of {other.extractor}: "
            "extract both sets with one extractor"
        )
