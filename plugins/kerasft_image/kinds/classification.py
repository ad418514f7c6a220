"""One label a picture."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft import metrics
from kerasft.data import Field, Source
from kerasft.training.update import Batch
from kerasft_image.kinds.base import Kind


class Classification(Kind):
    """Answers with `label` string [n], `scores` float32 [n, labels] and `labels` string [labels],
    `embedding` float32 [n, channels]."""

    monitor = "val_accuracy"
    target = "label"

    def field(self) -> Field:
        return Field(name="label", kind="label", target=True, classes=self.names)

    def adapt(self, source: Source) -> None:
        super().adapt(source)
        self._check_two(source)

    def targets(self, raw: dict[str, Any]) -> tf.Tensor:
        return self.index_of(raw["label"])

    def hot(self, targets: tf.Tensor) -> tf.Tensor:
        return targets if targets.shape.rank == 2 else tf.one_hot(targets, len(self.known_names))

    def loss_of(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        labels = self.hot(batch.targets["label"])
        smoothing = self.config.head.label_smoothing
        labels = labels * (1 - smoothing) + smoothing / len(self.known_names)
        return tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        names = self.known_names
        return {"classification": metrics.Classification(classes=len(names), class_names=names)}

    def score(self, batch: Batch, outputs: dict[str, Any]) -> tuple[Any, Any]:
        return tf.argmax(self.hot(batch.targets["label"]), -1), outputs["logits"]

    def answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        labels = tf.constant(self.known_names)
        return {
            "label": tf.gather(labels, tf.argmax(outputs["logits"], -1)),
            "scores": tf.nn.softmax(outputs["logits"]),
            "labels": tf.identity(labels),
            "embedding": outputs["embedding"],
        }

    def example(self, count: int) -> list[Any]:
        names = self.names or ("disc", "square")
        return [names[i % 2 % len(names)] for i in range(count)]
