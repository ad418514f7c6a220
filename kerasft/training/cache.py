"""The frozen-feature cache: outputs of the frozen prefix, computed once for all examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from kerasft.training.config import TrainingConfig
from kerasft.training.examples import Examples
from kerasft.training.features import FrozenPrefix
from kerasft.training.progress import Reporter
from kerasft.training.rows import RowStore
from kerasft.training.schedules import Unfreeze
from kerasft.training.update import Batch

if TYPE_CHECKING:
    from kerasft.task import Task

_PROBE = 4
_TOLERANCE = 1e-5
_HALF_TOLERANCE = 5e-2


class CacheRefused(Exception):
    """The outputs of a prefix cannot be cached; the message says why."""


class FeatureCache:
    """Lets the frozen prefix of each phase run in inference mode, and keeps its outputs where that pays.

    Args:
        task: A built task.
        config: How to train.
        unfreeze: When frozen groups are released.
        examples: Name to examples, the training data among them.
        reporter: Is told when the cache is on, and why when it is not.
        augmented: Whether training batches are changed at random.
    """

    def __init__(
        self,
        *,
        task: Task,
        config: TrainingConfig,
        unfreeze: Unfreeze | None,
        examples: Mapping[str, Examples],
        reporter: Reporter,
        augmented: bool = False,
    ) -> None:
        self._task = task
        self._config = config
        self._unfreeze = unfreeze
        self._examples = examples
        self._reporter = reporter
        self._augmented = augmented

    def enter_phase(self, frozen: frozenset[int], epoch: int) -> str:
        """Prepares task and examples for a phase; returns what tells its compiled steps from others."""
        self._task.forward_through(None)
        self._forget()
        if not frozen or self._task.forward is None:
            return ""
        try:
            prefix = FrozenPrefix(
                model=self._task.forward.model, frozen_layers=self._task.freezing.frozen_layers(frozen)
            )
        except ValueError as error:
            self._reporter.say(f"feature cache off: {error}")
            return ""
        self._task.forward_through(prefix)
        why_not = self._why_not(frozen, epoch)
        if why_not is None:
            try:
                self._fill(prefix)
                return f"cached-{epoch}"
            except CacheRefused as error:
                self._forget()
                why_not = str(error)
        self._reporter.say(f"feature cache off: {why_not}")
        return "prefix"

    def _forget(self) -> None:
        for examples in self._examples.values():
            examples.set_frontier(None)

    def _why_not(self, frozen: frozenset[int], epoch: int) -> str | None:
        if not self._config.feature_cache:
            return "feature_cache is false"
        if self._augmented:
            return "augmentation shows the frozen layers something new in every step"
        # The whole phase counts, not what is left of it: a resumed run decides as an uninterrupted one does.
        around = [other for other in (epoch - 1, epoch + 1) if 0 <= other < self._config.epochs]
        if not any(self._task.freezing.frozen_in(other, self._unfreeze) == frozen for other in around):
            return "this phase lasts one epoch, in which every output is used once"
        return None

    def _fill(self, prefix: FrozenPrefix) -> None:
        on_disk = False
        for name, examples in self._examples.items():
            with self._reporter.bar(f"caching {name} features", total=len(examples)) as bar:
                store = cache_frontier(
                    prefix=prefix,
                    examples=examples,
                    batch_size=self._config.batch_size,
                    memory_limit=self._config.cache_memory_mb << 20,
                    progress=bar.update,
                )
            on_disk |= store.on_disk
        where = "on disk" if on_disk else "in memory"
        self._reporter.say(f"feature cache on: outputs up to layer {prefix.last_layer!r} are kept {where}")


def cache_frontier(
    *,
    prefix: FrozenPrefix,
    examples: Examples,
    batch_size: int,
    memory_limit: int,
    progress: Callable[[int], None] = lambda done: None,
) -> RowStore:
    """Computes the prefix's outputs for all examples and adds them to every later batch.

    Variable-length outputs are stored without their padding, so before anything is computed a few of the
    shortest and longest examples prove that padding does not matter and that the prefix repeats itself.

    Args:
        prefix: From the model as it is frozen now.
        examples: Their batches carry the outputs afterwards.
        batch_size: Examples computed at once.
        memory_limit: Bytes held in memory, the rest goes to disk.
        progress: Called with the number of examples done.

    Raises:
        CacheRefused: the prefix draws random numbers, or the model reads padding.
    """
    examples.set_frontier(None)
    spec = examples.spec()
    run = tf.function(prefix.run, autograph=False).get_concrete_function(spec)
    variable = {}
    for name, tensor in run.structured_outputs.items():
        unknown = [axis for axis, size in enumerate(tensor.shape) if size is None and axis > 0]
        if unknown not in ([], [1]):
            raise CacheRefused(
                f"an output of layer {prefix.last_layer!r} has shape {tensor.shape}, which varies beyond its "
                "second axis"
            )
        variable[name] = bool(unknown)
    order = (
        np.arange(len(examples)) if examples.lengths is None else np.argsort(examples.lengths, kind="stable")
    )
    _prove(prefix, run, examples, variable, order)
    store = RowStore(memory_limit=memory_limit)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        store.append(*_trim(_run(run, examples.batch(indices)), variable, examples, indices))
        progress(min(start + batch_size, len(order)))
    store.finish()
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    examples.set_frontier(store, positions)
    return store


def _run(run: Callable, batch: Batch) -> dict[str, np.ndarray]:
    tensors = run(tf.nest.map_structure(lambda x: None if x is None else tf.convert_to_tensor(x), batch))
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _trim(
    frontier: dict[str, np.ndarray], variable: dict[str, bool], examples: Examples, indices: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    values: dict[str, np.ndarray] = {}
    lengths: dict[str, np.ndarray] = {}
    for name, array in frontier.items():
        values[name] = array
        if variable[name]:
            if examples.lengths is None or array.shape[1] != examples.lengths[indices].max():
                raise CacheRefused("the length of the prefix's outputs is not the length of its inputs")
            lengths[name] = examples.lengths[indices]
            values[name] = array[np.arange(array.shape[1]) < lengths[name][:, None]]
    return values, lengths


def _prove(
    prefix: FrozenPrefix, run: Callable, examples: Examples, variable: dict[str, bool], order: np.ndarray
) -> None:
    """Shows on the shortest and the longest examples that caching changes nothing.

    Raises:
        CacheRefused: it does.
    """
    shortest, indices = order[:_PROBE], np.unique(np.concatenate([order[:_PROBE], order[-_PROBE:]]))
    batch = examples.batch(indices)
    first, second = _run(run, batch), _run(run, batch)
    if any(len(output) != len(indices) for output in first.values()):
        raise CacheRefused("the frozen layers give outputs that are not one for each example")
    if any(not np.array_equal(first[name], second[name]) for name in first):
        raise CacheRefused("the frozen layers give different outputs for the same inputs")
    if examples.lengths is None:
        return
    stored = _stored(first, variable, examples, indices)
    alone = _stored(_run(run, examples.batch(shortest)), variable, examples, shortest)
    together = stored.take(np.searchsorted(indices, shortest))
    for name, array in alone.take(np.arange(len(shortest))).items():
        if not _close(together[name], array):
            raise CacheRefused("the frozen layers read the padding of shorter examples")
    padded = stored.take(np.arange(len(indices)))
    direct, again = (
        tf.nest.flatten(prefix.finish(tf.nest.map_structure(tf.constant, frontier), training=False))
        for frontier in (first, padded)
    )
    inside = np.arange(examples.lengths[indices].max()) < examples.lengths[indices][:, None]
    for a, b in zip(map(np.asarray, direct), map(np.asarray, again), strict=True):
        per_position = a.ndim > 1 and a.shape[:2] == inside.shape
        if not _close(a[inside], b[inside]) if per_position else not _close(a, b):
            raise CacheRefused("the layers after the frozen ones read the padding of shorter examples")


def _stored(
    frontier: dict[str, np.ndarray], variable: dict[str, bool], examples: Examples, indices: np.ndarray
) -> RowStore:
    store = RowStore(memory_limit=1 << 62)
    store.append(*_trim(frontier, variable, examples, indices))
    store.finish()
    return store


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    # Half-precision products round differently in batches of different shape.
    tolerance = _TOLERANCE if a.dtype.itemsize > 2 else _HALF_TOLERANCE
    a, b = a.astype(np.float32), b.astype(np.float32)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)
