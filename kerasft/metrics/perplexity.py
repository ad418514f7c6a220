"""How surprised a model is by text."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Perplexity(keras.metrics.Metric):
    """The exponential of the mean negative log-likelihood of a token.

    Args:
        name: Name of the metric.

    Example:
        >>> metric = Perplexity()
        >>> metric.update_state(tf.math.log([[2.0, 8.0]]), tf.constant([[1.0, 1.0]]))
        >>> round(float(metric.result()), 3)
        4.0
    """

    def __init__(self, name: str = "perplexity") -> None:
        super().__init__(name=name)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, losses: Any, counts: Any) -> None:  # type: ignore[override, unused-ignore]
        """Adds tokens.

        Args:
            losses: Negative log-likelihoods, float32 of any shape, 0 where no token is.
            counts: 1 where a token is, else 0.
        """
        self.total.assign_add(tf.reduce_sum(losses))
        self.count.assign_add(tf.reduce_sum(counts))

    def result(self) -> Any:
        """Returns the perplexity, at most that of a mean of 30 nats."""
        mean = keras.ops.divide_no_nan(self.total, self.count)
        return keras.ops.exp(keras.ops.minimum(mean, 30.0))
