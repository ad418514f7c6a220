"""Tensors in requests and responses, written and read without the copies that protobuf makes.

protobuf copies a tensor's content into its own memory, and again into the message. Here the content of an
array goes straight into the message, and an array that is read is a view of the message. In protobuf's wire
format (protobuf.dev/programming-guides/encoding) a map entry is a message of a key and a value, so

    inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { ... } tensor_content: "..." } }

is tags, lengths and the content. What does not stand in `tensor_content` is left to protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kerasft.serving import protos, tensors
from kerasft.serving.client.asks import Array

INPUTS = 2
"""Number of the field `inputs` of a PredictRequest."""
OUTPUTS = 1
"""Number of the field `outputs` of a PredictResponse."""

_KEY, _VALUE, _CONTENT = 1, 2, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def write_tensors(rest: bytes, field: int, arrays: Mapping[str, Array]) -> bytes:
    """Adds tensors to a message.

    Args:
        rest: The other fields of the message, serialized.
        field: Number of the map of name to TensorProto.
        arrays: Name to array.

    Returns:
        The serialized message.
    """
    parts: list[Any] = [rest]
    for name, array in arrays.items():
        key = _prefixed(_KEY, name.encode())
        value = _tensor(array)
        size = sum(map(len, value))
        parts += [_tag(field), _varint(len(key) + len(_tag(_VALUE)) + len(_varint(size)) + size)]
        parts += [key, _tag(_VALUE), _varint(size), *value]
    return b"".join(parts)


def _tensor(array: Array) -> list[Any]:
    """The parts of a serialized TensorProto; the last may be the array's own memory."""
    if array.dtype.hasobject:
        return [tensors.to_proto(array).SerializeToString()]
    header = protos.TensorProto(dtype=tensors.dtype_number(array.dtype))
    for size in array.shape:
        header.tensor_shape.dim.add(size=size)
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return [header.SerializeToString(), _tag(_CONTENT) + _varint(content.size), content]


def _tag(field: int) -> bytes:
    return bytes([field << 3 | _BYTES])


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _prefixed(field: int, content: bytes) -> bytes:
    return _tag(field) + _varint(len(content)) + content


def read_tensors(message: bytes, field: int) -> dict[str, Array]:
    """Reads the tensors of a message.

    Args:
        message: It, serialized.
        field: Number of the map of name to TensorProto.

    Returns:
        Name to array: read-only views of the message, or copies of what is no `tensor_content`.

    Raises:
        ValueError: If the message or a tensor in it is corrupt.
    """
    arrays = {}
    for number, start, end in _fields(message, 0, len(message)):
        if number == field:
            entry = {key: (first, last) for key, first, last in _fields(message, start, end)}
            first, last = entry.get(_KEY, (0, 0))
            arrays[message[first:last].decode()] = _array(message, *entry.get(_VALUE, (0, 0)))
    return arrays


def _array(message: bytes, start: int, end: int) -> Array:
    header_end = start
    for number, first, last in _fields(message, start, end):
        if number == _CONTENT and last == end:
            header = protos.TensorProto.FromString(message[start:header_end])
            if header.dtype != tensors.STRING:
                return tensors.to_numpy(header, content=memoryview(message)[first:last])
        if number >= _CONTENT:
            break
        header_end = last
    return tensors.to_numpy(protos.TensorProto.FromString(message[start:end]))


def _fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields each field's number, and where its content begins and ends."""
    while start < end:
        tag, start = _read_varint(message, start, end)
        kind = tag & 7
        if kind == _VARINT:
            _, last = _read_varint(message, start, end)
        elif kind == _BYTES:
            size, start = _read_varint(message, start, end)
            last = start + size
        elif kind in (_FIXED64, _FIXED32):
            last = start + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"it has a field of the unknown wire type {kind}")
        if last > end:
            raise ValueError("it is cut short")
        yield tag >> 3, start, last
        start = last


def _read_varint(message: bytes, start: int, end: int) -> tuple[int, int]:
    number = 0
    for position in range(start, min(start + 10, end)):
        byte = message[position]
        number |= (byte & 0x7F) << 7 * (position - start)
        if byte < 0x80:
            return number, position + 1
    raise ValueError("it is cut short")
