"""Loads and runs SavedModels in TensorFlow's C++ runtime, without its Python, as TensorFlow Serving does."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from kerasft.errors import ExportError
from kerasft.export import _capi, layout
from kerasft.export._capi import RuntimeFailure as RuntimeFailure
from kerasft.export.serving_ops import EXTENSIONS
from kerasft.serving import protos
from kerasft.serving.tensors import as_array, dtype_name, dtype_of


def version() -> str:
    """Returns the version of the installed TensorFlow runtime."""
    return str(_capi.library().TF_Version().decode())


def _op_list() -> Any:
    return protos.OpList.FromString(_capi.take_buffer(_capi.library().TF_GetAllOpList()))


def op_defs() -> dict[str, Any]:
    """Returns the OpDef of every op registered now."""
    return {op.name: op for op in _op_list().op}


@cache
def core_ops() -> frozenset[str]:
    """Returns the names of the ops of TensorFlow itself, before any extension was loaded."""
    return frozenset(op.name for op in _op_list().op)


def kernels() -> dict[str, list[Any]]:
    """Returns the KernelDefs registered now, by op."""
    with _capi.Status() as status:
        content = _capi.take_buffer(_capi.library().TF_GetAllRegisteredKernels(status))
    found: dict[str, list[Any]] = {}
    for kernel in protos.KernelList.FromString(content).kernel:
        found.setdefault(kernel.op, []).append(kernel)
    return found


@cache
def load_extension(package: str) -> bool:
    """Registers the ops of an extension package, found without importing it.

    Returns:
        Whether the package is installed.

    Raises:
        ExportError: If one of its libraries does not fit the installed TensorFlow.
    """
    core_ops()
    folder = _capi.package_folder(package)
    if folder is None:
        return False
    lib = _capi.library()
    for library in sorted(path for pattern in EXTENSIONS[package].libraries for path in folder.glob(pattern)):
        try:
            with _capi.Status() as status:
                lib.TF_LoadLibrary(str(library).encode(), status)
        except RuntimeFailure as failure:
            raise ExportError(
                f"{package} does not fit the installed TensorFlow {version()}; install the release of "
                f"the same minor version ({library.name}: {failure})"
            ) from failure
    return True


def graph_ops(meta_graph: Any) -> set[str]:
    """Returns the ops of a graph's nodes and function library, without calls of its own functions."""
    library = meta_graph.graph_def.library.function
    ops = {node.op for node in meta_graph.graph_def.node}
    for function in library:
        ops.update(node.op for node in function.node_def)
    return ops - {function.signature.name for function in library}


def load_extensions_for(ops: set[str]) -> None:
    """Loads the extension packages that register some of `ops`.

    Raises:
        ExportError: If one of them is not installed, or does not fit TensorFlow.
    """
    for package, extension in EXTENSIONS.items():
        needed = sorted((ops & extension.ops) - op_defs().keys())
        if needed and not load_extension(package):
            raise ExportError(
                f"the graph uses {needed[0]}, an op of {extension.distribution}, which is not installed: "
                f"pip install {extension.distribution}"
            )


class Model:
    """A SavedModel in memory. `call` may be used from many threads at once.

    Args:
        path: A version folder.
        threads: Threads within one op and between ops; None lets TensorFlow take all cores.

    Raises:
        ExportError: If the folder has no readable graph.
        RuntimeFailure: If the loader refuses it.

    Example:
        >>> with Model("saved_models/reviews/1") as model:                   # doctest: +SKIP
        ...     model.call("serving_default", {"text": ["what a film"]})
        {'label': array([b'positive'], dtype=object), ...}
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self.meta_graph = layout.read_meta_graph(self.path)
        self.signatures = layout.signatures(self.meta_graph)
        load_extensions_for(graph_ops(self.meta_graph))
        self._library = _capi.library()
        self._idle = threading.Condition()
        self._running = 0
        self._graph = self._session = None
        self._outputs: dict[str, _capi.Output] = {}
        self._load(threads)

    def _load(self, threads: int | None) -> None:
        config = protos.ConfigProto(
            intra_op_parallelism_threads=threads or 0, inter_op_parallelism_threads=threads or 0
        )
        config.gpu_options.allow_growth = True
        content = config.SerializeToString()
        lib = self._library
        graph, options = lib.TF_NewGraph(), lib.TF_NewSessionOptions()
        try:
            with _capi.Status() as status:
                lib.TF_SetConfig(options, content, len(content), status)
            with _capi.Status() as status:
                self._session = lib.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    str(self.path).encode(),
                    (ctypes.c_char_p * 1)(b"serve"),
                    1,
                    graph,
                    None,
                    status,
                )
        except RuntimeFailure:
            lib.TF_DeleteGraph(graph)
            raise
        finally:
            lib.TF_DeleteSessionOptions(options)
        self._graph = graph

    def call(
        self, signature: str, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Runs a signature.

        Args:
            signature: Its name.
            inputs: A value for each named input; Python values take the type that the signature asks for.
            outputs: Which outputs to compute; all of them when None.

        Returns:
            An array for each output; strings are object arrays of bytes.

        Raises:
            ExportError: If there is no such signature, input or output.
            RuntimeFailure: If the graph fails.
        """
        definition = self.signatures.get(signature)
        if definition is None:
            raise ExportError(
                f"{self.path} has no signature {signature!r}; it has {', '.join(self.signatures)}"
            )
        wanted = sorted(definition.outputs) if outputs is None else list(outputs)
        if unknown := sorted(set(inputs) - set(definition.inputs)) + sorted(
            set(wanted) - set(definition.outputs)
        ):
            raise ExportError(f"signature {signature!r} of {self.path} has no input or output {unknown[0]!r}")
        feeds = {
            definition.inputs[name].name: _fit(value, definition.inputs[name])
            for name, value in inputs.items()
        }
        values = self.run(feeds, [definition.outputs[name].name for name in wanted])
        return dict(zip(wanted, values, strict=True))

    def run(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], fetches: Sequence[str]
    ) -> list[np.ndarray[Any, Any]]:
        """Runs the graph between named tensors (`"op:0"`), the level below signatures."""
        with self._idle:
            if self._session is None:
                raise ExportError(f"the model of {self.path} was closed")
            self._running += 1
        try:
            return self._run(feeds, fetches)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _run(
        self, feeds: Mapping[str, np.ndarray[Any, Any]], fetches: Sequence[str]
    ) -> list[np.ndarray[Any, Any]]:
        lib = self._library
        sources = (_capi.Output * len(feeds))(*map(self._output, feeds))
        targets = (_capi.Output * len(fetches))(*map(self._output, fetches))
        results = (ctypes.c_void_p * len(fetches))()
        tensors: list[int] = []
        try:
            for array in feeds.values():
                tensors.append(_capi.new_tensor(array))
            values = (ctypes.c_void_p * len(tensors))(*tensors)
            given, asked = (sources, values, len(feeds)), (targets, results, len(fetches))
            with _capi.Status() as status:
                lib.TF_SessionRun(self._session, None, *given, *asked, None, 0, None, status)
        finally:
            for tensor in tensors:
                lib.TF_DeleteTensor(tensor)
        pending = [pointer for pointer in results if pointer is not None]
        try:
            return [_capi.take_tensor(pending.pop(0)) for _ in fetches]
        finally:
            for pointer in pending:
                lib.TF_DeleteTensor(pointer)

    def _output(self, name: str) -> _capi.Output:
        if name not in self._outputs:
            operation, _, index = name.partition(":")
            pointer = self._library.TF_GraphOperationByName(self._graph, operation.encode())
            position = int(index or 0)
            if not pointer or position >= self._library.TF_OperationNumOutputs(pointer):
                raise ExportError(f"{self.path} has no tensor {name!r} although a signature names it")
            self._outputs[name] = _capi.Output(pointer, position)
        return self._outputs[name]

    def close(self) -> None:
        """Frees the session and its variables once the calls under way have ended; later calls raise."""
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0)
            session, graph = self._session, self._graph
            self._session = self._graph = None
            self._outputs.clear()
        lib = self._library
        if session:
            status = lib.TF_NewStatus()
            lib.TF_CloseSession(session, status)
            lib.TF_DeleteSession(session, status)
            lib.TF_DeleteStatus(status)
        if graph:
            lib.TF_DeleteGraph(graph)

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_session", None):
            self.close()


def _fit(value: Any, info: Any) -> np.ndarray[Any, Any]:
    array = as_array(value)
    if hasattr(value, "__array__") or array.dtype.hasobject:
        return array
    dtype = dtype_of(info.dtype)
    if dtype is None or dtype.hasobject:
        raise ExportError(f"tensor {info.name} wants {dtype_name(info.dtype)} and was given numbers")
    return array.astype(dtype)
