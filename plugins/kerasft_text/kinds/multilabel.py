"""Any number of labels a text."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.training.update import Batch
from kerasft_text import metrics
from kerasft_text.consistency import sigmoid_divergence
from kerasft_text.kinds.base import EXAMPLES, TEXT, Kind
from kerasft_text.tokenization import Encoding

SEPARATOR = "|"


class MultiLabel(Kind):
    """Signature: text string [n] -> label string [n], scores float32 [n, labels], labels string [labels].

    Several labels are joined by "|", as they may be in the data; none is "".
    """

    monitor = "val_micro_f1"
    call = "classify"

    def fields(self) -> tuple[Field, ...]:
        return (TEXT, Field(name="labels", kind="labels", target=True, classes=self.names))

    def adapt(self, source: Source) -> None:
        if self.names is None:
            self.names = source.classes("labels")

    def targets(self, raw: dict[str, Any], encoding: Encoding) -> dict[str, Any]:
        labels = raw["labels"]
        hot = tf.one_hot(self.index_of(labels.flat_values), self.outputs)
        rows = tf.cast(labels.nrows(), tf.int32)
        return {"labels": tf.minimum(tf.math.unsorted_segment_sum(hot, labels.value_rowids(), rows), 1.0)}

    def loss(self, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch.targets["labels"], logits=outputs)
        return tf.reduce_mean(losses, -1)

    def divergence(self, batch: Batch, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(sigmoid_divergence(one, other), -1)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        threshold = self.config.head.threshold
        metric = metrics.MultiLabel(classes=self.outputs, threshold=threshold, class_names=self.known_names)
        return {"multilabel": metric}

    def score(self, batch: Batch, outputs: tf.Tensor) -> tuple[Any, Any]:
        return batch.targets["labels"], tf.sigmoid(outputs)

    def postprocess(self, outputs: tf.Tensor, features: dict[str, Any]) -> dict[str, Any]:
        labels, scores = tf.constant(self.known_names), tf.sigmoid(outputs)
        given = tf.ragged.boolean_mask(
            tf.broadcast_to(labels, tf.shape(scores)), scores >= self.config.head.threshold
        )
        joined = tf.strings.reduce_join(given, axis=-1, separator=SEPARATOR)
        return {"label": joined, "scores": scores, "labels": tf.identity(labels)}

    def example(self) -> dict[str, list[Any]]:
        names = self.names or ("food", "music", "weather")
        labels = [sorted({names[i % len(names)], names[(i // 2) % len(names)]}) for i in range(len(EXAMPLES))]
        return {"text": list(EXAMPLES), "labels": labels}
