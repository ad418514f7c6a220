"""PyTorch's .pth and .pt files, zip archives and the older stream of pickles, without PyTorch."""

from __future__ import annotations

import collections
import io
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers.unpickling import Unpickler

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


@dataclass
class _Storage:
    dtype: np.dtype[Any]
    values: np.ndarray | None = None


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, which an older file holds only after all its tensors."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor without values")
        if (
            len(self.shape) != len(self.strides)
            or min((*self.shape, *self.strides, self.offset), default=0) < 0
        ):
            raise ValueError("a tensor of impossible shape")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last >= len(values):
            raise ValueError("a tensor larger than its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides).copy()


class _Tensors:
    """Stands for PyTorch's functions that rebuild tensors; has no state that a pickle could change."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any = 0, shape: Any = (), strides: Any = (), *rest: Any) -> Any:
        if isinstance(storage, _Tensor):  # a parameter around its tensor
            return storage
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    **dict.fromkeys(
        (
            "torch._utils._rebuild_tensor",
            "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_parameter",
        ),
        _Tensors(),
    ),
    # A storage's class says nothing but the type of its numbers.
    **{f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()},
}


def read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch file.

    Args:
        path: What ``torch.save`` wrote for a dict of tensors, or for a dict of such dicts.

    Returns:
        Arrays by name; names of nested dicts are joined by dots. What is no tensor is left out.

    Raises:
        PretrainedError: The file is missing, damaged, of another format, without tensors, or names code.

    Example:
        >>> read_torch("resnet.pth")["conv1.weight"].shape                     # doctest: +SKIP
        (64, 3, 7, 7)
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            read = _read_zip if zipfile.is_zipfile(file) else _read_stream
            file.seek(0)
            found = read(file, path)
        tensors = {name: tensor.array() for name, tensor in _flat(found)}
    except PretrainedError:
        raise
    except FileNotFoundError as error:
        raise PretrainedError(f"{path} does not exist; name a file that torch.save wrote") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise PretrainedError(f"{path} is a damaged PyTorch file ({error}); download it again") from error
    if not tensors:
        raise PretrainedError(f"{path} holds no tensors; save a state_dict")
    return tensors


class _Arrays(_Tensors):
    """The same where a tensor's numbers are there already."""

    __slots__ = ()

    def __call__(self, storage: Any, *rest: Any) -> Any:
        if isinstance(storage, np.ndarray):
            return storage
        return super().__call__(storage, *rest).array()


def names_in_pickles(source: Any) -> dict[str, Any]:
    """Returns what stands for PyTorch's names in a plain pickle, whose tensors become arrays.

    Args:
        source: What an error calls the file.
    """

    def storage(content: Any) -> Any:
        return _read_stream(io.BytesIO(content), source)

    arrays = _Arrays()
    return {
        **dict.fromkeys((name for name, known in _KNOWN.items() if isinstance(known, _Tensors)), arrays),
        "torch.storage._load_from_bytes": storage,
        "torch.Size": tuple,
    }


def _read_zip(file: IO[bytes], path: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise PretrainedError(f"{path} is a .zip, but not one that torch.save wrote")
        root, storages = roots[0], {}
        big = f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") == b"big"

        def storage(pid: Any) -> _Storage:
            _, dtype, key, *_ = pid
            if key not in storages:
                kind = np.dtype(dtype).newbyteorder(">" if big else "<")
                storages[key] = _Storage(kind, np.frombuffer(archive.read(f"{root}data/{key}"), kind))
            return storages[key]

        stream = io.BytesIO(archive.read(f"{root}data.pkl"))
        return Unpickler(stream, known=_KNOWN, persistent=storage, source=path).load()


def _read_stream(file: IO[bytes], path: Any) -> Any:
    if file.read(1) != b"\x80":
        raise PretrainedError(f"{path} is no PyTorch file; name a .pth or .pt that torch.save wrote")
    file.seek(0)
    if Unpickler(file, known={}, source=path).load() != _MAGIC:
        raise PretrainedError(f"{path} is a pickle, but not one that torch.save wrote")
    for _ in ("version", "system"):
        Unpickler(file, known={}, source=path).load()
    storages: dict[str, _Storage] = {}

    def storage(pid: Any) -> _Storage:
        _, dtype, key, *_ = pid
        return storages.setdefault(key, _Storage(np.dtype(dtype)))

    found = Unpickler(file, known=_KNOWN, persistent=storage, source=path).load()
    for key in Unpickler(file, known={}, source=path).load():
        count, kind = int.from_bytes(file.read(8), "little"), storages[key].dtype
        content = file.read(count * kind.itemsize)
        if len(content) != count * kind.itemsize:
            raise ValueError("it is cut short")
        storages[key].values = np.frombuffer(content, kind)
    return found


def _flat(found: Any, prefix: str = "") -> Iterator[tuple[str, _Tensor]]:
    if not isinstance(found, Mapping):
        return
    for name, value in found.items():
        if isinstance(value, _Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _flat(value, f"{prefix}{name}.")
