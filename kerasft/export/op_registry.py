"""The ops and kernels that TensorFlow's C++ runtime knows, and the packages that add to them."""

from __future__ import annotations

from functools import cache
from typing import Any

from kerasft.errors import ExportError
from kerasft.export import _capi
from kerasft.export.serving_ops import EXTENSIONS
from kerasft.serving import protos


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
        except _capi.RuntimeFailure as failure:
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


def count_nodes(meta_graph: Any) -> int:
    """Returns how many nodes a graph and its function library have."""
    graph = meta_graph.graph_def
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


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
