"""JSON values as what tensors of a type hold."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NoReturn

import numpy as np

from kerasft.serving.errors import ServingError
from kerasft.serving.server.calls import invalid
from kerasft.serving.tensors import STRING, dtype_of, to_proto

# DataType number -> TensorFlow's name; what JSON can bring or carry.
_NAMES = {
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "half",
    22: "uint32",
    23: "uint64",
}
_FLOATS = (1, 2)
_INT32, INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
RANGES = {
    **dict.fromkeys((3, 4, 5, 6), _INT32),
    9: INT64,
    22: (0, 2**32 - 1),
    23: (0, 2**64 - 1),
}
_FLOAT_INTEGERS = {1: 2**24 - 1, 2: 2**53 - 1}  # The largest integers that they surely hold exactly.
_LARGEST = {1: float(np.finfo(np.float32).max), 2: float(np.finfo(np.float64).max)}
_QUOTED = 500  # Characters of a value that a message quotes.


class Column:
    """One tensor, made of values of one shape.

    Args:
        dtype: DataType number of the tensor.
    """

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._values: list[Any] = []
        self._count = 0
        self._shape: list[int] | None = None

    def add(self, value: Any) -> None:
        """Adds a value, a list of values, or lists of them.

        Raises:
            ServingError: It is of another type, or of another shape than those before.
        """
        shape: list[int] = []
        inner = value
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        before = len(self._values)
        self._fill(value, 0, shape)
        if self._shape is None:
            self._shape = shape
        elif shape != self._shape:
            wanted = len(self._values) - before, before // self._count
            if wanted[0] != wanted[1]:
                raise invalid(f"Expecting tensor size: {wanted[1]} but got: {wanted[0]}")
            raise invalid(f"Expecting shape {_listed(self._shape)} but got: {_listed(shape)}")
        self._count += 1

    def tensor(self, *, rows: bool = True) -> Any:
        """Returns a TensorProto of the values that were added, stacked unless there is only one."""
        shape = [*([self._count] if rows else []), *(self._shape or [])]
        if self._dtype == STRING:
            array: np.ndarray = np.empty(len(self._values), dtype=object)
            array[:] = self._values
        else:
            array = np.array(self._values, dtype=_wide(self._dtype)).astype(dtype_of(self._dtype))
        return to_proto(array.reshape(shape))

    def _fill(self, value: Any, level: int, shape: list[int]) -> None:
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} in the "
                              f"JSON DOM. Expected at level: {len(shape)}")  # fmt: skip
            self._values.append(checked(value, self._dtype))
            return
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} "
                          f"expected size: {shape[level]}")  # fmt: skip
        if level == len(shape) - 1 and self._dtype in _FLOATS and {*map(type, value)} == {float}:
            self._values.extend(value)
            check_floats(self._values[len(self._values) - len(value) :], self._dtype)
        else:
            for inner in value:
                self._fill(inner, level + 1, shape)


def _wide(dtype: int) -> Any:
    if dtype in _FLOATS:
        return np.float64
    return {10: np.bool_, 23: np.uint64}.get(dtype, np.int64)


def check_floats(values: list[float], dtype: int) -> None:
    """Raises ServingError if one is beyond the range of the type; infinities and NaN pass."""
    if dtype == 1:
        wide = np.abs(np.array(values))
        lossy = np.isfinite(wide) & (wide > _LARGEST[dtype])
        if lossy.any():
            _lossy(values[int(np.argmax(lossy))], dtype)


def checked(value: Any, dtype: int) -> Any:
    """Returns a JSON value as what a tensor of a type holds.

    Raises:
        ServingError: It is of another type, or would lose precision.
    """
    if isinstance(value, dict):
        if dtype != STRING:
            _wrong_type(value, dtype)
        return _decoded(value)
    if dtype == STRING:
        if not isinstance(value, str):
            _wrong_type(value, dtype)
        return value.encode("utf-8", "surrogatepass")
    if dtype == 10:
        if not isinstance(value, bool):
            _wrong_type(value, dtype)
    elif dtype in _FLOATS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _wrong_type(value, dtype)
        if isinstance(value, int):
            if -(2**63) <= value < 2**64:
                if abs(value) > _FLOAT_INTEGERS[dtype]:
                    _lossy(value, dtype)
            elif abs(value) > _LARGEST[dtype]:
                _lossy(value, dtype)
        else:
            check_floats([value], dtype)
    elif dtype in RANGES:
        low, high = RANGES[dtype]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            _wrong_type(value, dtype)
    else:
        raise ServingError(
            f"Conversion of JSON Value: {quoted(value)} to type: {name_of(dtype)}", code="UNIMPLEMENTED"
        )
    return value


def name_of(dtype: int) -> str:
    """Returns TensorFlow's name of a type."""
    return _NAMES.get(dtype, f"DataType {dtype}")


def _wrong_type(value: Any, dtype: int) -> NoReturn:
    raise invalid(
        f"JSON Value: {quoted(value)} Type: {kind_of(value)} is not of expected type: {name_of(dtype)}"
    )


def _lossy(value: Any, dtype: int) -> NoReturn:
    raise invalid(
        f"Cannot convert JSON value: {quoted(value)} to {name_of(dtype)} without loss of precision."
    )


def kind_of(value: Any) -> str:
    """Returns what RapidJSON calls the type of a value."""
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    kinds: dict[type, str] = {str: "String", list: "Array", dict: "Object"}
    return kinds.get(type(value), "Number")


def quoted(value: Any) -> str:
    """Returns a value as messages quote it, a long one cut."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "...TRUNCATED"


def _listed(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def is_object(value: Any) -> bool:
    """Returns whether a value is an object that stands for more than bytes in base64."""
    return isinstance(value, dict) and not _is_base64(value)


def _decoded(value: Any) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
    text = value["b64"].translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error
