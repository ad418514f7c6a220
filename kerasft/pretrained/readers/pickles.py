"""Pickles of whole objects: their state is read, their classes are not needed and none of their code runs."""

from __future__ import annotations

import collections
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers.torch import names_in_pickles
from kerasft.pretrained.readers.unpickling import Unpickler

_NUMBERS = "biufc"


def read_pickle(path: str | os.PathLike[str], *, records: Collection[str] = ()) -> Any:
    """Reads a pickle of plain values, numpy's arrays, PyTorch's tensors and named classes.

    Args:
        path: The file.
        records: Full names of classes, and of functions that rebuild objects from a dict, such as
            ``"package.module.Class"``; what they make becomes a dict of its state.

    Returns:
        What was pickled; arrays and tensors as `numpy.ndarray`.

    Raises:
        PretrainedError: The file is missing, damaged, or names anything else, which is not run.

    Example:
        >>> read_pickle("network.pkl", records=["library.Network"])["layers"]   # doctest: +SKIP
        {'dense': {'kernel': array(...)}}
    """
    path = Path(path)

    class Record(dict[Any, Any]):
        """Of this reading alone, because a pickle may change the attributes of a class."""

        def __setstate__(self, state: Any) -> None:
            self.update(state)

    known = {
        **names_in_pickles(path),
        "collections.OrderedDict": collections.OrderedDict,
        "_codecs.encode": _encoded,
        "numpy.dtype": _DType,
        "numpy.ndarray": None,
        **dict.fromkeys(records, Record),
    }
    for home in ("numpy.core", "numpy._core"):
        known |= {f"{home}.multiarray._reconstruct": _Array, f"{home}.multiarray.scalar": _scalar}
        known[f"{home}.numeric._frombuffer"] = _from_buffer
    for home in ("builtins", "__builtin__"):
        known |= {f"{home}.set": set, f"{home}.bytes": _no_bytes}
    try:
        with path.open("rb") as file:
            return _plain(Unpickler(file, known=known, source=path).load(), {})
    except FileNotFoundError as error:
        raise PretrainedError(f"{path} does not exist; name a pickle") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PretrainedError(f"{path} is a damaged pickle ({error}); download it again") from error


class _DType:
    """Stands for numpy's type of numbers; the real one would believe any state."""

    __slots__ = ("type",)

    def __init__(self, text: Any, *rest: Any) -> None:
        self.type = np.dtype(str(text))
        if self.type.kind not in _NUMBERS:
            raise ValueError(f"numbers of type {text}")

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.type = self.type.newbyteorder(state[1])


class _Array:
    """Stands for numpy's array, for the same reason."""

    __slots__ = ("values",)

    def __init__(self, *ignored: Any) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, content = state
        self.values = _from_buffer(_bytes(content), dtype, shape, "F" if by_columns else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    values = np.frombuffer(content, dtype.type) if content else np.zeros(0, dtype.type)
    return values.reshape(tuple(map(int, shape)), order=order).copy()


def _scalar(dtype: Any, content: Any) -> Any:
    return np.frombuffer(_bytes(content), dtype.type)[0]


def _bytes(content: Any) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else content


def _encoded(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes so where a pickle is of protocol 2."""
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """It writes none at all so."""
    return b""


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Replaces what stands for arrays by arrays, in place where the container can change."""
    if isinstance(value, _Array):
        return value.values
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in seen:
        return seen[id(value)][1]
    # The old value is kept too, or another could get its id.
    seen[id(value)] = value, value
    if isinstance(value, dict):
        dict.update(value, {key: _plain(item, seen) for key, item in dict.items(value)})
    elif isinstance(value, list):
        value[:] = [_plain(item, seen) for item in value]
    else:
        seen[id(value)] = value, tuple(_plain(item, seen) for item in value)
    return seen[id(value)][1]
