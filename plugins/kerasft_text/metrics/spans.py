"""Spans, and how many are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft.metrics.scores import Scores, averages, precision_recall_f1


def tag_spans(tags: Any) -> tf.Tensor:
    """Finds the spans in BIO tags, as seqeval's default mode does.

    A span starts at a B, and at an I that does not continue a span of its type. Shapes stay static, so that
    XLA can compile it.

    Args:
        tags: int [batch, length]. 0 is "O" (and padding), 1 + 2k is "B" and 2 + 2k "I" of type k.

    Returns:
        int32 [batch, length, 3]: in each row first the spans in order, as (start, end, 1 + type) with `end`
        one past the last position, then zeros.

    Example:
        >>> tag_spans(tf.constant([[1, 2, 0, 4]])).numpy().tolist()
        [[[0, 2, 1], [3, 4, 2], [0, 0, 0], [0, 0, 0]]]
    """
    tags = tf.cast(tags, tf.int32)
    batch, length = tf.shape(tags)[0], tf.shape(tags)[1]
    kind = (tags + 1) // 2  # 0 outside, else 1 + type
    before = tf.pad(kind, [[0, 0], [1, 0]])[:, :-1]
    outside, begins = tf.equal(kind, 0), tf.equal(tags % 2, 1)
    starts = tf.logical_and(~outside, begins | tf.not_equal(kind, before))
    # The k-th span of a row becomes segment k; what lies outside goes to a last segment that is dropped.
    number = tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1
    number = tf.where(outside, length, number) + (length + 1) * tf.range(batch)[:, None]
    position = tf.broadcast_to(tf.range(length), tf.shape(tags))
    values = tf.stack([-position, position + 1, kind], -1)
    spans = tf.math.unsorted_segment_max(
        tf.reshape(values, [-1, 3]), tf.reshape(number, [-1]), batch * (length + 1)
    )
    spans = tf.reshape(spans, [batch, length + 1, 3])[:, :-1]
    spans = tf.where(spans[..., 2:] > 0, spans, 0)
    return tf.concat([-spans[..., :1], spans[..., 1:]], -1)


@keras.saving.register_keras_serializable(package="kerasft_text")
class SpanF1(keras.metrics.Metric):
    """Precision, recall and F1 of spans: one counts only if its start, its end and its type are right.

        On BIO tags this is seqeval's default mode. `span_f1`, `span_precision` and `span_recall` are over all
        spans (seqeval's micro average), `macro_span_f1` and so on the mean over the types that occur or are
    predicted.
        Args:
            types: number of entity types.
            class_names: what reports call them.
            name: of the metric.
            **kwargs: of `keras.metrics.Metric`.

        Example:
            >>> metric = SpanF1(types=2)
            >>> metric.update_state(tf.constant([[1, 2, 0, 3]]), tf.constant([[1, 2, 0, 0]]))
            >>> round(float(metric.result()["span_f1"]), 3)
            0.667
    """

    def __init__(
        self, *, types: int, class_names: Sequence[str] | None = None, name: str = "spans", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.types, self.class_names = types, class_names
        self._counts = self.add_variable((3, types), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: tags int [batch, length] as `tag_spans` reads them, or spans int [batch, any, 3] as it
                returns them, in any unit and in any order.
            y_pred: the same; one may be tags and the other spans.
            sample_weight: float [batch], or None.
        """
        actual, predicted = (
            tf.cast(spans, tf.int32) if tf.convert_to_tensor(spans).shape.rank == 3 else tag_spans(spans)
            for spans in (y_true, y_pred)
        )
        same = tf.reduce_all(tf.equal(actual[:, :, None], predicted[:, None]), -1)
        hits = tf.reduce_any(same & (actual[:, :, None, 2] > 0), 2)
        weights = tf.ones([tf.shape(actual)[0]]) if sample_weight is None else sample_weight
        weights = tf.cast(weights, tf.float32)[:, None]
        self._counts.assign_add(
            tf.stack(
                [
                    self._by_type(tf.where(hits, actual[..., 2], 0), weights),
                    self._by_type(predicted[..., 2], weights),
                    self._by_type(actual[..., 2], weights),
                ]
            )
        )

    def _by_type(self, kinds: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        weights = tf.reshape(weights * tf.ones_like(kinds, tf.float32), [-1])
        return tf.math.unsorted_segment_sum(weights, tf.reshape(kinds, [-1]), self.types + 1)[1:]

    def result(self) -> Scores:
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        scores = averages(hits, predicted, actual, prefix="span_", counted=actual + predicted > 0)
        micro = {name.removeprefix("micro_"): value for name, value in scores.items()}
        return dict(sorted(micro.items(), key=lambda item: item[0].startswith("macro")))

    def by_class(self) -> tuple[tf.Tensor, ...]:
        """Returns precision, recall, F1 and the number of true spans of each type, float32 [types] each."""
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        return (*precision_recall_f1(hits, predicted, actual), actual)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "types": self.types, "class_names": self.class_names}
