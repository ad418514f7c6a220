"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from kerasft.training.checkpoint import AVERAGE, model_variables


class Average:
    """Exponential moving average of the weights of models.

    Source: Polyak and Juditsky, 1992, "Acceleration of stochastic approximation by averaging"; half-life and
    ramp-up as in Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data".

    Args:
        models: Name to model; their trainable and other weights (not random seeds) are averaged.
        memory: Below 1 the share of the old average that each update keeps; else the number of examples after
            which half of the old average is left.
        rampup: The half-life is at most this share of the examples seen so far; None is no limit.
    """

    def __init__(
        self, *, models: Mapping[str, keras.Model], memory: float, rampup: float | None = None
    ) -> None:
        self._memory, self._rampup = memory, rampup
        self._weights = {
            name: variable
            for name, variable in model_variables(models).items()
            if variable.dtype.startswith("float")
        }
        self._averages = {
            name: tf.Variable(weight.value, trainable=False) for name, weight in self._weights.items()
        }
        # One call for all, as an epoch of few steps would else spend more time here than in a step.
        self._exchange = tf.function(self._exchanged, autograph=False)
        self._seen = tf.Variable(0.0, trainable=False, dtype=tf.float64, name="examples_averaged")
        self._new = tf.Variable(0.0, trainable=False, name="examples_since_averaged")

    def see(self, examples: tf.Tensor) -> None:
        """Counts the examples of a batch, float32 (in the graph)."""
        self._new.assign_add(examples)

    def update(self) -> None:
        """Moves the averages towards the weights (in the graph)."""
        momentum = self._momentum()
        for name, weight in self._weights.items():
            average = self._averages[name]
            share = tf.cast(1.0 - momentum, average.dtype)
            average.assign_sub(share * (average - tf.cast(weight.value, average.dtype)))
        self._seen.assign_add(tf.cast(self._new, tf.float64))
        self._new.assign(0.0)

    def _momentum(self) -> tf.Tensor | float:
        if self._memory < 1.0:
            return self._memory
        half_life = tf.constant(self._memory)
        if self._rampup is not None:
            half_life = tf.minimum(half_life, self._rampup * tf.cast(self._seen, tf.float32))
        # Nothing seen, nothing kept: half to the power of infinity.
        return tf.pow(0.5, self._new / half_life)

    def swap(self) -> None:
        """Exchanges weights and averages; twice leaves all as it was."""
        self._exchange()

    def _exchanged(self) -> None:
        for name, weight in self._weights.items():
            held = tf.identity(weight.value)
            weight.assign(self._averages[name])
            self._averages[name].assign(held)

    def state(self) -> dict[str, tf.Variable]:
        """Returns the averages, named "average/" and the weight's name, and the counts, for checkpoints."""
        state = {f"{AVERAGE}{name}": average for name, average in self._averages.items()}
        if self._memory >= 1.0:
            state |= {"averaged/seen": self._seen, "averaged/new": self._new}
        return state
