"""Any number of labels a picture."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft import metrics
from kerasft.data import Field
from kerasft.training.update import Batch
from kerasft_image.kinds.base import Kind

SEPARATOR = "|"


class MultiLabel(Kind):
    """Answers with `label` string [n], `scores` float32 [n, labels] and `labels` string [labels],
    `embedding` float32 [n, channels].

    Several labels are joined by "|", as they may be in the data; none is "".
    """

    monitor = "val_micro_f1"
    target = "labels"

    def field(self) -> Field:
        return Field(name="labels", kind="labels", target=True, aliases=("label",), classes=self.names)

    def targets(self, raw: dict[str, Any]) -> tf.Tensor:
        labels = raw["labels"]
        hot = tf.one_hot(self.index_of(labels.flat_values), len(self.known_names))
        rows = tf.cast(labels.nrows(), tf.int32)
        return tf.minimum(tf.math.unsorted_segment_sum(hot, labels.value_rowids(), rows), 1.0)

    def hot(self, targets: tf.Tensor) -> tf.Tensor:
        return targets

    def loss_of(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch.targets["labels"], logits=logits)
        return tf.reduce_mean(losses, -1)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        names, threshold = self.known_names, self.config.head.threshold
        metric = metrics.MultiLabel(classes=len(names), threshold=threshold, class_names=names)
        return {"multilabel": metric}

    def score(self, batch: Batch, outputs: dict[str, Any]) -> tuple[Any, Any]:
        # Of mixed pictures the label of the larger part counts.
        return tf.cast(batch.targets["labels"] >= 0.5, tf.float32), tf.sigmoid(outputs["logits"])

    def answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        labels, scores = tf.constant(self.known_names), tf.sigmoid(outputs["logits"])
        given = tf.ragged.boolean_mask(
            tf.broadcast_to(labels, tf.shape(scores)), scores >= self.config.head.threshold
        )
        joined = tf.strings.reduce_join(given, axis=-1, separator=SEPARATOR)
        return {
            "label": joined,
            "scores": scores,
            "labels": tf.identity(labels),
            "embedding": outputs["embedding"],
        }

    def example(self, count: int) -> list[Any]:
        names = self.names or ("disc", "shape", "square")
        kinds = (names[0], names[-1])
        return [sorted({kinds[i % 2], names[len(names) // 2]}) for i in range(count)]
