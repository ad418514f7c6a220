"""How good an alarm is at each threshold: precision, recall, and false alarms an hour."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasft.reports.gallery import SAMPLES
from kerasft.reports.tables import save_table
from kerasft.training.checkpoint import write_atomically

_STEPS = 1000
_SHOWN = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


class AlarmCurve(NamedTuple):
    """What an alarm at each threshold would have meant for the videos that were looked at.

    Attributes:
        thresholds: From 0 to 1, `[steps]`.
        precision: Share of the alarms that are right; 1 where there is none.
        recall: Share of the videos of the class that raise one; 0 where there is none.
        hourly: False alarms in an hour of other videos; NaN where their length is not known.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    hourly: np.ndarray

    @property
    def average_precision(self) -> float:
        """Mean of the precision over the steps of recall, as scikit-learn defines it."""
        gained = -np.diff(np.append(self.recall, 0.0))
        return float((gained * self.precision).sum())

    def at(self, threshold: float) -> tuple[float, float, float]:
        """Returns precision, recall and false alarms an hour at a threshold."""
        place = int(np.searchsorted(self.thresholds, threshold - 1e-9))
        return tuple(float(values[place]) for values in self[1:])  # type: ignore[return-value]


class Alarms(keras.metrics.Metric):
    """Scores of one class, of videos that are of it and of those that are not.

    Args:
        number: Of the class.
        threshold: From which score on an alarm is raised.
        name: Of the metric.

    Example:
        >>> alarms = Alarms(number=1, threshold=0.5)
        >>> alarms.update_state([1, 1, 0], [[0.2, 0.8], [0.7, 0.3], [0.9, 0.1]], seconds=[60, 60, 1800])
        >>> [round(value, 2) for value in alarms.curve().at(0.2)]
        [1.0, 1.0, 0.0]
        >>> [round(value, 2) for value in alarms.curve().at(0.05)]
        [0.67, 1.0, 2.0]
    """

    def __init__(self, *, number: int, threshold: float, name: str = "alarms") -> None:
        super().__init__(name=name)
        self.number, self.threshold = number, threshold
        self._counts = self.add_variable((2, _STEPS + 1), initializer="zeros", name="counts")
        self._seconds = self.add_variable((), initializer="zeros", name="seconds")

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, *, seconds: Any = None
    ) -> None:
        """Counts videos.

        Args:
            y_true: int `[batch]`.
            y_pred: Scores `[batch, classes]`.
            sample_weight: Is not looked at: an alarm is one, whatever it weighs in training.
            seconds: Length of each video, `[batch]`, if it is known.
        """
        step = tf.cast(tf.floor(tf.convert_to_tensor(y_pred)[:, self.number] * _STEPS), tf.int32)
        is_it = tf.equal(tf.convert_to_tensor(y_true), self.number)
        cell = tf.cast(is_it, tf.int32) * (_STEPS + 1) + tf.clip_by_value(step, 0, _STEPS)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cell, tf.float32), cell, 2 * (_STEPS + 1))
        self._counts.assign_add(tf.reshape(counts, (2, _STEPS + 1)))
        if seconds is not None:
            others = tf.where(is_it, 0.0, tf.cast(seconds, tf.float32))
            self._seconds.assign_add(tf.reduce_sum(others))

    def curve(self) -> AlarmCurve:
        """Returns what each threshold means."""
        wrong, right = np.cumsum(np.asarray(self._counts)[:, ::-1], axis=1)[:, ::-1]
        raised, hours = wrong + right, float(np.asarray(self._seconds)) / 3600
        return AlarmCurve(
            np.arange(_STEPS + 1) / _STEPS,
            np.divide(right, raised, out=np.ones_like(right), where=raised > 0),
            right / max(right[0], 1),
            wrong / hours if hours else np.full_like(wrong, np.nan),
        )

    def result(self) -> dict[str, float]:
        curve = self.curve()
        precision, recall, hourly = curve.at(self.threshold)
        found = {
            "average_precision": curve.average_precision,
            "alarm_precision": precision,
            "alarm_recall": recall,
        }
        return found if np.isnan(hourly) else {**found, "false_alarms_per_hour": hourly}


def report(folder: Path, curve: AlarmCurve, *, label: str, threshold: float) -> None:
    """Puts the curve and a table of thresholds into the report of a run.

    Args:
        folder: Of the run.
        curve: Of the alarm.
        label: Of its class.
        threshold: That is chosen.
    """
    rows = []
    for step in sorted({*_SHOWN, threshold}):
        precision, recall, hourly = curve.at(step)
        often = "" if np.isnan(hourly) else f"{hourly:.1f}"
        chosen = " (chosen)" if step == threshold else ""
        rows.append([f"{step:g}{chosen}", f"{precision:.3f}", f"{recall:.3f}", often])
    save_table(
        folder,
        "1-alarm",
        title=f"An alarm for {label}, by threshold",
        headings=["threshold", "precision", "recall", "false alarms an hour"],
        rows=rows,
    )
    picture = drawn(curve, label=label, threshold=threshold)
    write_atomically(folder / SAMPLES / "alarm.png", lambda file: file.write(picture))


def drawn(curve: AlarmCurve, *, label: str, threshold: float) -> bytes:
    """Returns a PNG: precision against recall, and false alarms an hour against recall, if known."""
    from matplotlib.figure import Figure

    known = not np.isnan(curve.hourly).all()
    figure = Figure(figsize=(8 if known else 4, 3.2), layout="constrained")
    axes = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
    precision, recall, hourly = curve.at(threshold)
    named = f"{label} from {threshold:g}"
    for axis, values, here, what in zip(
        axes,
        (curve.precision, curve.hourly),
        (precision, hourly),
        ("precision", "false alarms an hour"),
        strict=False,
    ):
        axis.plot(curve.recall, values, drawstyle="steps-post")
        axis.plot([recall], [here], "o", label=named)
        axis.set(xlabel="recall", ylabel=what, xlim=(0, 1.02))
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
