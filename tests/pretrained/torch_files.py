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
def stand_ins(*names: str) -> Iterator[list[Any]]:
    """Makes functions importable by these full names; whoever calls one fails the test."""
    modules, found = {}, []
    for full in names:
        path, _, name = full.rpartition(".")
        for depth in range(1, path.count(".") + 2):
            part = ".".join(path.split(".")[:depth])
            modules.setdefault(part, types.ModuleType(part))
        function = _refusing(path, name)
        setattr(modules[path], name, function)
        found.append(function)
    with mock.patch.dict(sys.modules, modules):
        yield found


def _refusing(module: str, name: str) -> Any:
    def function(*arguments: Any, **named: Any) -> None:
        raise AssertionError(f"{module}.{name} must not run")

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function


def dump(value: Any) -> bytes:
    """Pickles with persistent ids for storages."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if not isinstance(item, Storage):
                return None
            return ("storage", item.kind, item.key, "cpu", item.values.size)

    stream = io.BytesIO()
    Pickler(stream, 2).dump(value)
    return stream.getvalue()


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
