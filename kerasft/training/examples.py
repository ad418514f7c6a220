"""Encoded examples: every row preprocessed once, then batched in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import DataError, TrainingError
from kerasft.training.rows import RowStore
from kerasft.training.update import Batch

if TYPE_CHECKING:
    from kerasft.task import Task

_CHUNK = 512
_FIRST = 32
_CHUNK_BYTES = 64 << 20


def raw_tensors(rows: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Returns rows as the tensors that `Task.preprocess` and `Task.targets` receive.

    Args:
        rows: Column to a list of values, as a Source returns it.
        fields: What each column is. Texts, labels, ids and bytes become string `[batch]`, numbers float32,
            integers int64, booleans bool `[batch]`, lists of strings a RaggedTensor `[batch, None]`, spans
            three of them, NAME_start and NAME_end (int64) and NAME_type (string).
    """
    raw: dict[str, Any] = {}
    for field in fields:
        if field.name not in rows:
            continue
        values = rows[field.name]
        if field.kind in ("text", "label", "id"):
            raw[field.name] = tf.constant([str(value) for value in values], tf.string)
        elif field.kind == "bytes":
            # Not through NumPy, whose byte strings lose the zeros at their end.
            raw[field.name] = tf.constant(list(values), tf.string)
        elif field.kind == "number":
            raw[field.name] = tf.constant(np.asarray(values, np.float32))
        elif field.kind == "integer":
            raw[field.name] = tf.constant(np.asarray(values, np.int64))
        elif field.kind == "boolean":
            raw[field.name] = tf.constant(np.asarray(values, np.bool_))
        elif field.kind == "spans":
            parts = {"start": (0, tf.int64), "end": (1, tf.int64), "type": (2, tf.string)}
            for part, (position, dtype) in parts.items():
                raw[f"{field.name}_{part}"] = _ragged(
                    [[span[position] for span in row] for row in values], dtype
                )
        elif field.kind == "any":
            raw[field.name] = _stacked(field.name, values)
        else:
            raw[field.name] = _ragged(values, tf.string)
    return raw


def _stacked(name: str, values: Sequence[Any]) -> tf.Tensor:
    shapes = {np.shape(value): place for place, value in reversed(list(enumerate(values)))}
    if len(shapes) > 1:
        (one, first), (other, second) = sorted(shapes.items(), key=lambda pair: pair[1])[:2]
        raise DataError(
            f"The values of {name!r} must have one shape, but row {first + 1} has {one} and row {second + 1} "
            f"has {other}: bring them to one size."
        )
    try:
        return tf.convert_to_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        kind = type(values[0]).__name__
        raise DataError(f"The values of {name!r} are {kind}s, which no tensor can hold ({error}).") from None


def _ragged(rows: Sequence[Sequence[Any]], dtype: tf.DType) -> tf.RaggedTensor:
    flat = [value for row in rows for value in row]
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(flat, dtype), np.array([len(row) for row in rows], np.int64)
    )


class Encoder:
    """Turns raw rows into feature and target tensors with a task's own, compiled preprocessing."""

    def __init__(self, *, task: Task, fields: Sequence[Field], targets: bool) -> None:
        self._fields = fields
        self._function: Callable | None = None
        self._task = task
        self._targets = targets

    def _encode(self, raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._task.preprocess(raw), self._task.targets(raw) if self._targets else {}

    def __call__(self, rows: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        raw = raw_tensors(rows, self._fields)
        if self._function is None:
            spec = {name: _any_batch(tensor) for name, tensor in raw.items()}
            self._function = tf.function(self._encode, autograph=False).get_concrete_function(spec)
        return self._function(raw)


def _any_batch(tensor: Any) -> tf.TypeSpec:
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tensor.dtype, ragged_rank=1)
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


class Examples:
    """The encoded rows of a source.

    Args:
        task: Its `preprocess` and `targets` encode.
        source: The rows.
        targets: Whether to encode targets too.
        weight: Weight of each row in the loss, from the row's columns; None weighs all the same.
        memory_limit: Bytes held in memory, the rest goes to disk.
        progress: Called with the number of rows encoded so far.
    """

    def __init__(
        self,
        *,
        task: Task,
        source: Source,
        targets: bool,
        weight: Callable[[Mapping[str, Any]], np.ndarray] | None = None,
        memory_limit: int = 2 << 30,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        if len(source) == 0:
            raise DataError("The data has no rows.")
        encoder = Encoder(task=task, fields=source.fields, targets=targets)
        store = RowStore(memory_limit=memory_limit)
        start, end = 0, min(_FIRST, len(source))
        while start < end:
            rows = source.take(np.arange(start, end))
            features, answers = encoder(rows)
            columns = {f"features/{k}": v for k, v in features.items()} | {
                f"targets/{k}": v for k, v in answers.items()
            }
            if weight is not None:
                columns["sample_weight"] = tf.constant(weight(rows), tf.float32)
            _append(store, columns)
            progress(end)
            # Rows of whole videos are large: as many at once as fit into memory beside the store.
            start, end = end, min(end + _rows_at_once(store.nbytes / end), len(source))
        store.finish()
        self._store = store
        self._count = len(source)
        self.lengths = store.lengths()
        self._frontier: tuple[RowStore, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def on_disk(self) -> bool:
        """Whether the rows exceeded the memory limit."""
        return self._store.on_disk

    def set_frontier(self, store: RowStore | None, order: np.ndarray | None = None) -> None:
        """Adds cached outputs of a frozen prefix to every batch (row `order[i]` of `store` for example i)."""
        self._frontier = None if store is None or order is None else (store, order)

    def batch(self, indices: np.ndarray, *, multiple: int = 1) -> Batch:
        """Returns the examples at `indices` (int64 `[batch]`) as numpy arrays, see `RowStore.take`."""
        parts = self._split(self._store.take(indices, multiple=multiple))
        if self._frontier is not None:
            store, order = self._frontier
            parts = parts._replace(frontier=store.take(order[indices], multiple=multiple))
        return parts

    def stacked(self, batches: Sequence[np.ndarray], *, multiple: int = 1) -> Batch:
        """Returns several batches of one size, stacked: arrays `[batches, batch, ...]`."""
        joined = self.batch(np.concatenate(batches), multiple=multiple)
        shape = (len(batches), len(batches[0]))
        return tf.nest.map_structure(
            lambda array: None if array is None else array.reshape(*shape, *array.shape[1:]), joined
        )

    def spec(self) -> Batch:
        """Returns the `tf.TensorSpec` of a batch, None where a dimension differs from batch to batch."""
        parts = self._split({name: tf.TensorSpec(*self._store.spec(name)) for name in self._store.names})
        if self._frontier is not None:
            store = self._frontier[0]
            parts = parts._replace(frontier={name: tf.TensorSpec(*store.spec(name)) for name in store.names})
        return parts

    @staticmethod
    def _split(columns: Mapping[str, Any]) -> Batch:
        features = {
            name.removeprefix("features/"): v for name, v in columns.items() if name.startswith("features/")
        }
        targets = {
            name.removeprefix("targets/"): v for name, v in columns.items() if name.startswith("targets/")
        }
        return Batch(features, targets, columns.get("sample_weight"))


def _rows_at_once(row_bytes: float) -> int:
    return int(np.clip(_CHUNK_BYTES / max(row_bytes, 1), 1, _CHUNK))


def _append(store: RowStore, columns: Mapping[str, Any]) -> None:
    values: dict[str, np.ndarray] = {}
    lengths: dict[str, np.ndarray] = {}
    for name, tensor in columns.items():
        if isinstance(tensor, tf.RaggedTensor):
            if tensor.ragged_rank != 1:
                raise TrainingError(
                    f"{name.replace('/', ' ')!r} is ragged in {tensor.ragged_rank} dimensions; only the "
                    "first after the batch may be: make the others dense with to_tensor()."
                )
            values[name], lengths[name] = tensor.flat_values.numpy(), tensor.row_lengths().numpy()
        else:
            values[name] = tensor.numpy()
        if values[name].dtype == object:
            raise TrainingError(
                f"{name.replace('/', ' ')!r} is a string tensor, which a model cannot take; return numbers "
                "from preprocess() and targets()."
            )
    store.append(values, lengths)
