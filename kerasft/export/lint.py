"""Checks on the graph of a SavedModel that need no session."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kerasft.export import layout
from kerasft.export.report import Check
from kerasft.export.serving_ops import EXTENSION_OPS
from kerasft.serving.tensors import describe_info, dtype_name

PYTHON_OPS = frozenset({"EagerPyFunc", "NumpyFunction", "PyFunc", "PyFuncStateless"})
# Names that Keras and TensorFlow make up when the author gave none.
_MADE_UP = re.compile(
    r"((args?|inputs?|outputs?|unknown|identity)_\d+|(keras_tensor|input_layer)(_\d+)?|unknown)(:\d+)?"
)


def is_made_up(name: str) -> bool:
    """Whether Keras or TensorFlow made up the name of an input or output.

    Example:
        >>> is_made_up("output_0"), is_made_up("scores")
        (True, False)
    """
    return _MADE_UP.fullmatch(name) is not None


def describe_signature(definition: Any) -> str:
    """Writes a SignatureDef as `(text: string[?]) -> (label: string[?])`."""
    sides = [
        ", ".join(f"{name}: {describe_info(info)}" for name, info in sorted(side.items()))
        for side in (definition.inputs, definition.outputs)
    ]
    return f"({sides[0]}) -> ({sides[1]})"


def check_signatures(meta_graph: Any) -> Check:
    """Every input and output has a name that says something, a type, and a rank; `serving_default` exists."""
    signatures = layout.signatures(meta_graph)
    problems = []
    if layout.DEFAULT_SIGNATURE not in signatures:
        found = f"only {', '.join(signatures)}" if signatures else "no signature at all"
        problems.append(
            f"there is no signature '{layout.DEFAULT_SIGNATURE}' but {found}: name the main one "
            f"'{layout.DEFAULT_SIGNATURE}', which clients ask for when they name none"
        )
    for name, definition in signatures.items():
        for kind, side in (("input", definition.inputs), ("output", definition.outputs)):
            problems += _side_problems(name, kind, side)
        if not definition.outputs:
            problems.append(f"signature '{name}' has no outputs: return a dict of named tensors")
    if problems:
        return Check(name="signatures", ok=False, detail="; ".join(problems))
    text = "; ".join(name + describe_signature(definition) for name, definition in signatures.items())
    return Check(name="signatures", ok=True, detail=text)


def _side_problems(signature: str, kind: str, side: Mapping[str, Any]) -> Iterator[str]:
    cure = (
        "return a dict of named tensors"
        if kind == "output"
        else "name it in its tf.TensorSpec or keras.Input"
    )
    for name, info in sorted(side.items()):
        what = f"{kind} '{name}' of signature '{signature}'"
        if is_made_up(name):
            yield f"{what} has a made-up name: {cure}"
        if info.WhichOneof("encoding") != "name":
            yield f"{what} is ragged or sparse, which no serving client can send or read: make it dense"
        elif info.dtype == 0:
            yield f"{what} has no type: give it one in its tf.TensorSpec"
        if info.tensor_shape.unknown_rank:
            yield f"{what} has an unknown rank: give its shape, with None for free sizes (tf.ensure_shape)"


def _nodes(meta_graph: Any) -> Iterator[tuple[str, Any]]:
    for node in meta_graph.graph_def.node:
        yield "the graph", node
    for function in meta_graph.graph_def.library.function:
        for node in function.node_def:
            yield f"function {function.signature.name}", node


def _reachable(meta_graph: Any) -> set[str]:
    """The functions that running the graph can reach; a library also keeps those that only Python calls."""
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    found: set[str] = set()
    queue = list(meta_graph.graph_def.node)
    while queue:
        node = queue.pop()
        names = {node.op}
        for value in node.attr.values():
            names.add(value.func.name)
            names.update(func.name for func in value.list.func)
        for name in (names & functions.keys()) - found:
            found.add(name)
            queue.extend(functions[name].node_def)
    return found


def _reachable_nodes(meta_graph: Any) -> Iterator[tuple[str, Any]]:
    reachable = {f"function {name}" for name in _reachable(meta_graph)} | {"the graph"}
    return ((place, node) for place, node in _nodes(meta_graph) if place in reachable)


def _listed(found: Mapping[str, str], limit: int = 5) -> str:
    items = [f"{what} (in {place})" for what, place in sorted(found.items())]
    more = [f"{len(items) - limit} more"] if len(items) > limit else []
    return ", ".join(items[:limit] + more)


def check_python(meta_graph: Any) -> Check:
    """No op calls back into Python: it would load anywhere and fail at the first request."""
    found = {node.op: place for place, node in _nodes(meta_graph) if node.op in PYTHON_OPS}
    if found:
        cure = "rewrite tf.py_function and tf.numpy_function with TensorFlow ops; a server has no Python"
        return Check(
            name="python", ok=False, detail=f"the model calls Python through {_listed(found)}: {cure}"
        )
    return Check(name="python", ok=True, detail="no op calls Python")


def check_xla(meta_graph: Any) -> Check:
    """Nothing that runs demands XLA, which stock TensorFlow Serving leaves switched off on CPUs."""
    reachable = _reachable(meta_graph)
    found = {
        function.signature.name: "the function library"
        for function in meta_graph.graph_def.library.function
        if function.signature.name in reachable and function.attr["_XlaMustCompile"].b
    }
    for place, node in _reachable_nodes(meta_graph):
        if node.op.startswith(("Xla", "_Xla")):
            found[node.op] = place
        elif node.attr["_XlaMustCompile"].b:
            found.setdefault(node.attr["f"].func.name or node.name, place)
    if found:
        cure = "export functions traced without jit_compile=True"
        return Check(name="xla", ok=False, detail=f"XLA is demanded by {_listed(found)}: {cure}")
    return Check(name="xla", ok=True, detail="nothing demands XLA")


def check_ops(meta_graph: Any, core_ops: Collection[str]) -> Check:
    """Every op is one that stock TensorFlow Serving links."""
    functions = {function.signature.name for function in meta_graph.graph_def.library.function}
    used = {node.op: place for place, node in _nodes(meta_graph) if node.op not in functions}
    foreign = {op: place for op, place in used.items() if op not in core_ops and op not in EXTENSION_OPS}
    if foreign:
        cure = "TensorFlow Serving would refuse to load it; build it from core TensorFlow ops"
        return Check(
            name="ops", ok=False, detail=f"not in stock TensorFlow Serving: {_listed(foreign)}: {cure}"
        )
    extra = sorted(used.keys() & EXTENSION_OPS)
    note = f", {len(extra)} of them from the libraries that it links ({', '.join(extra)})" if extra else ""
    return Check(name="ops", ok=True, detail=f"{len(used)} different ops{note}")


def check_kernels(meta_graph: Any, op_defs: Mapping[str, Any], kernels: Mapping[str, Sequence[Any]]) -> Check:
    """Every op that running the graph reaches has a CPU kernel for the types that it is used with."""
    missing: dict[str, str] = {}
    skipped: set[str] = set()
    for place, node in _reachable_nodes(meta_graph):
        definition = op_defs.get(node.op)
        if definition is None:
            if node.op in EXTENSION_OPS:
                skipped.add(node.op)
            continue
        types = _types(node, definition)
        if not any(_matches(kernel, node, types) for kernel in kernels.get(node.op, ())):
            used_with = ", ".join(
                f"{name}={dtype_name(values[0])}" for name, values in types.items() if values
            )
            missing[f"{node.op} [{used_with}]" if used_with else node.op] = place
    if missing:
        cure = "a CPU server cannot run it; use another op or cast to float32"
        return Check(name="kernels", ok=False, detail=f"no CPU kernel for {_listed(missing)}: {cure}")
    note = f" (not installed here, so not looked at: {', '.join(sorted(skipped))})" if skipped else ""
    return Check(name="kernels", ok=True, detail=f"each op has a kernel for CPUs{note}")


def _types(node: Any, definition: Any) -> dict[str, list[int]]:
    """The type attributes of a node; those that a function leaves open are absent."""
    found: dict[str, list[int]] = {}
    for attr in definition.attr:
        if attr.type not in ("type", "list(type)"):
            continue
        value = node.attr.get(attr.name, attr.default_value)
        if not value.placeholder:
            found[attr.name] = [value.type] if attr.type == "type" else list(value.list.type)
    return found


def _matches(kernel: Any, node: Any, types: Mapping[str, list[int]]) -> bool:
    if kernel.device_type not in ("CPU", "DEFAULT") or kernel.label != node.attr["_kernel"].s.decode():
        return False
    for constraint in kernel.constraint:
        allowed = set(constraint.allowed_values.list.type)
        if allowed and not set(types.get(constraint.name, ())) <= allowed:
            return False
    return True
