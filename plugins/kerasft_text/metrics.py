"""Metrics that Keras lacks, as Keras metrics: they count inside the compiled step and add up over batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

Scores = dict[str, tf.Tensor]


def _ratio(top: tf.Tensor, bottom: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.cast(top, tf.float32), tf.cast(bottom, tf.float32))


def _precision_recall_f1(hits: tf.Tensor, predicted: tf.Tensor, actual: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return _ratio(hits, predicted), _ratio(hits, actual), _ratio(2 * hits, predicted + actual)


def _averages(
    hits: tf.Tensor, predicted: tf.Tensor, actual: tf.Tensor, *, prefix: str, counted: tf.Tensor
) -> Scores:
    """Macro (mean over the classes that count) and micro (over all decisions) scores from counts by class."""
    by_class = _precision_recall_f1(hits, predicted, actual)
    micro = _precision_recall_f1(*map(tf.reduce_sum, (hits, predicted, actual)))
    names = ("precision", "recall", "f1")
    weights = tf.cast(counted, tf.float32)
    macro = (_ratio(tf.reduce_sum(values * weights), tf.reduce_sum(weights)) for values in by_class)
    return {
        **{f"macro_{prefix}{name}": value for name, value in zip(names, macro, strict=True)},
        **{f"micro_{prefix}{name}": value for name, value in zip(names, micro, strict=True)},
    }


@keras.saving.register_keras_serializable(package="kerasft_text")
class Classification(keras.metrics.Metric):
    """Accuracy, macro and micro precision, recall and F1 of single labels, from one confusion matrix.

    A class that neither occurs nor is predicted does not count in the macro averages, as in scikit-learn.

    Args:
        classes: number of classes.
        class_names: what reports call them.
        name: of the metric.
        **kwargs: of `keras.metrics.Metric`.

    Example:
        >>> metric = Classification(classes=2)
        >>> metric.update_state([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> round(float(metric.result()["accuracy"]), 3)
        0.667
        >>> metric.confusion_matrix.numpy().tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        *,
        classes: int,
        class_names: Sequence[str] | None = None,
        name: str = "classification",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.classes, self.class_names = classes, class_names
        self._matrix = self.add_variable((classes, classes), initializer="zeros", name="confusion_matrix")

    @property
    def confusion_matrix(self) -> tf.Tensor:
        """float32 [classes, classes]; a row is a true class, a column a predicted one."""
        return tf.convert_to_tensor(self._matrix)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: int [batch].
            y_pred: scores [batch, classes], or the classes int [batch].
            sample_weight: float [batch], or None.
        """
        y_true, y_pred = tf.cast(y_true, tf.int32), tf.convert_to_tensor(y_pred)
        if y_pred.shape.rank > 1:
            y_pred = tf.argmax(y_pred, -1, output_type=tf.int32)
        weights = tf.ones_like(y_true, tf.float32) if sample_weight is None else sample_weight
        cells = tf.math.unsorted_segment_sum(
            tf.cast(weights, tf.float32), y_true * self.classes + tf.cast(y_pred, tf.int32), self.classes**2
        )
        self._matrix.assign_add(tf.reshape(cells, (self.classes, self.classes)))

    def result(self) -> Scores:
        matrix = self.confusion_matrix
        hits, actual = tf.linalg.diag_part(matrix), tf.reduce_sum(matrix, 1)
        predicted = tf.reduce_sum(matrix, 0)
        scores = _averages(hits, predicted, actual, prefix="", counted=actual + predicted > 0)
        return {"accuracy": _ratio(tf.reduce_sum(hits), tf.reduce_sum(matrix)), **scores}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "class_names": self.class_names}


@keras.saving.register_keras_serializable(package="kerasft_text")
class MultiLabel(keras.metrics.Metric):
    """Macro and micro precision, recall and F1 of label sets, and how many sets are exactly right.

    Args:
        classes: number of labels.
        threshold: a label is predicted from this score on.
        class_names: what reports call the labels.
        name: of the metric.
        **kwargs: of `keras.metrics.Metric`.

    Example:
        >>> metric = MultiLabel(classes=2)
        >>> metric.update_state([[1, 0], [1, 1]], [[0.9, 0.1], [0.8, 0.3]])
        >>> round(float(metric.result()["micro_f1"]), 3), float(metric.result()["exact_match"])
        (0.8, 0.5)
    """

    def __init__(
        self,
        *,
        classes: int,
        threshold: float = 0.5,
        class_names: Sequence[str] | None = None,
        name: str = "multilabel",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.classes, self.threshold, self.class_names = classes, threshold, class_names
        self._counts = self.add_variable((3, classes), initializer="zeros", name="counts")
        self._exact = self.add_variable((2,), initializer="zeros", name="exact")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: 0 or 1, [batch, classes].
            y_pred: scores from 0 to 1, [batch, classes].
            sample_weight: float [batch], or None.
        """
        actual = tf.cast(y_true, tf.float32)
        predicted = tf.cast(tf.convert_to_tensor(y_pred) >= self.threshold, tf.float32)
        rows = tf.ones_like(actual[:, 0]) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        weights = rows[:, None]
        counts = [tf.reduce_sum(part * weights, 0) for part in (actual * predicted, predicted, actual)]
        self._counts.assign_add(tf.stack(counts))
        exact = tf.cast(tf.reduce_all(tf.equal(actual, predicted), 1), tf.float32)
        self._exact.assign_add(tf.stack([tf.reduce_sum(exact * rows), tf.reduce_sum(rows)]))

    def result(self) -> Scores:
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        exact = tf.convert_to_tensor(self._exact)
        scores = _averages(hits, predicted, actual, prefix="", counted=tf.ones_like(hits))
        return {"exact_match": _ratio(exact[0], exact[1]), **scores}

    def get_config(self) -> dict[str, Any]:
        own = {"classes": self.classes, "threshold": self.threshold, "class_names": self.class_names}
        return {**super().get_config(), **own}

    def by_class(self) -> tuple[tf.Tensor, ...]:
        """Returns precision, recall, F1 and the number of true examples of each label, [classes] each."""
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        return (*_precision_recall_f1(hits, predicted, actual), actual)


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
        scores = _averages(hits, predicted, actual, prefix="span_", counted=actual + predicted > 0)
        micro = {name.removeprefix("micro_"): value for name, value in scores.items()}
        return dict(sorted(micro.items(), key=lambda item: item[0].startswith("macro")))

    def by_class(self) -> tuple[tf.Tensor, ...]:
        """Returns precision, recall, F1 and the number of true spans of each type, float32 [types] each."""
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        return (*_precision_recall_f1(hits, predicted, actual), actual)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "types": self.types, "class_names": self.class_names}
