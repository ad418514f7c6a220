"""The only place for private APIs of Keras; each has a test that notices when it breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.layers.layer import CallContext
from keras.src.models.functional import Functional, operation_fn
from keras.src.ops.node import Node


def flatten_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Returns `layer` and all layers below it, parents first."""
    ordered: list[keras.Layer] = []
    seen: set[int] = set()

    def visit(current: keras.Layer) -> None:
        if id(current) in seen:
            return
        seen.add(id(current))
        ordered.append(current)
        for child in current._layers:
            visit(child)

    visit(layer)
    return ordered


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the weights that `layer` itself created, those of its sublayers left out."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def own_statistics(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the weights of `layer` itself that only the layer moves, such as moving averages."""
    return list(layer._non_trainable_variables)


def own_trainable_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the weights of `layer` itself that an optimizer may move when the layer is trainable."""
    return list(layer._trainable_variables)


def optimized_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the weights that an optimizer was built for."""
    return list(getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables)


def rate_schedule(optimizer: keras.optimizers.Optimizer) -> Any:
    """Returns the schedule that an optimizer takes its rate from, None if the rate is a number."""
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None


def copy_optimizer(optimizer: keras.optimizers.Optimizer, **changes: Any) -> keras.optimizers.Optimizer:
    """Returns an unbuilt optimizer with the same settings but `changes`, weight-decay exclusions included.

    Args:
        optimizer: A Keras optimizer; of a `LossScaleOptimizer` the inner one is changed.
        **changes: Arguments of the (inner) optimizer.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    copy = type(inner).from_config({**inner.get_config(), **changes})
    for attribute in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(inner, attribute):
            setattr(copy, attribute, getattr(inner, attribute))
    if inner is optimizer:
        return copy
    outer = {**optimizer.get_config(), "inner_optimizer": keras.saving.serialize_keras_object(copy)}
    scaled = type(optimizer).from_config(outer)
    scaled.inner_optimizer = copy
    return scaled


def adam_slots(optimizer: keras.optimizers.Adam, variable: Any) -> tuple[keras.Variable, keras.Variable]:
    """Returns the first and second moments that an Adam keeps of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def seed_generators(layer: keras.Layer) -> list[keras.random.SeedGenerator]:
    """Returns the random state that `layer` itself holds."""
    return list(layer._seed_generators)


def clear_losses(model: keras.Model) -> None:
    """Forgets what `add_loss` collected during earlier calls."""
    model._clear_losses()


def as_functional(operation: Any) -> keras.Model | None:
    """Returns the graph of a functional model or a built Sequential, None if it has a `call` of its own."""
    if isinstance(operation, keras.Sequential):
        operation = getattr(operation, "_functional", None)
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def standardize_inputs(functional: keras.Model, tensors: list[Any]) -> list[Any]:
    """Returns input tensors (in the order of `functional.inputs`) as a call takes them, ranks adjusted."""
    structure = keras.tree.pack_sequence_as(functional._inputs_struct, tensors)
    return functional._standardize_inputs(structure)


def graph_nodes(functional: keras.Model) -> Iterator[Node]:
    """Yields the calls of a functional graph, inputs first, with operation, arguments and outputs."""
    by_depth = functional._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node


def call_count(layer: keras.Layer) -> int:
    """Returns how often `layer` was called on symbolic tensors."""
    return len(layer._inbound_nodes)


def node_inputs(node: Node) -> list[keras.KerasTensor]:
    """Returns the symbolic tensors among a call's arguments."""
    return list(node.arguments.keras_tensors)


def node_first_argument(node: Node) -> Any:
    """Returns the first argument of a call, a structure of symbolic tensors."""
    return node.arguments.args[0]


def fill_arguments(node: Node, values: dict[int, Any]) -> tuple[tuple, dict]:
    """Returns the arguments of a call with each symbolic tensor replaced by `values[id(tensor)]`."""
    return node.arguments.fill_in(values)


def call_operation(node: Node, args: tuple, kwargs: dict, *, training: bool) -> Any:
    """Calls the operation of a node as its model would; the node itself has recorded another `training`."""
    return operation_fn(node.operation, training=training)(*args, **kwargs)


def get_mask(tensor: Any) -> Any:
    """Returns the Keras mask that travels with a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attaches a Keras mask to a tensor."""
    tensor._keras_mask = mask


def enable_lora(layer: keras.Layer, rank: int, alpha: float | None, *, seed: int) -> None:
    """Adds a low-rank pair to a Dense or EinsumDense layer; `seed` draws the first of the two."""
    layer.enable_lora(rank, lora_alpha=alpha, a_initializer=keras.initializers.HeUniform(seed=seed))


def frozen_kernel(layer: keras.Layer) -> keras.Variable:
    """Returns the full kernel variable of a layer with LoRA enabled."""
    return layer._kernel


@contextlib.contextmanager
def call_context(model: keras.Model, *, training: bool) -> Iterator[None]:
    """Runs layers as if inside a call of `model`, so that `training` reaches the layers below."""
    outer = global_state.get_global_attribute("current_call_ctx")
    context = CallContext(entry_layer=model)
    context.training = training
    global_state.set_global_attribute("current_call_ctx", context)
    try:
        yield
    finally:
        global_state.set_global_attribute("current_call_ctx", outer)


def output_structure(functional: keras.Model) -> Any:
    """Returns the structure (dict, list or single tensor) of a functional model's outputs."""
    return functional._outputs_struct


def input_structure(functional: keras.Model) -> Any:
    """Returns the structure (dict, list or single tensor) of a functional model's inputs."""
    return functional._inputs_struct
