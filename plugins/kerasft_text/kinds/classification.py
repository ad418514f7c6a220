"""One label a text."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import DataError
from kerasft.training.update import Batch
from kerasft_text import metrics
from kerasft_text.consistency import softmax_divergence
from kerasft_text.kinds.base import EXAMPLES, TEXT, Kind
from kerasft_text.tokenization import Encoding


class Classification(Kind):
    """Signature: text string [n] -> label string [n], scores float32 [n, labels], labels string [labels]."""

    monitor = "val_accuracy"
    call = "classify"

    def fields(self) -> tuple[Field, ...]:
        return (TEXT, Field(name="label", kind="label", target=True, classes=self.names))

    def adapt(self, source: Source) -> None:
        if self.names is None:
            self.names = source.classes("label")
        if len(self.names) < 2:
            raise DataError(
                f"{source.name} has only one label, {self.names[0]!r}; a classifier needs examples of two."
            )

    def targets(self, raw: dict[str, Any], encoding: Encoding) -> dict[str, Any]:
        return {"label": self.index_of(raw["label"])}

    def loss(self, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
        smoothing = self.config.head.label_smoothing
        losses = keras.losses.sparse_categorical_crossentropy(
            batch.targets["label"], outputs, from_logits=True
        )
        if not smoothing:
            return losses
        return (1 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(outputs), -1)

    def divergence(self, batch: Batch, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return softmax_divergence(one, other)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return {"classification": metrics.Classification(classes=self.outputs, class_names=self.known_names)}

    def score(self, batch: Batch, outputs: tf.Tensor) -> tuple[Any, Any]:
        return batch.targets["label"], outputs

    def postprocess(self, outputs: tf.Tensor, features: dict[str, Any]) -> dict[str, Any]:
        labels = tf.constant(self.known_names)
        return {
            "label": tf.gather(labels, tf.argmax(outputs, -1)),
            "scores": tf.nn.softmax(outputs),
            "labels": tf.identity(labels),
        }

    def example(self) -> dict[str, list[Any]]:
        names = self.names or ("request", "opinion")
        return {"text": list(EXAMPLES), "label": [names[i % len(names)] for i in range(len(EXAMPLES))]}
