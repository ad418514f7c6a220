"""GGUF files of llama.cpp, without it: settings, and tensors that are dequantised when they are asked for."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasft.errors import PretrainedError

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "<u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_MOST_AXES, _DEEPEST = 4, 4


class _Damage(Exception):
    """The file is not what it says; the reader tells which file."""


class _Kind(NamedTuple):
    """How values of a type are stored.

    Attributes:
        name: What llama.cpp calls it.
        values: Values of a block.
        bytes: Bytes of a block.
        read: From uint8 [blocks, bytes] to float32 [blocks, values].
    """

    name: str
    values: int
    bytes: int
    read: Callable[[np.ndarray], np.ndarray]


def _halves(raw: np.ndarray) -> np.ndarray:
    """Two bytes of each block as float32 [blocks, 1]."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _nibbles(raw: np.ndarray) -> np.ndarray:
    """Low halves of all bytes, then high halves."""
    return np.concatenate([raw & 15, raw >> 4], axis=1)


def _f32(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).view("<f4").astype(np.float32)


def _bf16(raw: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(raw).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_0(raw: np.ndarray) -> np.ndarray:
    return (_nibbles(raw[:, 2:]).astype(np.float32) - 8.0) * _halves(raw[:, :2])


def _q4_1(raw: np.ndarray) -> np.ndarray:
    return _nibbles(raw[:, 4:]).astype(np.float32) * _halves(raw[:, :2]) + _halves(raw[:, 2:4])


def _q8_0(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw[:, 2:]).view(np.int8).astype(np.float32) * _halves(raw[:, :2])


def _q6_k(raw: np.ndarray) -> np.ndarray:
    # Two halves of 128 values; of each the low four bits of 64 + 64 and the high two bits of 32 times four.
    low = raw[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = raw[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    values = (low | (high & 3) << 4).astype(np.int8) - 32
    scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8).astype(np.float32) * _halves(raw[:, 208:])
    scaled = values.reshape(-1, 16, 16).astype(np.float32) * scales[:, :, None]
    return scaled.reshape(-1, 256)


_KINDS = {
    0: _Kind("F32", 1, 4, _f32),
    1: _Kind("F16", 1, 2, _halves),
    2: _Kind("Q4_0", 32, 18, _q4_0),
    3: _Kind("Q4_1", 32, 20, _q4_1),
    8: _Kind("Q8_0", 32, 34, _q8_0),
    14: _Kind("Q6_K", 256, 210, _q6_k),
    30: _Kind("BF16", 1, 2, _bf16),
}


class _Place(NamedTuple):
    shape: tuple[int, ...]
    kind: _Kind
    start: int
    stop: int


class Gguf:
    """A GGUF file.

    Args:
        path: The file; it stays open while the object lives.

    Raises:
        PretrainedError: It cannot be read, is damaged, or has tensors of a type that is not known.

    Attributes:
        settings: Keys such as "llama.block_count" to numbers, strings, and lists of them.
        tensors: Names to arrays, float32 with the axes as PyTorch has them; each is read when asked for.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            with self._path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            raise PretrainedError(f"{self._path} cannot be read ({error})") from error
        try:
            self.settings, places = _read_header(self._data)
        except _Damage as error:
            raise PretrainedError(
                f"{self._path} is no GGUF file that can be used ({error}); download it again"
            ) from None
        self.tensors: Mapping[str, np.ndarray] = _Tensors(self._data, places)


class _Tensors(Mapping[str, np.ndarray]):
    def __init__(self, data: mmap.mmap, places: dict[str, _Place]) -> None:
        self._data, self._places = data, places

    def __getitem__(self, name: str) -> np.ndarray:
        place = self._places[name]
        raw = np.frombuffer(self._data, np.uint8, count=place.stop - place.start, offset=place.start)
        return place.kind.read(raw.reshape(-1, place.kind.bytes)).reshape(place.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Cursor:
    """Reads forward and never beyond the end, whatever lengths the file claims."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise _Damage("it ends too early")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            if depth >= _DEEPEST:
                raise _Damage("lists in lists in lists")
            inner, count = self.number("<I"), self.number("<Q")
            if inner in _NUMBERS:
                return self._numbers(inner, count)
            if count > len(self._data) - self.at:
                raise _Damage("a list longer than the file")
            return [self.value(inner, depth + 1) for _ in range(count)]
        if kind not in _NUMBERS:
            raise _Damage(f"a value of the unknown type {kind}")
        return self._numbers(kind, 1)[0]

    def _numbers(self, kind: int, count: int) -> list[Any]:
        dtype = np.dtype(_NUMBERS[kind])
        values = np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()
        return [bool(value) for value in values] if kind == _BOOL else values


def _read_header(data: mmap.mmap) -> tuple[dict[str, Any], dict[str, _Place]]:
    cursor = _Cursor(data)
    if cursor.take(4) != _MAGIC:
        raise _Damage("it does not begin with GGUF")
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise _Damage(f"version {version}; 2 and 3 are known")
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")
    settings: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.string()
        settings[key] = cursor.value(cursor.number("<I"))
    heads = []
    for _ in range(tensors):
        name, axes = cursor.string(), cursor.number("<I")
        if axes > _MOST_AXES:
            raise _Damage(f"the tensor {name!r} has {axes} axes")
        shape = tuple(cursor.number("<Q") for _ in range(axes))[::-1]
        heads.append((name, shape, cursor.number("<I"), cursor.number("<Q")))
    step = settings.get("general.alignment", 32)
    if not isinstance(step, int) or not 0 < step <= 1 << 20:
        raise _Damage(f"an alignment of {step!r}")
    base = -(-cursor.at // step) * step
    places = {}
    for name, shape, number, offset in heads:
        kind = _KINDS.get(number)
        if kind is None:
            known = ", ".join(kind.name for kind in _KINDS.values())
            raise _Damage(f"the tensor {name!r} has the type {number}; {known} are known")
        size = 1
        for length in shape:
            size *= length
        if shape and shape[-1] % kind.values:
            raise _Damage(f"the rows of the tensor {name!r} are no whole blocks")
        start = base + offset
        stop = start + size // kind.values * kind.bytes
        if stop > len(data):
            raise _Damage(f"the tensor {name!r} ends behind the file")
        places[name] = _Place(shape, kind, start, stop)
    return settings, places


def read_gguf(path: str | os.PathLike[str]) -> Gguf:
    """Opens a GGUF file.

    Args:
        path: The file.

    Returns:
        Its settings and tensors.

    Raises:
        PretrainedError: It cannot be read, is damaged, or has tensors of a type that is not known.

    Example:
        >>> file = read_gguf("SmolLM2-135M-Instruct.Q4_1.gguf")           # doctest: +SKIP
        >>> file.settings["llama.block_count"]                            # doctest: +SKIP
        30
    """
    return Gguf(path)
