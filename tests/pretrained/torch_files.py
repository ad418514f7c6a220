"""Writes what torch.save writes, without PyTorch."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

_KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


class Call:
    """What a pickle records as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.state = function, arguments

    def __reduce__(self) -> Any:
        return self.state


class Storage:
    """What a pickle records by a persistent id."""

    def __init__(self, key: str, kind: Any, values: np.ndarray) -> None:
        self.key, self.kind, self.values = key, kind, values


@contextlib.contextmanager
def stand_ins(*names: str, classes: Mapping[str, type] = types.MappingProxyType({})) -> Iterator[list[Any]]:
    """Makes functions and classes importable by full names; whoever calls a function fails the test."""
    modules: dict[str, types.ModuleType] = {}
    things = {**{full: _refusing(full) for full in names}, **classes}
    for full, thing in things.items():
        path, _, name = full.rpartition(".")
        thing.__module__, thing.__qualname__, thing.__name__ = path, name, name
        for depth in range(1, path.count(".") + 1):
            part = ".".join(path.split(".")[:depth])
            if part not in sys.modules:
                modules.setdefault(part, types.ModuleType(part))
        setattr(modules.setdefault(path, types.ModuleType(path)), name, thing)
    with mock.patch.dict(sys.modules, modules):
        yield [things[full] for full in names]


def _refusing(full: str) -> Any:
    def function(*arguments: Any, **named: Any) -> None:
        raise AssertionError(f"{full} must not run")

    return function


def dump(value: Any, *, protocol: int = 2) -> bytes:
    """Pickles with persistent ids for storages."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if not isinstance(item, Storage):
                return None
            return ("storage", item.kind, item.key, "cpu", item.values.size)

    stream = io.BytesIO()
    Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def stream(storage: Storage) -> bytes:
    """Returns what torch.save once wrote for a storage alone."""
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    content = storage.values.size.to_bytes(8, "little") + storage.values.tobytes()
    return head + dump(storage) + pickle.dumps([storage.key], 2) + content


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """Writes a state dict as a .pth file (a .zip)."""
    kinds = sorted({_KINDS[array.dtype.str[1:]] for array in tensors.values()})
    with stand_ins("torch._utils._rebuild_tensor_v2", *(f"torch.{kind}" for kind in kinds)) as found:
        rebuild, *classes = found
        by_kind = dict(zip(kinds, classes, strict=True))
        state: OrderedDict[str, Call] = OrderedDict()
        storages = []
        for key, (name, values) in enumerate(tensors.items()):
            array = np.ascontiguousarray(values).reshape(values.shape)
            storage = Storage(str(key), by_kind[_KINDS[array.dtype.str[1:]]], array)
            strides = tuple(stride // array.itemsize for stride in array.strides)
            state[name] = Call(rebuild, storage, 0, array.shape, strides, False, OrderedDict())
            storages.append(storage)
        content = dump(state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", content)
        for storage in storages:
            archive.writestr(f"weights/data/{storage.key}", storage.values.tobytes())
    return path
