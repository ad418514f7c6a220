"""numpy arrays to TensorProto messages and back, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from kerasft.serving import protos

STRING = 7

# TensorFlow's DataType number -> (numpy type, the proto field that holds values one by one).
_TYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    4: (np.dtype(np.uint8), "int_val"),
    5: (np.dtype(np.int16), "int_val"),
    6: (np.dtype(np.int8), "int_val"),
    STRING: (np.dtype(object), "string_val"),
    8: (np.dtype(np.complex64), "scomplex_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
    14: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    17: (np.dtype(np.uint16), "int_val"),
    18: (np.dtype(np.complex128), "dcomplex_val"),
    19: (np.dtype(np.float16), "half_val"),
    22: (np.dtype(np.uint32), "uint32_val"),
    23: (np.dtype(np.uint64), "uint64_val"),
}
_NUMBERS = {dtype: number for number, (dtype, _) in _TYPES.items()}
# What TensorFlow itself calls them: in signatures, in error messages, in `tf.DType.name`.
_NAMES = {1: "float32", 2: "float64", STRING: "string", 10: "bool", 14: "bfloat16"}


def dtype_of(number: int) -> np.dtype[Any] | None:
    """Returns the numpy type of a DataType number (object for strings), or None when there is none."""
    known = _TYPES.get(number)
    return known[0] if known else None


def dtype_name(number: int) -> str:
    """Returns a DataType's name as Python users write it.

    Example:
        >>> dtype_name(1), dtype_name(7), dtype_name(20)
        ('float32', 'string', 'DataType 20')
    """
    if number in _NAMES:
        return _NAMES[number]
    return str(_TYPES[number][0]) if number in _TYPES else f"DataType {number}"


def describe_info(info: Any) -> str:
    """Writes a TensorInfo as `float32[?,3]`, or `float32[...]` if its rank is unknown."""
    if info.tensor_shape.unknown_rank:
        return f"{dtype_name(info.dtype)}[...]"
    sizes = ["?" if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim]
    return f"{dtype_name(info.dtype)}[{','.join(sizes)}]"


def dtype_number(dtype: np.dtype[Any]) -> int:
    """Returns the DataType number of a numpy type.

    Raises:
        ValueError: If TensorFlow has no such type.
    """
    number = _NUMBERS.get(dtype.newbyteorder("=") if dtype.byteorder == ">" else dtype)
    if number is None:
        raise ValueError(f"a tensor cannot hold values of type {dtype}; convert the array first")
    return number


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Turns what a caller may pass into an array that a tensor can hold.

    Arrays keep their type. In plain Python values floats become float32 and integers int64. Text becomes an
    object array of bytes (str is encoded as UTF-8; numpy's own bytes type is avoided because it drops
    trailing zeros).

    Args:
        value: An array, or anything with `__array__`, or numbers, bools, str or bytes, nested in lists of
            equal lengths.

    Returns:
        An array of any rank, little-endian.

    Raises:
        ValueError: If lists have unequal lengths or the type has no tensor.

    Example:
        >>> as_array(["film", "Kino"])
        array([b'film', b'Kino'], dtype=object)
        >>> as_array([[1.5, 2]]).dtype
        dtype('float32')
    """
    if hasattr(value, "__array__"):
        array = np.asarray(value)
    else:
        leaf = value
        while isinstance(leaf, list | tuple) and leaf:
            leaf = leaf[0]
        if isinstance(leaf, str | bytes):
            array = np.array(value, dtype=object)
        else:
            try:
                array = np.array(value)
            except ValueError:
                raise ValueError(
                    "the nested lists have unequal lengths; pad them or send row lengths"
                ) from None
            if array.dtype == np.float64 and not isinstance(leaf, np.generic):
                array = array.astype(np.float32)
    if array.dtype.kind in "OSUT":
        return _bytes_array(array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    dtype_number(array.dtype)
    return array


def _bytes_array(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = np.empty(array.shape, dtype=object)
    flat = result.reshape(-1)
    for i, item in enumerate(array.reshape(-1).tolist()):
        if isinstance(item, str):
            item = item.encode()
        elif not isinstance(item, bytes):
            what = (
                "lists of unequal lengths" if isinstance(item, list | tuple) else f"a {type(item).__name__}"
            )
            raise ValueError(f"a tensor of strings cannot hold {what}; pass str or bytes")
        flat[i] = item
    return result


def to_proto(value: Any, *, fields: bool = False, into: Any = None) -> Any:
    """Encodes a value as a TensorProto.

    Args:
        value: What `as_array` accepts.
        fields: Write values one by one (`float_val` and its like), as TensorFlow Serving answers, in place of
            the raw bytes of `tensor_content`, which are a hundred times faster for images.
        into: An empty `TensorProto` to fill and return; None makes one.

    Returns:
        A `TensorProto`.
    """
    array = as_array(value)
    number = dtype_number(array.dtype)
    proto = protos.TensorProto() if into is None else into
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if number == STRING:
        proto.string_val.extend(array.reshape(-1).tolist())
    elif fields:
        field = _TYPES[number][1]
        getattr(proto, field).extend(_plain(array.reshape(-1), field).tolist())
    else:
        proto.tensor_content = array.tobytes()
    return proto


def _plain(flat: np.ndarray[Any, Any], field: str) -> np.ndarray[Any, Any]:
    if field == "half_val":
        return flat.view(np.uint16)
    if field in ("scomplex_val", "dcomplex_val"):
        return flat.view(flat.real.dtype)
    return flat


def to_numpy(proto: Any, *, content: memoryview | None = None) -> np.ndarray[Any, Any]:
    """Decodes a TensorProto, whichever of its fields holds the values.

    Args:
        proto: It.
        content: Stands for its `tensor_content`, so that the array is a view of this memory.

    Returns:
        An array; strings are an object array of bytes. Arrays made from `tensor_content` are read-only views
        of it.

    Raises:
        ValueError: If the message is corrupt: an unknown type, a negative size, or a number of values that
            does not fit the shape.
    """
    number, sizes = proto.dtype, proto.tensor_shape
    if number not in _TYPES:
        raise ValueError(f"it has the unsupported type {dtype_name(number)}")
    dtype, field = _TYPES[number]
    shape = [dim.size for dim in sizes.dim]
    if sizes.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"its shape {shape} is not fully known")
    count = math.prod(shape)
    packed = proto.tensor_content if content is None else content
    if packed and number != STRING:
        if len(packed) != count * dtype.itemsize:
            raise ValueError(f"it has {len(packed)} bytes where its shape {shape} needs "
                             f"{count * dtype.itemsize}")  # fmt: skip
        return np.frombuffer(packed, dtype).reshape(shape)
    return _filled(_decoder(number)(getattr(proto, field), dtype), count).reshape(shape)


def _decoder(number: int) -> Callable[[Any, np.dtype[Any]], np.ndarray[Any, Any]]:
    field = _TYPES[number][1]
    if number == STRING:
        return lambda values, _: np.array([*values, None], dtype=object)[:-1]
    if field == "half_val":
        return lambda values, dtype: np.array(values, dtype=np.int32).astype(np.uint16).view(dtype)
    if field in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if field == "scomplex_val" else np.float64
        return lambda values, dtype: np.array(values, dtype=part)[: len(values) // 2 * 2].view(dtype)
    if field == "int_val":
        return lambda values, dtype: np.array(values, dtype=np.int32).astype(dtype)
    return lambda values, dtype: np.array(values, dtype=dtype)


def _filled(values: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    # As in TensorFlow: a short list repeats its last value, an empty one means zeros or empty strings.
    if values.size > count:
        raise ValueError(f"it has {values.size} values where its shape needs {count}")
    if values.size == count:
        return values
    last = values[-1] if values.size else (b"" if values.dtype == object else values.dtype.type(0))
    filled = np.empty(count, dtype=values.dtype)
    filled[: values.size] = values
    filled[values.size :] = last
    return filled
