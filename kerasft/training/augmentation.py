"""Random changes of training batches, as a pure function of the seed and the number of the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft import _compat
from kerasft.errors import ConfigError
from kerasft.training.update import Batch

_DRAWS = 1 << 16  # more than the layers of one batch draw

Change = Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Augmentation:
    """What `Task.augmentation` returns: how training batches are changed at random.

    Args:
        change: Called in a graph, on the CPU, with the features and the targets of a batch (name to tensor);
            returns those that the step gets. Shapes and types may change.
        layers: The Keras layers that it uses, whose random numbers are then those of the seed and the step.

    Example:
        >>> flip = keras.layers.RandomFlip("horizontal")
        >>> augmentation = Augmentation(
        ...     change=lambda features, targets: ({"x": flip(features["x"], training=True)}, targets),
        ...     layers=[flip],
        ... )
    """

    change: Change
    layers: Sequence[keras.Layer]


class Augmenter:
    """Runs an augmentation on batches.

    A batch of one step is always changed in the same way, so a resumed run needs no random state.

    Args:
        augmentation: Of a task.
        seed: Of the task.
        spec: `tf.TensorSpec` of a batch.

    Attributes:
        spec: `tf.TensorSpec` of a changed batch.

    Raises:
        ConfigError: No layer of the augmentation draws random numbers.
    """

    def __init__(self, augmentation: Augmentation, *, seed: int, spec: Batch) -> None:
        generators = {
            id(generator): generator
            for layer in augmentation.layers
            for inner in _compat.flatten_layers(layer)
            for generator in _compat.seed_generators(inner)
        }
        if not generators:
            raise ConfigError(
                "No layer of augmentation() draws random numbers: name those that do in layers=, or return "
                "None for no augmentation."
            )
        self._states = [generator.state for generator in generators.values()]
        self._seeds = np.random.SeedSequence(seed).generate_state(len(self._states))
        self._change = augmentation.change
        with tf.device("CPU:0"):
            number = tf.TensorSpec([], tf.int64)
            self._function = tf.function(self._changed, autograph=False).get_concrete_function(spec, number)
        self.spec: Batch = tf.nest.map_structure(
            lambda tensor: tensor if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype),
            self._function.structured_outputs,
        )

    def _changed(self, batch: Batch, step: tf.Tensor) -> Batch:
        for seed, state in zip(self._seeds, self._states, strict=True):
            state.assign(tf.cast(tf.stack([tf.constant(int(seed), tf.int64), step * _DRAWS]), state.dtype))
        features, targets = self._change(dict(batch.features), dict(batch.targets))
        return batch._replace(features=features, targets=targets)

    def __call__(self, batch: Batch, *, step: int) -> Batch:
        """Returns a changed batch.

        Args:
            batch: Arrays `[batch, ...]`.
            step: Number of the step in the training, from 0.
        """
        with tf.device("CPU:0"):
            tensors = tf.nest.map_structure(
                lambda value: None if value is None else tf.convert_to_tensor(value), batch
            )
            return self._function(tensors, tf.constant(step, tf.int64))
