"""Scores of videos from those of their clips."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class OverClips(keras.metrics.Metric):
    """A metric of videos, each of which is judged by the average of the scores of its clips.

    The clips of a video come one after the other; a batch may begin and end within one.

    Args:
        metric: Is given the class and the average scores of each video.
        clips: Of each video.
        classes: Number of classes.
        name: Of the metric.

    Example:
        >>> metric = OverClips(keras.metrics.SparseCategoricalAccuracy(), clips=2, classes=2)
        >>> metric.update_state([1], [[0.6, 0.4]])
        >>> metric.update_state([1, 0, 0], [[0.1, 0.9], [0.7, 0.3], [0.8, 0.2]])
        >>> float(metric.result())
        1.0
    """

    def __init__(self, metric: keras.metrics.Metric, *, clips: int, classes: int, name: str = "videos"):
        super().__init__(name=name)
        self.metric, self.clips = metric, clips
        self._waiting = self.add_variable((clips, classes), initializer="zeros", name="waiting")
        self._count = self.add_variable((), initializer="zeros", dtype="int32", name="count")

    @property
    def confusion_matrix(self) -> Any:
        """That of the metric, as reports want it."""
        return self.metric.confusion_matrix

    @property
    def class_names(self) -> Any:
        """Those of the metric."""
        return self.metric.class_names

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, **others: Any) -> None:
        """Adds clips.

        Args:
            y_true: int `[batch]`.
            y_pred: Scores `[batch, classes]`, not logits, whose average means little.
            sample_weight: float `[batch]`, or None.
            **others: What else the metric is given, `[batch]`.
        """
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        begun = tf.convert_to_tensor(self._count)
        waiting = tf.convert_to_tensor(self._waiting)[:begun]
        scores = tf.concat([waiting, tf.cast(y_pred, waiting.dtype)], 0)
        whole = tf.shape(scores)[0] // self.clips
        together = tf.reshape(scores[: whole * self.clips], (whole, self.clips, y_pred.shape[-1]))
        last = self.clips - 1 - begun + self.clips * tf.range(whole)
        weight = None if sample_weight is None else tf.gather(sample_weight, last)
        of_video = {name: tf.gather(value, last) for name, value in others.items()}
        self.metric.update_state(
            tf.gather(y_true, last), tf.reduce_mean(together, 1), sample_weight=weight, **of_video
        )
        left = scores[whole * self.clips :]
        self._count.assign(tf.shape(left)[0])
        room = [[0, self.clips - tf.shape(left)[0]], [0, 0]]
        self._waiting.assign(tf.ensure_shape(tf.pad(left, room), self._waiting.shape))

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        super().reset_state()
        self.metric.reset_state()
