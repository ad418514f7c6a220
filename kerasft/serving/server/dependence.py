"""Which outputs of a graph do not depend on its inputs, such as the names of the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def constant_tensors(meta_graph: Any, tensors: Iterable[str]) -> set[str]:
    """Returns those of `tensors` (`"op:0"`) to which no path leads from a placeholder.

    Functions of the graph's library are followed output by output; other operations are taken to use all of
    their inputs.
    """
    trace = _Trace(meta_graph.graph_def)
    return {tensor for tensor in tensors if not trace.fed(tensor)}


class _Trace:
    def __init__(self, graph: Any) -> None:
        self._nodes = {node.name: node for node in graph.node}
        self._functions = {function.signature.name: function for function in graph.library.function}
        self._known: dict[tuple[str, int], list[int]] = {}

    def fed(self, tensor: str) -> bool:
        placeholders = [node.name for node in self._nodes.values() if node.op.startswith("Placeholder")]
        return bool(self._sources([tensor], self._nodes, set(placeholders), self._graph_output))

    def _sources(
        self,
        references: Iterable[str],
        nodes: Mapping[str, Any],
        ends: set[str],
        output_of: Callable[..., int],
    ) -> set[str]:
        """Walks against the flow and returns the ends that it comes to."""
        found: set[str] = set()
        seen: set[str] = set()
        waiting = list(references)
        while waiting:
            reference = waiting.pop()
            name = reference.partition(":")[0]
            if reference in seen or reference.startswith("^"):  # A "^" orders operations; no value flows.
                continue
            seen.add(reference)
            if name in ends:
                found.add(name)
                continue
            node = nodes[name]
            function = node.attr["f"].func.name if node.op in _CALLS else node.op
            if function in self._functions:
                used = self._arguments(function, output_of(reference, function))
                waiting.extend(node.input[index] for index in used)
            else:
                waiting.extend(node.input)
        return found

    def _arguments(self, name: str, output: int) -> list[int]:
        """Returns which arguments an output of a function depends on."""
        if (name, output) not in self._known:
            function = self._functions[name]
            arguments = [argument.name for argument in function.signature.input_arg]
            start = function.ret[function.signature.output_arg[output].name]
            nodes = {node.name: node for node in function.node_def}
            found = self._sources([start], nodes, set(arguments), self._function_output)
            self._known[name, output] = [arguments.index(argument) for argument in sorted(found)]
        return self._known[name, output]

    def _graph_output(self, reference: str, function: str) -> int:
        return int(reference.partition(":")[2] or 0)

    def _function_output(self, reference: str, function: str) -> int:
        # Within functions a reference names the output before its index: "call:output:2" or "call:y:0".
        _, port, index = reference.split(":")
        names = [output.name for output in self._functions[function].signature.output_arg]
        return int(index) if port == "output" and port not in names else names.index(port)
