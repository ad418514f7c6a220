"""Answers of a task: one graph a signature, the same for `predict` and for the SavedModel."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kerasft import _compat
from kerasft.data import open_source
from kerasft.errors import DataError
from kerasft.training.examples import raw_tensors
from kerasft.training.progress import Reporter

if TYPE_CHECKING:
    from kerasft.task import Task

_ROWS = 256


def trace(task: Task, signature: str) -> Any:
    """Returns the concrete function of a signature: raw tensors by name in, named tensors out."""
    function = tf.function(lambda **inputs: task.serve(inputs, signature=signature), autograph=False)
    with _without_cudnn(task.models.values()):
        return function.get_concrete_function(**task.signatures()[signature])


@contextlib.contextmanager
def _without_cudnn(models: Iterable[keras.Model]) -> Iterator[None]:
    # Where Keras sees a GPU it traces recurrent layers into operations that no CPU has; servers are CPUs too.
    layers = [layer for model in models for layer in _compat.flatten_layers(model)]
    choices = [(layer, layer.use_cudnn) for layer in layers if hasattr(layer, "use_cudnn")]
    for layer, _ in choices:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, choice in choices:
            layer.use_cudnn = choice


class Predictor:
    """Runs the graph of "serving_default" over data of any size.

    Args:
        task: A built task; adapters added to it later are not seen.

    Attributes:
        row_outputs: Names of the outputs that have a value for each row; the others stand once for all rows.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._inputs = task.signatures()["serving_default"]
        self._fields = tuple(field for field in task.fields() if field.name in self._inputs)
        # An input may be missing from data that has other columns for `Task.request` to make it from.
        others = (field for field in task.fields() if field.name not in self._inputs and not field.target)
        self._read = self._fields + tuple(dataclasses.replace(field, required=False) for field in others)
        self._function = trace(task, "serving_default")
        outputs = self._function.structured_outputs.items()
        self.row_outputs = frozenset(name for name, tensor in outputs if tensor.shape[:1] == [None])

    def predict(
        self,
        data: Any,
        *,
        columns: Mapping[str, str] | None,
        on_error: Literal["raise", "skip"],
        reporter: Reporter,
    ) -> dict[str, np.ndarray]:
        """Answers data in parts; see `Task.predict`."""
        if self._is_one_column(data):
            data = {next(iter(self._inputs)): list(data)}
        source = open_source(
            self._task.open_data(data),
            fields=self._read,
            columns=columns,
            targets=False,
            on_error=on_error,
            default_splits=("test",),
        )
        for note in source.notes:
            reporter.say(note)
        answers = []
        with reporter.bar("predicting", total=len(source)) as bar:
            for start in range(0, len(source), _ROWS):
                end = min(start + _ROWS, len(source))
                inputs = self._task.request(source.take(np.arange(start, end)))
                for name in self._inputs:
                    if name not in inputs:
                        raise DataError(f"{source.name} has no column for {name!r}, which predict() needs.")
                outputs = self._function(**raw_tensors(inputs, self._fields))
                answers.append({name: tensor.numpy() for name, tensor in outputs.items()})
                bar.update(end)
        return {name: self._join(name, [answer[name] for answer in answers]) for name in answers[0]}

    def _is_one_column(self, data: Any) -> bool:
        if not isinstance(data, (list, tuple)) or len(self._inputs) != 1:
            return False
        return not (data and isinstance(data[0], Mapping))

    def _join(self, name: str, parts: list[np.ndarray]) -> np.ndarray:
        if len(parts) == 1 or name not in self.row_outputs:
            return parts[0]
        if name != "row_splits":
            return np.concatenate(parts)
        offsets = np.cumsum([0, *(part[-1] for part in parts[:-1])])
        return np.concatenate(
            [parts[0][:1], *(part[1:] + offset for part, offset in zip(parts, offsets, strict=True))]
        )
