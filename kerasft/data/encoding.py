"""Values of a row as bytes and back, without pickle."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np

_BYTES, _ARRAY = "__bytes__", "__array__"


def encode(values: list[Any]) -> bytes:
    """Returns JSON in which bytes and arrays are base64.

    Args:
        values: Texts, numbers, bytes, numeric arrays, and lists and dicts of these.

    Example:
        >>> decode(encode([1, "a", b"a", [np.float32(0.5)]]))
        [1, 'a', b'a', [0.5]]
    """
    return json.dumps(values, default=_to_json).encode()


def decode(record: bytes) -> list[Any]:
    """Returns what `encode` was given; tuples come back as lists."""
    return json.loads(record, object_hook=_from_json)


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return value.tolist()
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {_ARRAY: base64.b64encode(file.getvalue()).decode()}
    kind = type(value).__name__
    raise TypeError(f"a value of type {kind} cannot be kept; give texts, numbers, bytes or arrays")


def _from_json(value: dict[str, Any]) -> Any:
    if value.keys() == {_BYTES}:
        return base64.b64decode(value[_BYTES])
    if value.keys() == {_ARRAY}:
        return np.load(io.BytesIO(base64.b64decode(value[_ARRAY])), allow_pickle=False)
    return value
