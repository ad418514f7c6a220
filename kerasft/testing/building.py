"""Checks of the model and its layer groups."""

from __future__ import annotations

import keras

from kerasft import _compat
from kerasft.task import Task
from kerasft.testing.outcome import require
from kerasft.testing.subject import Subject


def check_build(subject: Subject) -> str:
    """The model builds, with weights, once."""
    task = subject.built
    with subject.doing("a second build()"):
        again = task.build()
    models = again if isinstance(again, dict) else {"": again}
    require(
        all(model in task.models.values() for model in models.values()),
        "build() makes a new model when called again: leave the verb as it is and override build_model()",
    )
    sizes = [f"{name or model.name}: {model.count_params():,} parameters" for name, model in models.items()]
    return ", ".join(sizes)


def check_groups(subject: Subject) -> str:
    """Every group has weights and the same name in each build, and the last one holds the head."""
    task = subject.built
    names, others = list(task.freezing.groups), list(subject.again.freezing.groups)
    require(
        names == others,
        f"the layer groups are called {', '.join(names)} in one build and {', '.join(others)} in the next: "
        "give the layers names in build_model(), or users cannot freeze by name",
    )
    rows = task.freezing.report().rows
    for row in rows:
        has_weights = any(layer.weights for layer in task.freezing.groups[row.group])
        require(
            has_weights,
            f"the layer group {row.group!r} has no weights, so freezing it does nothing: leave it out of "
            "layer_groups() or join it with the next",
        )
    _check_head(task)
    return ", ".join(f"{row.group} ({row.parameters:,})" for row in rows)


def _check_head(task: Task) -> None:
    functional = _compat.as_functional(task.model) if task.forward is not None else None
    if functional is None:
        return
    last = list(task.freezing.groups)[-1]
    members = {id(inner) for layer in task.freezing.groups[last] for inner in _compat.flatten_layers(layer)}
    heads = _heads(functional)
    # A layer that is called twice may be tied to the input, as the token embedding of a language model is.
    tied = any(_compat.call_count(layer) > 1 for layer in heads)
    names = ", ".join(sorted({layer.name for layer in heads}))
    require(
        not heads or tied or any(id(layer) in members for layer in heads),
        f"the last layer group, {last!r}, does not hold the layer that makes the outputs ({names}): order "
        "layer_groups() from input to head, because freeze('backbone') keeps only the last group trainable",
    )


def _heads(functional: keras.Model) -> list[keras.Layer]:
    """The layers with weights that are nearest to the outputs."""
    makers = {
        id(output): node.operation for node in _compat.graph_nodes(functional) for output in node.outputs
    }
    inputs = {
        id(output): _compat.node_inputs(node)
        for node in _compat.graph_nodes(functional)
        for output in node.outputs
    }
    found: dict[int, keras.Layer] = {}
    queue = list(functional.outputs)
    seen: set[int] = set()
    while queue:
        tensor = queue.pop()
        if id(tensor) in seen or id(tensor) not in makers:
            continue
        seen.add(id(tensor))
        operation = makers[id(tensor)]
        inner = _compat.as_functional(operation)
        if inner is not None:
            found.update((id(layer), layer) for layer in _heads(inner))
        elif getattr(operation, "weights", None):
            found[id(operation)] = operation
        if not getattr(operation, "weights", None):
            queue.extend(inputs[id(tensor)])
    return list(found.values())
