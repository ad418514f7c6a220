"""Metrics of labels: one an example, or any number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft.metrics.scores import Scores, averages, precision_recall_f1, ratio


@keras.saving.register_keras_serializable(package="kerasft")
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
        scores = averages(hits, predicted, actual, prefix="", counted=actual + predicted > 0)
        return {"accuracy": ratio(tf.reduce_sum(hits), tf.reduce_sum(matrix)), **scores}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "class_names": self.class_names}


@keras.saving.register_keras_serializable(package="kerasft")
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
        scores = averages(hits, predicted, actual, prefix="", counted=tf.ones_like(hits))
        return {"exact_match": ratio(exact[0], exact[1]), **scores}

    def get_config(self) -> dict[str, Any]:
        own = {"classes": self.classes, "threshold": self.threshold, "class_names": self.class_names}
        return {**super().get_config(), **own}

    def by_class(self) -> tuple[tf.Tensor, ...]:
        """Returns precision, recall, F1 and the number of true examples of each label, [classes] each."""
        hits, predicted, actual = tf.unstack(tf.convert_to_tensor(self._counts))
        return (*precision_recall_f1(hits, predicted, actual), actual)
