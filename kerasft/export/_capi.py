"""The part of TensorFlow's C API that loads and runs a SavedModel, through ctypes.

Everything here is a thin declaration; `kerasft.export.runtime` is what other modules use.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import threading
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ExportError
from kerasft.serving.tensors import STRING, dtype_name, dtype_number, dtype_of

_STRING_SIZE = 24
_ALIGNMENT = 64


class RuntimeFailure(ExportError):
    """TensorFlow's runtime refused something.

    Attributes:
        code: TensorFlow's status code, the same numbers as gRPC's.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Buffer(ctypes.Structure):
    """`TF_Buffer`."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


class Output(ctypes.Structure):
    """`TF_Output`: an operation and the index of one of its outputs."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


_Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "TF_Version": (c_char_p, ()),
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_DeleteBuffer": (None, (POINTER(Buffer),)),
    "TF_GetAllOpList": (POINTER(Buffer), ()),
    "TF_GetAllRegisteredKernels": (POINTER(Buffer), (c_void_p,)),
    "TF_LoadLibrary": (c_void_p, (c_char_p, c_void_p)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_DeleteGraph": (None, (c_void_p,)),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_NewOperation": (c_void_p, (c_void_p, c_char_p, c_char_p)),
    "TF_AddInput": (None, (c_void_p, Output)),
    "TF_FinishOperation": (c_void_p, (c_void_p, c_void_p)),
    "TF_OperationNumOutputs": (c_int, (c_void_p,)),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_SessionRun": (
        None,
        # session, run options, inputs, outputs, targets, run metadata, status
        (
            *(c_void_p, c_void_p),
            *(POINTER(Output), POINTER(c_void_p), c_int),
            *(POINTER(Output), POINTER(c_void_p), c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ),
    ),
    "TF_NewTensor": (
        c_void_p,
        (c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, _Deallocator, c_void_p),
    ),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorByteSize": (c_size_t, (c_void_p,)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_StringInit": (None, (c_void_p,)),
    "TF_StringCopy": (None, (c_void_p, c_char_p, c_size_t)),
    "TF_StringDealloc": (None, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
}

# What takes less time than to let go of Python's lock, which other threads may want.
_SHORT = re.compile("TF_(NewStatus|DeleteStatus|GetCode|Message|NumDims|Dim|String.*|.*Tensor.*)")
_SHORT_COPY = 2**16
_copy = ctypes.PyDLL(None).memmove
_copy.restype, _copy.argtypes = None, (c_void_p, c_void_p, c_size_t)


def folder_variable(package: str) -> str:
    """Returns the environment variable of a folder to take the libraries of a package from."""
    return f"KERASFT_RUNTIME_{package.upper()}"


def package_folder(name: str) -> Path | None:
    """Returns the folder of an installed package without importing it, or of another release in its place."""
    chosen = os.environ.get(folder_variable(name))
    if chosen:
        return Path(chosen)
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


class Library:
    """TensorFlow's shared library with typed functions; use `library()` to get the only one."""

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self.path = path
        unlocked, locked = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(locked if _SHORT.fullmatch(name) else unlocked, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@cache
def _library() -> Library:
    folder = package_folder("tensorflow")
    if folder is None:
        raise ExportError(
            "TensorFlow is not installed in this Python: install `tensorflow` to load SavedModels"
        )
    for name in ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib"):
        if (folder / name).is_file():
            try:
                return Library(folder / name)
            except OSError as error:
                raise ExportError(
                    f"TensorFlow's runtime {folder / name} cannot be loaded: {error}"
                ) from error
            except AttributeError as error:
                raise ExportError(f"TensorFlow's runtime {folder / name} is too old: {error}") from error
    raise ExportError(
        f"no libtensorflow_cc in {folder}: install the official `tensorflow` wheel, 2.18 or newer"
    )


_loading = threading.Lock()


def library() -> Library:
    """Loads TensorFlow's C++ runtime from the installed wheel, once, without importing TensorFlow.

    Raises:
        ExportError: If TensorFlow is not installed or its wheel has no such library.
    """
    with _loading:
        return _library()


class Status:
    """A `TF_Status` that raises on exit from its `with` block when a call left an error in it."""

    def __enter__(self) -> Any:
        self.pointer = library().TF_NewStatus()
        return self.pointer

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        lib = library()
        code, text = lib.TF_GetCode(self.pointer), lib.TF_Message(self.pointer)
        lib.TF_DeleteStatus(self.pointer)
        if code and kind is None:
            raise RuntimeFailure(text.decode("utf-8", "replace"), code)


def take_buffer(pointer: Any) -> bytes:
    """Copies and frees a `TF_Buffer`."""
    content = ctypes.string_at(pointer.contents.data, pointer.contents.length)
    library().TF_DeleteBuffer(pointer)
    return content


def _move(target: int, source: int, length: int) -> None:
    (_copy if length <= _SHORT_COPY else ctypes.memmove)(target, source, length)


_alive: dict[int, ctypes.Array[Any]] = {}


@_Deallocator
def _free_strings(data: int, length: int, _: Any) -> None:
    # Runs when TensorFlow drops its last reference, maybe after the call that passed the tensor.
    lib = library()
    for offset in range(0, length, _STRING_SIZE):
        lib.TF_StringDealloc(data + offset)
    _alive.pop(data, None)


def new_tensor(array: np.ndarray[Any, Any]) -> int:
    """Copies an array into a new `TF_Tensor`; strings are object arrays of bytes.

    Raises:
        ValueError: If TensorFlow has no such type.
    """
    lib = library()
    number = dtype_number(array.dtype)
    dims = (c_int64 * array.ndim)(*array.shape)
    if number != STRING:
        array = array if array.flags.c_contiguous else array.copy()
        tensor: int = lib.TF_AllocateTensor(number, dims, array.ndim, array.nbytes)
        _move(lib.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
        return tensor
    length = array.size * _STRING_SIZE
    block = ctypes.create_string_buffer(length + _ALIGNMENT)  # All zeros: each slot is a valid empty string.
    address = -(-ctypes.addressof(block) // _ALIGNMENT) * _ALIGNMENT  # Kernels abort on unaligned tensors.
    _alive[address] = block
    for i, item in enumerate(array.reshape(-1).tolist()):
        lib.TF_StringCopy(address + i * _STRING_SIZE, item, len(item))
    return int(lib.TF_NewTensor(number, dims, array.ndim, address, length, _free_strings, None))


def take_tensor(tensor: int) -> np.ndarray[Any, Any]:
    """Copies a `TF_Tensor` into an array and frees it."""
    lib = library()
    try:
        number = lib.TF_TensorType(tensor)
        dtype = dtype_of(number)
        if dtype is None:
            raise ExportError(
                f"an output has the type {dtype_name(number)}, which has no numpy counterpart; cast it"
            )
        shape = tuple(lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor)))
        array = np.empty(shape, dtype=dtype)
        data = lib.TF_TensorData(tensor)
        if number == STRING:
            flat = array.reshape(-1)
            for i in range(flat.size):
                slot = data + i * _STRING_SIZE
                flat[i] = ctypes.string_at(lib.TF_StringGetDataPointer(slot), lib.TF_StringGetSize(slot))
        elif array.nbytes:
            _move(array.ctypes.data, data, array.nbytes)
        return array
    finally:
        lib.TF_DeleteTensor(tensor)
