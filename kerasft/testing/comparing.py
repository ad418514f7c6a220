"""Comparing tensors row by row, and looking into graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.export.lint import PYTHON_OPS

RTOL, ATOL = 1e-3, 1e-4


def relaxed(tensor: Any) -> tf.TypeSpec:
    """Returns the spec of a raw tensor with any number of rows."""
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tensor.dtype, ragged_rank=1)
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


def rows_of(tensor: Any) -> int | None:
    """Returns the length of the first axis of a dense or ragged tensor, None for a scalar."""
    if isinstance(tensor, tf.RaggedTensor):
        return int(tensor.nrows())
    return int(tensor.shape[0]) if tensor.shape.rank else None


def row(tensor: Any, index: int) -> np.ndarray:
    """Returns one row of a dense or ragged tensor."""
    return np.asarray(tensor[index].numpy())


def describe(array: Any) -> str:
    """Returns dtype and shape in words.

    Example:
        >>> describe(np.zeros((2, 3), np.float32))
        'float32 (2, 3)'
    """
    return f"{tf.as_dtype(array.dtype).name} {tuple(array.shape)}"


def difference(one: np.ndarray, other: np.ndarray, *, rtol: float = RTOL, atol: float = ATOL) -> str:
    """Returns in what two arrays differ, in words, or an empty string if they are the same.

    Example:
        >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
        'they are up to 0.5 apart'
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"one is {describe(one)}, the other {describe(other)}"
    if one.dtype.kind != "f" and one.dtype.kind != "c":
        wrong = np.argwhere(one != other)
        if not len(wrong):
            return ""
        at = tuple(int(i) for i in wrong[0])
        return f"{_plain(one[at])!r} became {_plain(other[at])!r}" + (f" at {list(at)}" if at else "")
    if np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    return f"they are up to {float(np.nanmax(np.abs(one - other))):.3g} apart"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def first_difference(
    one: Mapping[str, Any], other: Mapping[str, Any], **tolerance: float
) -> tuple[str, str] | None:
    """Returns the first name under which two dicts of arrays differ, and how; None if they agree."""
    for name in [*one, *(key for key in other if key not in one)]:
        if name not in one or name not in other:
            return name, "only one has it"
        found = difference(np.asarray(one[name]), np.asarray(other[name]), **tolerance)
        if found:
            return name, found
    return None


def python_ops(function: Any) -> list[str]:
    """Returns the ops that call Python among those of a concrete function, nested functions included."""
    return sorted({op for op in _ops(function) if op in PYTHON_OPS})


def random_ops(function: Any) -> list[str]:
    """Returns the ops of a concrete function that draw random numbers from a hidden state."""
    drawing = (
        "Random",
        "Multinomial",
        "TruncatedNormal",
        "RngReadAndSkip",
        "RngSkip",
        "ParameterizedTruncatedNormal",
    )
    return sorted({op for op in _ops(function) if op.startswith(drawing)})


def _ops(function: Any) -> Iterator[str]:
    graph = function.graph.as_graph_def()
    yield from (node.op for node in graph.node)
    for inner in graph.library.function:
        yield from (node.op for node in inner.node_def)
