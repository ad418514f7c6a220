"""Loads and runs SavedModels in TensorFlow's C++ runtime, without its Python, as TensorFlow Serving does."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from kerasft.errors import ExportError
from kerasft.export import _capi, layout, op_registry
from kerasft.export._capi import RuntimeFailure as RuntimeFailure
from kerasft.serving import protos
from kerasft.serving.tensors import as_array, dtype_name, dtype_of

_SMALL_GRAPH = 500  # Nodes; a perceptron has some 150, a transformer of six layers some 3000.


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
        op_registry.load_extensions_for(op_registry.graph_ops(self.meta_graph))
        self._library = _capi.library()
        self._idle = threading.Condition()
        self._running = 0
        self._graph = self._session = None
        self._outputs: dict[str, _capi.Output] = {}
        self._load(threads)

    def _load(self, threads: int | None) -> None:
        # To hand few operations to other threads costs more than it saves: -1 keeps them in the caller's.
        in_caller = threads == 1 or op_registry.count_nodes(self.meta_graph) < _SMALL_GRAPH
        config = protos.ConfigProto(
            intra_op_parallelism_threads=threads or 0,
            inter_op_parallelism_threads=-1 if in_caller else threads or 0,
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

    def uninitialized_variables(self) -> list[str]:
        """Returns the variables that a signature needs and that loading left without a value."""
        nodes = [node for node in self._needed_nodes() if node.op == "VarHandleOp"]
        probes = []
        for index, node in enumerate(nodes):
            name = f"kerasft_probe_{index}"
            operation = self._library.TF_NewOperation(self._graph, b"VarIsInitializedOp", name.encode())
            self._library.TF_AddInput(operation, self._output(node.name))
            with _capi.Status() as status:
                self._library.TF_FinishOperation(operation, status)
            probes.append(name)
        filled = self.run({}, probes) if probes else []
        return [node.name for node, value in zip(nodes, filled, strict=True) if not value]

    def _needed_nodes(self) -> list[Any]:
        """The nodes behind the outputs of the signatures; a graph may hold others that nothing runs."""
        nodes = {node.name: node for node in self.meta_graph.graph_def.node}
        needed: dict[str, Any] = {}
        queue = [info.name for s in self.signatures.values() for info in s.outputs.values()]
        while queue:
            name = queue.pop().removeprefix("^").partition(":")[0]
            if name in nodes and name not in needed:
                needed[name] = nodes[name]
                queue.extend(nodes[name].input)
        return list(needed.values())

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
                if not self._running:
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
