"""Scores of each class, from metrics that know them.

A metric shows more than its numbers by offering one of these, as any Keras metric may:

- `confusion_matrix`: an array [classes, classes]; a row is a true class, a column a predicted one;
- `by_class()`: precision, recall, F1 and the number of true examples of each class, [classes] each;

and, if the task's target field does not list the classes, their names as `class_names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from kerasft.task import Task

_COLUMNS = ("precision", "recall", "f1", "support")


class Confusion(NamedTuple):
    """Examples of one class taken for another.

    Attributes:
        true: The class that they are.
        predicted: The class that they were taken for.
        examples: How many.
        share: Of all examples of the true class, from 0 to 1.
    """

    true: str
    predicted: str
    examples: float
    share: float


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How well each class was recognised; `rich` prints it as a table.

    Args:
        names: The classes.
        precision: Of each class, from 0 to 1; so are recall and f1.
        recall: See precision.
        f1: See precision.
        support: True examples of each class.
        confusion: float [classes, classes], true by predicted; None where examples may have several.

    Example:
        >>> scores = ClassScores.of_matrix(("bad", "good"), [[3, 1], [0, 4]])
        >>> scores.precision, scores.recall
        ((1.0, 0.8), (0.75, 1.0))
        >>> scores.confused(limit=1)
        [Confusion(true='bad', predicted='good', examples=1.0, share=0.25)]
    """

    names: tuple[str, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[float, ...]
    confusion: np.ndarray | None = None

    @classmethod
    def of_matrix(cls, names: Iterable[str], matrix: Any) -> ClassScores:
        """Computes the scores from a confusion matrix; 0/0 counts as 0."""
        matrix = np.asarray(matrix, np.float64)
        hits, actual, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
        columns = (
            _ratio(hits, predicted),
            _ratio(hits, actual),
            _ratio(2 * hits, actual + predicted),
            tuple(actual.tolist()),
        )
        return cls(names=tuple(names), confusion=matrix, **dict(zip(_COLUMNS, columns, strict=True)))

    def confused(self, *, limit: int) -> list[Confusion]:
        """Returns the most frequent confusions, most frequent first."""
        if self.confusion is None:
            return []
        errors = self.confusion * (1 - np.eye(len(self.names)))
        order = np.argsort(-errors, axis=None, kind="stable")[:limit]
        pairs = [divmod(int(cell), len(self.names)) for cell in order if errors.flat[cell] > 0]
        return [
            Confusion(
                self.names[i], self.names[j], float(errors[i, j]), float(errors[i, j] / self.support[i])
            )
            for i, j in pairs
        ]

    def rows(self) -> list[tuple[str, float, float, float, float]]:
        """Returns name, precision, recall, F1 and support of each class."""
        return list(zip(self.names, self.precision, self.recall, self.f1, self.support, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Returns JSON-able values, the matrix as its non-zero cells."""
        values: dict[str, Any] = {"names": list(self.names)}
        values |= {name: [round(value, 6) for value in getattr(self, name)] for name in _COLUMNS}
        if self.confusion is not None:
            cells = np.argwhere(self.confusion)
            values["confusion"] = [[int(i), int(j), float(self.confusion[i, j])] for i, j in cells]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClassScores:
        """Reads what `to_json` returned."""
        names, matrix = tuple(values["names"]), None
        if "confusion" in values:
            matrix = np.zeros((len(names), len(names)))
            for i, j, count in values["confusion"]:
                matrix[i, j] = count
        return cls(names=names, confusion=matrix, **{name: tuple(values[name]) for name in _COLUMNS})

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table("class")
        for name in _COLUMNS:
            table.add_column(name, justify="right")
        for name, precision, recall, f1, support in self.rows():
            table.add_row(Text(name), f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{support:,.0f}")
        return table


def class_scores(metrics: Mapping[str, Any], task: Task | None = None) -> ClassScores | None:
    """Returns the scores of each class from the first metric that knows them, or None.

    Args:
        metrics: Name to metric, after an evaluation (`task.evaluation_metrics`).
        task: Its target fields name the classes, when the metric does not.
    """
    for metric in metrics.values():
        matrix = getattr(metric, "confusion_matrix", None)
        if matrix is not None:
            matrix = np.asarray(matrix() if callable(matrix) else matrix, np.float64)
            return ClassScores.of_matrix(_names(metric, task, len(matrix)), matrix)
        if hasattr(metric, "by_class"):
            columns = [tuple(np.asarray(column, np.float64).tolist()) for column in metric.by_class()]
            names = _names(metric, task, len(columns[0]))
            precision, recall, f1, support = columns
            return ClassScores(names=names, precision=precision, recall=recall, f1=f1, support=support)
    return None


def _names(metric: Any, task: Task | None, count: int) -> tuple[str, ...]:
    own: Sequence[str] | None = getattr(metric, "class_names", None)
    listed = [field.classes for field in task.fields() if field.target] if task is not None else []
    for names in (own, *listed):
        if names is not None and len(names) == count:
            return tuple(str(name) for name in names)
    return tuple(str(number) for number in range(count))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> tuple[float, ...]:
    return tuple(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0).tolist())
