"""What callers pass to arrays that a tensor can hold, and strings back to str."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np

from kerasft.serving import tensors
from kerasft.serving.client.asks import Array

BINARY = "_bytes"
"""What the name of a tensor ends in that holds files and the like, in TensorFlow Serving's REST API."""

# A plain Python value may become a type of its own kind or of a later one; bfloat16's kind is V.
_KINDS = {kind: level for level, kinds in enumerate(("b", "iu", "fV", "c")) for kind in kinds}


def to_array(value: Any, dtype: int | None = None) -> Array:
    """Turns a value into an array.

    Arrays keep their type. Plain Python numbers and pictures take the wanted type if it can hold them:
    integers may become floats, floats no integers. Pictures become PNG files where strings are wanted,
    and uint8 pixels elsewhere.

    Args:
        value: Numbers, str, bytes, Pillow images, arrays, or lists of them.
        dtype: DataType number of the wanted type; None takes float32 for floats and int64 for integers.

    Raises:
        ValueError: If the lists have unequal lengths, a number does not fit, or no tensor holds such values.

    Example:
        >>> to_array([1, 2], dtype=2)
        array([1., 2.])
        >>> to_array(["Kino"])
        array([b'Kino'], dtype=object)
    """
    leaf = _leaf(value)
    picture = _is_picture(leaf)
    if picture:
        value = _pictures(value, encoded=dtype == tensors.STRING)
    array = tensors.as_array(value)
    if dtype is None or (hasattr(leaf, "dtype") and not picture):
        return array
    return _adopted(value, array, tensors.dtype_of(dtype))


def _leaf(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


def _is_picture(value: Any) -> bool:
    # Who holds a picture has imported Pillow.
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def _pictures(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_pictures(item, encoded=encoded) for item in value]
    if not _is_picture(value):
        return value
    if not encoded:
        # Without this, palette images would be sent as indices.
        return np.asarray(value.convert() if value.mode == "P" else value)
    file = io.BytesIO()
    value.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _adopted(value: Any, array: Array, wanted: np.dtype[Any] | None) -> Array:
    if wanted is None or array.dtype == wanted:
        return array
    if array.size == 0:
        return np.empty(array.shape, dtype=wanted)
    if not _KINDS.get(array.dtype.kind, 9) <= _KINDS.get(wanted.kind, -1):
        return array
    if wanted.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(wanted)
        for number in (array.min(), array.max()):
            if not limits.min <= int(number) <= limits.max:
                raise ValueError(f"{number} does not fit {wanted}")
    # From the value, not from the array: as float32 it would have lost digits that float64 keeps.
    return np.array(value, dtype=wanted)


def readable(name: str, array: Array) -> Array:
    """Turns an output of UTF-8 strings into str.

    As in TensorFlow Serving's REST API, an output whose name ends in `_bytes` is binary and stays as it is.
    So does one with any value that is not UTF-8.

    Example:
        >>> raw = np.array([b"Kino"], dtype=object)
        >>> readable("label", raw), readable("image_bytes", raw)
        (array(['Kino'], dtype=object), array([b'Kino'], dtype=object))
    """
    if not array.dtype.hasobject or name.endswith(BINARY):
        return array
    decoded = np.empty(array.shape, dtype=object)
    try:
        decoded.reshape(-1)[:] = [item.decode() for item in array.reshape(-1)]
    except UnicodeDecodeError:
        return array
    return decoded
