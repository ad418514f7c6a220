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


@dataclasses.dataclass(frozen=True)
class Batches:
    """Pictures that are read when they are needed, for sets that memory cannot hold.

    Attributes:
        count: How many there are.
        read: From the numbers of the first picture and of the one after the last to uint8 `[pictures, height,
            width, 3]`; the same whenever it is called.

    Example:
        >>> pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
        >>> Batches(2, lambda start, end: pictures[start:end]).read(1, 2).shape
        (1, 2, 2, 3)
    """

    count: int
    read: Callable[[int, int], np.ndarray]

    def __len__(self) -> int:
        return self.count


def extract(
    pictures: np.ndarray | Batches,
    extractor: Extractor,
    *,
    batch_size: int = 64,
    cache: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Features:
    """Extracts features, a batch at a time.

    Args:
        pictures: uint8 `[pictures, height, width, 3]`, or the same in batches, held one at a time.
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
    if not isinstance(pictures, Batches):
        whole = pictures
        pictures = Batches(len(whole), lambda start, end: whole[start:end])
    path = _cached(pictures, extractor, batch_size) if cache else None
    if path is not None and path.is_file():
        with contextlib.suppress(TrainingError):  # a broken file is written anew
            return Features(load(path).arrays["values"], extractor.identity)
    parts = []
    for start in range(0, len(pictures), batch_size):
        end = min(start + batch_size, len(pictures))
        parts.append(extractor(pictures.read(start, end)))
        progress(end)
    values = np.concatenate(parts)
    if not np.isfinite(values).all():
        raise ConfigError(f"features of {extractor.name} are NaN or infinite: they cannot be compared")
    if path is not None:
        save(path, {"values": values}, {"extractor": extractor.identity})
    return Features(values, extractor.identity)


def _cached(pictures: Batches, extractor: Extractor, batch_size: int) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(pictures), batch_size):
        part = pictures.read(start, min(start + batch_size, len(pictures)))
        if start == 0:
            digest.update(f"{extractor.identity} {(len(pictures), *part.shape[1:])}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
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
