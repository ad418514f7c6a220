"""The frozen prefix of a functional model: found in the graph, run in inference mode, fit to be cached."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kerasft import _compat
from kerasft.errors import ConfigError
from kerasft.training.update import Batch


@dataclasses.dataclass(frozen=True)
class _Call:
    """One call in the graph, nested models unfolded; tensors are named by scope and id of the symbol."""

    node: Any
    scope: tuple[int, ...]
    inputs: tuple[tuple, ...]
    outputs: tuple[tuple, ...]

    def run(self, values: dict[tuple, Any], *, training: bool) -> None:
        symbolic = _compat.node_inputs(self.node)
        args, kwargs = _compat.fill_arguments(
            self.node, {id(t): values[key] for t, key in zip(symbolic, self.inputs, strict=True)}
        )
        results = _compat.call_operation(self.node, args, kwargs, training=training)
        values.update(zip(self.outputs, keras.tree.flatten(results), strict=True))


@dataclasses.dataclass(frozen=True)
class _Cast:
    """Where a tensor enters a nested model, which converts it to the type of its input."""

    dtype: str
    inputs: tuple[tuple]
    outputs: tuple[tuple]

    def run(self, values: dict[tuple, Any], *, training: bool) -> None:
        tensor = values[self.inputs[0]]
        cast = keras.ops.cast(tensor, self.dtype)
        if cast is not tensor and _compat.get_mask(tensor) is not None:
            _compat.set_mask(cast, _compat.get_mask(tensor))
        values[self.outputs[0]] = cast


def _unfold(model: keras.Model, scope: tuple[int, ...]) -> list[_Call | _Cast]:
    calls: list[_Call | _Cast] = []
    for index, node in enumerate(_compat.graph_nodes(model)):
        inner = _compat.as_functional(node.operation)
        inputs = tuple((*scope, id(tensor)) for tensor in _compat.node_inputs(node))
        outputs = tuple((*scope, id(tensor)) for tensor in node.outputs)
        arguments = _match_inputs(inner, _compat.node_first_argument(node)) if inner is not None else None
        if inner is None or arguments is None or len(arguments) != len(inputs):
            calls.append(_Call(node, scope, inputs, outputs))
            continue
        below = (*scope, index)
        for tensor, entry in zip(arguments, inner.inputs, strict=True):
            calls.append(_Cast(entry.dtype, ((*scope, id(tensor)),), ((*below, id(entry)),)))
        calls.extend(_unfold(inner, below))
        for outer, result in zip(outputs, inner.outputs, strict=True):
            calls.append(_Cast(result.dtype, ((*below, id(result)),), (outer,)))
    return calls


def _match_inputs(inner: keras.Model, argument: Any) -> list[keras.KerasTensor] | None:
    """Returns the outer tensors in the order of `inner.inputs`, or None when the match is not certain."""
    if isinstance(argument, dict):
        by_name = [argument.get(tensor.name) for tensor in inner.inputs]
        return None if any(tensor is None for tensor in by_name) or len(by_name) != len(argument) else by_name
    flat = keras.tree.flatten(argument)
    return flat if len(flat) == len(inner.inputs) else None


def _is_random(layer: Any) -> bool:
    return isinstance(layer, keras.Layer) and any(
        _compat.seed_generators(inner) for inner in _compat.flatten_layers(layer)
    )


def match_inputs(functional: keras.Model, batch: Batch) -> list[tf.Tensor]:
    """Returns the tensors of a batch in the order of a functional model's inputs, matched by name.

    An input without a feature of its name takes the target of that name: a decoder is taught with what it
    shall say.

    Raises:
        ConfigError: an input has neither (a single input takes a single feature of any name).
    """
    features, targets = batch.features, batch.targets
    by_name = [features.get(tensor.name, targets.get(tensor.name)) for tensor in functional.inputs]
    if all(value is not None for value in by_name):
        return by_name
    if len(features) == len(by_name) == 1:
        return list(features.values())
    wanted = ", ".join(tensor.name for tensor in functional.inputs)
    raise ConfigError(
        f"The model's inputs ({wanted}) match neither the features that preprocess() returns "
        f"({', '.join(features)}) nor the targets ({', '.join(targets) or 'none here'}); give both the same "
        "names, for example keras.Input(..., name='token_ids')."
    )


class Forward:
    """Calls a model on a batch, through its frozen prefix when it has one.

    Args:
        model: Any Keras model; a functional one gets its inputs by name, another one the dict of features (or
            the feature itself, if there is but one). An input named like a target takes that target.
    """

    def __init__(self, *, model: keras.Model) -> None:
        self.model = model
        self.prefix: FrozenPrefix | None = None

    def __call__(self, batch: Batch, *, training: bool) -> Any:
        if self.prefix is not None:
            frontier = batch.frontier if batch.frontier is not None else self.prefix.run(batch)
            return self.prefix.finish(frontier, training=training)
        functional = _compat.as_functional(self.model)
        if functional is None:
            features = next(iter(batch.features.values())) if len(batch.features) == 1 else batch.features
            return self.model(features, training=training)
        tensors = match_inputs(functional, batch)
        return self.model(
            keras.tree.pack_sequence_as(_compat.input_structure(functional), tensors), training=training
        )


class FrozenPrefix:
    """The part of a model that gives the same outputs however long the rest is trained.

    A call belongs to it when all its inputs do and its layer is frozen, wraps frozen ones alone, or has no
    weights and draws no random numbers. A frozen layer runs in inference mode: its dropout is off, as in
    Keras's transfer-learning guide.

    Args:
        model: A functional model (nested ones are looked into).
        frozen_layers: Ids of the layers that are wholly frozen.

    Raises:
        ValueError: there is no such prefix; the message says why.
    """

    def __init__(self, *, model: keras.Model, frozen_layers: set[int]) -> None:
        functional = _compat.as_functional(model)
        if functional is None:
            raise ValueError(f"{type(model).__name__} {model.name!r} is not a functional model")
        self._model = model
        self._functional = functional
        calls = _unfold(functional, ())
        known = {(id(tensor),) for tensor in functional.inputs}
        self._prefix: list[_Call | _Cast] = []
        self._suffix: list[_Call | _Cast] = []
        frozen_weights = False
        for call in calls:
            if set(call.inputs) <= known and self._is_fixed(call, frozen_layers):
                self._prefix.append(call)
                known.update(call.outputs)
                frozen_weights |= isinstance(call, _Call) and bool(
                    getattr(call.node.operation, "weights", None)
                )
            else:
                self._suffix.append(call)
        if not frozen_weights:
            raise ValueError("no frozen layer with weights stands before the first layer that trains")
        made = {key for call in self._suffix for key in call.outputs}
        self._output_keys = [(id(tensor),) for tensor in functional.outputs]
        needed = [key for call in self._suffix for key in call.inputs] + self._output_keys
        self._frontier = tuple(dict.fromkeys(key for key in needed if key not in made))

    @staticmethod
    def _is_fixed(call: _Call | _Cast, frozen_layers: set[int]) -> bool:
        if isinstance(call, _Cast) or not isinstance(call.node.operation, keras.Layer):
            return not isinstance(call, _Call) or not _is_random(call.node.operation)
        layer = call.node.operation
        if id(layer) in frozen_layers:
            return True
        if not layer.weights:
            return not _is_random(layer)
        # A layer of no group that wraps others is what they are.
        inner = [part for part in _compat.flatten_layers(layer) if id(part) in frozen_layers]
        fixed = {id(weight) for part in inner for weight in part.weights}
        return all(id(weight) in fixed for weight in layer.weights)

    @property
    def last_layer(self) -> str:
        """Name of the last layer with weights that belongs to the prefix."""
        layers = [call.node.operation for call in self._prefix if isinstance(call, _Call)]
        return next(layer.name for layer in reversed(layers) if getattr(layer, "weights", None))

    def run(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the tensors that the rest of the model needs, by name; masks are tensors of their own."""
        values: dict[tuple, Any] = {}
        given = _compat.standardize_inputs(self._functional, match_inputs(self._functional, batch))
        for tensor, value in zip(self._functional.inputs, given, strict=True):
            values[(id(tensor),)] = keras.ops.cast(value, tensor.dtype)
        with _compat.call_context(self._model, training=False):
            for call in self._prefix:
                call.run(values, training=False)
        frontier: dict[str, tf.Tensor] = {}
        for i, key in enumerate(self._frontier):
            frontier[f"x{i}"] = values[key]
            if _compat.get_mask(values[key]) is not None:
                frontier[f"x{i}_mask"] = _compat.get_mask(values[key])
        return frontier

    def finish(self, frontier: Mapping[str, tf.Tensor], *, training: bool) -> Any:
        """Returns the model's outputs from what `run` returned; computes only what follows the prefix."""
        values: dict[tuple, Any] = {}
        for i, key in enumerate(self._frontier):
            values[key] = tf.identity(frontier[f"x{i}"])
            if f"x{i}_mask" in frontier:
                _compat.set_mask(values[key], frontier[f"x{i}_mask"])
        _compat.clear_losses(self._model)
        with _compat.call_context(self._model, training=training):
            for call in self._suffix:
                call.run(values, training=training)
        outputs = [values[key] for key in self._output_keys]
        return keras.tree.pack_sequence_as(_compat.output_structure(self._functional), outputs)
