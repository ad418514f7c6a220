"""The batches of an epoch, made ready and brought to the device while steps before them run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import tensorflow as tf

from kerasft.training.augmentation import Augmentation, Augmenter
from kerasft.training.examples import Examples
from kerasft.training.update import Batch

Kind = TypeVar("Kind")

# Two, because a GPU takes a batch only after what it was told to do before.
_AHEAD = 2


class Feed:
    """Makes batches of examples.

    Args:
        examples: The training data.
        augmentation: What changes batches at random, or None.
        seed: Of the augmentation.
        multiple: Variable-length rows are padded to a multiple of this.
        stacked: Whether several batches go into one call, along a leading axis.
        device: Where all of a batch must be, int32 too, for example "GPU:0"; TensorFlow's choice if None.

    Attributes:
        waited: Seconds that steps waited for a batch.
    """

    def __init__(
        self,
        *,
        examples: Examples,
        augmentation: Augmentation | None,
        seed: int,
        multiple: int,
        stacked: bool,
        device: str | None = None,
    ) -> None:
        self._examples = examples
        self._multiple = multiple
        self._stacked = stacked
        self._device = device
        self._augmenter = (
            None if augmentation is None else Augmenter(augmentation, seed=seed, spec=examples.spec())
        )
        self.waited = 0.0

    @property
    def spec(self) -> Batch:
        """`tf.TensorSpec` of one batch."""
        return self._examples.spec() if self._augmenter is None else self._augmenter.spec

    def run(
        self, calls: Iterable[tuple[range, Kind]], batches: Sequence[np.ndarray], *, epoch: int
    ) -> Generator[tuple[range, Kind, Batch], None, None]:
        """Yields calls with what they take, in order; close it when it is left early.

        Args:
            calls: Which steps of the epoch each call runs, and what tells it from others.
            batches: Row numbers of each step.
            epoch: Counted from 0.
        """
        ahead: deque[tuple[range, Kind, Future[Batch]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="kerasft-feed") as pool:
            for steps, kind in calls:
                ahead.append((steps, kind, pool.submit(self._ready, steps, batches, epoch)))
                if len(ahead) > _AHEAD:
                    yield self._next(ahead)
            while ahead:
                yield self._next(ahead)

    def _next(self, ahead: deque[tuple[range, Kind, Future[Batch]]]) -> tuple[range, Kind, Batch]:
        steps, kind, batch = ahead.popleft()
        started = time.perf_counter()
        ready = batch.result()
        self.waited += time.perf_counter() - started
        return steps, kind, ready

    def _ready(self, steps: range, batches: Sequence[np.ndarray], epoch: int) -> Batch:
        with tf.device(self._device):
            return tf.nest.map_structure(
                lambda array: None if array is None else tf.identity(array),
                self._batch(steps, batches, epoch),
            )

    def _batch(self, steps: range, batches: Sequence[np.ndarray], epoch: int) -> Batch:
        if self._augmenter is None:
            if self._stacked:
                return self._examples.stacked([batches[i] for i in steps], multiple=self._multiple)
            return self._examples.batch(batches[steps.start], multiple=self._multiple)
        changed = [
            self._augmenter(
                self._examples.batch(batches[i], multiple=self._multiple), step=epoch * len(batches) + i
            )
            for i in steps
        ]
        if not self._stacked:
            return changed[0]
        with tf.device("CPU:0"):
            return tf.nest.map_structure(
                lambda *parts: None if parts[0] is None else tf.stack(parts), *changed
            )
