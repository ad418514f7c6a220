"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from kerasft.training.checkpoint import AVERAGE, model_variables


class Average:
    """Exponential moving average of the weights of models.

    Source: Polyak and Juditsky, 1992, "Acceleration of stochastic approximation by averaging".

    Args:
        models: Name to model; their trainable and other weights (not random seeds) are averaged.
        momentum: Share of the old average that each update keeps, in (0, 1).
    """

    def __init__(self, *, models: Mapping[str, keras.Model], momentum: float) -> None:
        self._momentum = momentum
        self._weights = {
            name: variable
            for name, variable in model_variables(models).items()
            if variable.dtype.startswith("float")
        }
        self._averages = {
            name: tf.Variable(weight.value, trainable=False) for name, weight in self._weights.items()
        }

    def update(self) -> None:
        """Moves the averages towards the weights (in the graph)."""
        for name, weight in self._weights.items():
            average = self._averages[name]
            average.assign_sub((1.0 - self._momentum) * (average - tf.cast(weight.value, average.dtype)))

    def swap(self) -> None:
        """Exchanges weights and averages; twice leaves all as it was."""
        for name, weight in self._weights.items():
            held = weight.numpy()
            weight.assign(self._averages[name])
            self._averages[name].assign(held)

    def state(self) -> dict[str, tf.Variable]:
        """Returns the averages, named "average/" and the weight's name, for checkpoints."""
        return {f"{AVERAGE}{name}": average for name, average in self._averages.items()}
