"""Answers of a task: one graph a signature, the same for `predict` and for the SavedModel."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kerasft import _compat
from kerasft._suggest import suggestion
from kerasft.data import open_source
from kerasft.errors import ConfigError, DataError
from kerasft.training.examples import raw_tensors
from kerasft.training.progress import Reporter

if TYPE_CHECKING:
    from kerasft.task import Task

_ROWS = 256
_FIRST = 16
_BYTES = 16 << 20


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
    """Runs the graph of a signature over data of any size.

    Args:
        task: A built task; adapters added to it later are not seen.
        signature: One of its signatures.

    Raises:
        ConfigError: It has no such signature.

    Attributes:
        row_outputs: Names of the outputs that have a value for each row; the others stand once for all rows.
    """

    def __init__(self, task: Task, signature: str = "serving_default") -> None:
        self._task = task
        self._signature = signature
        signatures = task.signatures()
        if signature not in signatures:
            hint = suggestion(signature, signatures, noun="signatures")
            raise ConfigError(f"signature: {task.name!r} has no {signature!r}; {hint}.")
        self._inputs = signatures[signature]
        self._fields = tuple(field for field in task.fields() if field.name in self._inputs)
        # An input may be missing from data that has other columns for `Task.request` to make it from.
        others = [f for f in task.fields() if f.name not in self._inputs and not f.target and not f.request]
        optional = [field for field in self._fields if field.request and field.default is not None]
        self._defaults = {field.name: field.default for field in optional}
        needed = tuple(field for field in self._fields if field not in optional)
        self._read = needed + tuple(dataclasses.replace(f, required=False) for f in (*optional, *others))
        self._needed = [name for name in self._inputs if name not in self._defaults]
        self._function = trace(task, signature)
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
        """Answers data in parts; see `Task.predict`.

        Raises:
            DataError: a row is bad, or the graph refuses a value.
        """
        if self._is_one_column(data):
            data = {self._needed[0]: list(data)}
        source = open_source(
            self._task.open_data(data),
            fields=self._read,
            columns=columns,
            targets=False,
            requests=True,
            on_error=on_error,
            default_splits=("test",),
        )
        for note in source.notes:
            reporter.say(note)
        answers = []
        with reporter.bar("predicting", total=len(source)) as bar:
            start, end = 0, min(_FIRST, len(source))
            while start < end:
                rows = source.take(np.arange(start, end))
                missing = self._defaults.keys() - rows.keys()
                rows |= {name: [self._defaults[name]] * (end - start) for name in missing}
                inputs = self._task.request(rows, signature=self._signature)
                for name in self._inputs:
                    if name not in inputs:
                        raise DataError(f"{source.name} has no column for {name!r}, which predict() needs.")
                raw = raw_tensors(inputs, self._fields)
                fitted = {name: self._fitted(name, raw[name]) for name in raw}
                try:
                    outputs = self._function(**fitted)
                except tf.errors.InvalidArgumentError as error:
                    raise DataError(f"{source.name}: {_reason(error)}.") from error
                answers.append({name: tensor.numpy() for name, tensor in outputs.items()})
                bar.update(end)
                # What a model makes of its inputs can be a hundred times as large as they are.
                size = sum(tensor.dtype.size * tf.size(tensor).numpy() for tensor in fitted.values())
                at_once = np.clip(_BYTES * (end - start) / max(size, 1), 1, _ROWS)
                start, end = end, min(end + int(at_once), len(source))
        return {name: self._join(name, [answer[name] for answer in answers]) for name in answers[0]}

    def _fitted(self, name: str, values: Any) -> Any:
        """Returns values of whatever kind as the signature has them; JSON and Python know float64 only."""
        spec = self._inputs.get(name)
        if spec is None:
            return values
        if isinstance(values, tf.RaggedTensor):
            return values.to_tensor() if isinstance(spec, tf.TensorSpec) else values
        if values.dtype != spec.dtype and values.dtype != tf.string and spec.dtype != tf.string:
            values = tf.cast(values, spec.dtype)
        if values.dtype != spec.dtype or not spec.shape.is_compatible_with(values.shape):
            raise DataError(
                f"{name!r} is {values.dtype.name} {tuple(values.shape)}, but the signature "
                f"{self._signature!r} takes {spec.dtype.name} {tuple(spec.shape)}."
            )
        return values

    def _is_one_column(self, data: Any) -> bool:
        if not isinstance(data, (list, tuple)) or len(self._needed) != 1:
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


def _reason(error: tf.errors.OpError) -> str:
    """Returns what an assertion of a graph says, or the first line of another error, without its node."""
    line = re.sub(r"^(\{\{.*?\}\} ?)+", "", error.message.partition("\n")[0])
    said = re.fullmatch(r"assertion failed: (.*)", line)
    return re.sub(r"[\[\]]", "", said[1]).strip() if said else line.rstrip(".")
