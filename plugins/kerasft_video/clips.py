"""From videos to clips: chosen frames, each brought to the size of the model as soon as it is decoded."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from kerasft.errors import DataError
from kerasft.vision.resizing import resize
from kerasft_video.config import VideoConfig
from kerasft_video.reading import Frame, count, frames
from kerasft_video.sampling import clips_of

_CUT_SHORT = 0.9

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Read(NamedTuple):
    """What was read of a video.

    Attributes:
        clips: uint8 `[clips, frames, side, side, 3]`.
        seconds: Length of the whole video.
    """

    clips: np.ndarray
    seconds: float


def read_clips(path: Path, config: VideoConfig) -> Read:
    """Reads the clips of a video; no more than their frames, and one of full size, are held.

    Args:
        path: A file or a folder of pictures.
        config: `sampling`, `side` and `fit` are read.

    Raises:
        DataError: It cannot be read, breaks off, or is too short.
    """
    expected = count(path)
    _check_length(path, expected, config)
    wanted = set(clips_of(expected, config.sampling).ravel().tolist())
    found: dict[int, np.ndarray] = {}
    last: Frame | None = None
    total = 0
    for last in frames(path):
        if total in wanted:
            found[total] = _fitted(last.pixels, config)
        total += 1
    if total < _CUT_SHORT * expected:
        raise DataError(f"{path} breaks off after {total} of {expected} frames; repair or remove it")
    _check_length(path, total, config)
    if last is not None and total <= max(wanted):
        found[total - 1] = _fitted(last.pixels, config)
    numbers = np.minimum(clips_of(expected, config.sampling), total - 1)
    seconds = last.time * total / max(total - 1, 1) if last is not None else 0.0
    return Read(np.stack([[found[number] for number in clip] for clip in numbers.tolist()]), seconds)


def clips_in(video: np.ndarray, config: VideoConfig) -> np.ndarray:
    """Returns the clips of a video that is an array.

    Args:
        video: uint8 or float in 0 to 255, `[frames, height, width, 3]`.
        config: `sampling`, `side` and `fit` are read.

    Returns:
        uint8 `[clips, frames, side, side, 3]`.
    """
    numbers = clips_of(len(video), config.sampling)
    places, back = np.unique(numbers, return_inverse=True)
    return _fitted(video[places], config)[back.reshape(numbers.shape)]


def in_workers(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> Iterator[_Result | DataError]:
    """Does work in threads and gives the results in order, at most two for each worker ahead of the reader.

    Args:
        work: What to do with an item.
        items: Gone through as results are taken.
        workers: Threads.

    Yields:
        What `work` returned, or the DataError that it raised.

    Example:
        >>> list(in_workers(abs, [3, -4], workers=2))
        [3, 4]
    """
    waiting: deque[Future[_Result | DataError]] = deque()

    def attempt(item: _Item) -> _Result | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    rest = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="clips") as pool:
        try:
            waiting.extend(pool.submit(attempt, item) for item in itertools.islice(rest, 2 * workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(attempt, item) for item in itertools.islice(rest, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def _check_length(path: Path, count: int, config: VideoConfig) -> None:
    least = config.sampling.least
    if count < least:
        are = "1 frame" if count == 1 else f"{count} frames"
        raise DataError(f"{path} is too short: it has {are}, and sampling.least is {least}; remove it")


def _fitted(pixels: np.ndarray, config: VideoConfig) -> np.ndarray:
    with tf.device("CPU:0"):
        fitted: np.ndarray = resize(tf.convert_to_tensor(pixels), size=config.side, fit=config.fit).numpy()
    return fitted
