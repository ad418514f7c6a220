"""Metrics of numbers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft.metrics.scores import Scores


@keras.saving.register_keras_serializable(package="kerasft_text")
class Regression(keras.metrics.Metric):
    """Mean squared error, mean absolute error and Pearson's correlation.

    Example:
        >>> metric = Regression()
        >>> metric.update_state([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
        >>> {name: round(float(value), 3) for name, value in metric.result().items()}
        {'mse': 1.333, 'mae': 0.667, 'pearson': 0.961}
    """

    def __init__(self, *, name: str = "regression", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        # Sums of squares cancel in the correlation: single precision would lose it far from zero.
        self._sums = self.add_variable((8,), initializer="zeros", dtype="float64", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch of values, float [batch] each."""
        y, p = (tf.cast(tf.convert_to_tensor(values), tf.float64) for values in (y_true, y_pred))
        weights = tf.ones_like(y) if sample_weight is None else tf.cast(sample_weight, tf.float64)
        parts = (tf.ones_like(y), (y - p) ** 2, tf.abs(y - p), y, p, y * y, p * p, y * p)
        self._sums.assign_add(tf.stack([tf.reduce_sum(part * weights) for part in parts]))

    def result(self) -> Scores:
        n, squared, absolute, y, p, yy, pp, yp = tf.unstack(tf.convert_to_tensor(self._sums))
        spread = tf.sqrt(tf.maximum(n * yy - y * y, 0.0) * tf.maximum(n * pp - p * p, 0.0))
        means = {"mse": squared, "mae": absolute}
        scores = {name: tf.math.divide_no_nan(value, n) for name, value in means.items()}
        scores["pearson"] = tf.math.divide_no_nan(n * yp - y * p, spread)
        return {name: tf.cast(value, tf.float32) for name, value in scores.items()}
