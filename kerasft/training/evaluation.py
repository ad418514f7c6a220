"""Loss and metrics over examples, as compiled steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from kerasft.data import epoch_batches
from kerasft.errors import SeveralModelsError
from kerasft.training.device import LENGTH_MULTIPLE
from kerasft.training.examples import Examples
from kerasft.training.update import Batch

if TYPE_CHECKING:
    from kerasft.task import Task


def read_metrics(metrics: Mapping[str, keras.metrics.Metric]) -> dict[str, float]:
    """Returns the scalars among the results of metrics; of one with a dict as result, one for each key."""
    scalars: dict[str, float] = {}
    for name, metric in metrics.items():
        result = metric.result()
        for key, value in (result if isinstance(result, dict) else {name: result}).items():
            array = np.asarray(value)
            if array.size == 1:
                scalars[key] = float(array.reshape(()))
    return scalars


def check_measurable(task: Task) -> None:
    """Refuses a task that can tell nothing about data.

    Raises:
        SeveralModelsError: it has several models and no `measure` of its own.
    """
    if not task.measurable:
        raise SeveralModelsError(
            f"The task {task.name!r} has several models, hence no outputs to compare with data, and does not "
            "define measure(), which evaluation and validation need: look at samples or losses instead."
        )


class Evaluator:
    """Computes the loss, the metrics and the further measures of a task over examples.

    Args:
        task: A built task.
        metrics: Name to metric; reset at the start of every run.
        jit_compile: Compile with XLA.
    """

    def __init__(
        self, *, task: Task, metrics: Mapping[str, keras.metrics.Metric], jit_compile: bool = False
    ) -> None:
        self._task = task
        self._metrics = metrics
        self._jit_compile = jit_compile
        self._multiple = LENGTH_MULTIPLE if jit_compile else 1
        self._functions: dict[str, Callable] = {}

    def _step(self, batch: Batch) -> tf.Tensor:
        loss, outputs = self._task.supervised(batch, training=False)
        self._task.update_metrics(self._metrics, batch, outputs, training=False)
        return loss

    def run(
        self,
        examples: Examples,
        *,
        batch_size: int,
        variant: str = "",
        progress: Callable[[int], None] = lambda done: None,
        callbacks: keras.callbacks.CallbackList | None = None,
    ) -> dict[str, float]:
        """Returns {"loss": ..., metric: ..., measure: ...}; of several models the measures only.

        Args:
            examples: With targets.
            batch_size: Examples in one batch; those of similar length go together.
            variant: Tells apart steps that compute differently (a feature cache).
            progress: Called with the number of examples done.
            callbacks: Their test hooks are called.
        """
        callbacks = callbacks or keras.callbacks.CallbackList()
        callbacks.on_test_begin()
        results: dict[str, float] = {}
        if self._task.forward is not None:
            results = self._supervised(examples, batch_size, variant, progress, callbacks)
        results |= self._task.measure(examples, batch_size=batch_size, progress=progress)
        callbacks.on_test_end(results)
        return results

    def _supervised(
        self,
        examples: Examples,
        batch_size: int,
        variant: str,
        progress: Callable[[int], None],
        callbacks: keras.callbacks.CallbackList,
    ) -> dict[str, float]:
        for metric in self._metrics.values():
            metric.reset_state()
        if variant not in self._functions:
            function = tf.function(self._step, autograph=False, jit_compile=self._jit_compile)
            self._functions[variant] = function.get_concrete_function(examples.spec())
        total = done = 0.0
        batches = epoch_batches(
            len(examples), batch_size, seed=0, epoch=0, lengths=examples.lengths, shuffle=False
        )
        for number, indices in enumerate(batches):
            callbacks.on_test_batch_begin(number)
            batch = tf.nest.map_structure(
                lambda x: None if x is None else tf.convert_to_tensor(x),
                examples.batch(indices, multiple=self._multiple),
            )
            total += float(self._functions[variant](batch)) * len(indices)
            done += len(indices)
            progress(int(done))
            callbacks.on_test_batch_end(number, {"loss": total / done})
        return {"loss": total / done, **read_metrics(self._metrics)}
