"""A number a text."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.training.update import Batch
from kerasft_text import metrics
from kerasft_text.config import TextConfig
from kerasft_text.kinds.base import EXAMPLES, TEXT, Kind
from kerasft_text.tokenization import Encoding


class Regression(Kind):
    """Signature: text string [n] -> value float32 [n].

    The model learns standardised values, so that no learning rate depends on the unit of the target.
    """

    monitor = "val_loss"
    call = "score"

    def __init__(self, config: TextConfig):
        super().__init__(config)
        self._mean, self._deviation = 0.0, 1.0

    def fields(self) -> tuple[Field, ...]:
        aliases = ("score", "rating", "label", "target", "stars", "y")
        return (TEXT, Field(name="value", kind="number", target=True, aliases=aliases))

    def adapt(self, source: Source) -> None:
        values = np.fromiter(source.iterate("value"), np.float64)
        self._mean, self._deviation = float(values.mean()), float(values.std()) or 1.0

    def state(self) -> dict[str, Any]:
        return {**super().state(), "mean": self._mean, "deviation": self._deviation}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._mean, self._deviation = state["mean"], state["deviation"]

    @property
    def outputs(self) -> int:
        return 1

    def targets(self, raw: dict[str, Any], encoding: Encoding) -> dict[str, Any]:
        return {"value": tf.cast(raw["value"], tf.float32)}

    def loss(self, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
        return tf.square((batch.targets["value"] - self._mean) / self._deviation - outputs)

    def divergence(self, batch: Batch, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return tf.square(one - other)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return {"regression": metrics.Regression()}

    def score(self, batch: Batch, outputs: tf.Tensor) -> tuple[Any, Any]:
        return batch.targets["value"], self._value(outputs)

    def postprocess(self, outputs: tf.Tensor, features: dict[str, Any]) -> dict[str, Any]:
        return {"value": self._value(outputs)}

    def example(self) -> dict[str, list[Any]]:
        return {"text": list(EXAMPLES), "value": [float(i % 5) for i in range(len(EXAMPLES))]}

    def _value(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs * self._deviation + self._mean
