"""Rows of videos as rows of clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasft.data import Derived, Source
from kerasft.data.source import Columns


class Views(Derived):
    """A source with several rows for each row of another, one after the other.

    Args:
        parent: The rows.
        column: The column whose values differ from view to view.
        views: How many each row has.
        make: Returns the views of a value, `[views, ...]`, given the value and the number of the row.
    """

    def __init__(
        self, parent: Source, *, column: str, views: int, make: Callable[[object, int], np.ndarray]
    ) -> None:
        super().__init__(parent)
        self._column, self._views, self._make = column, views, make

    def __len__(self) -> int:
        return len(self.parent) * self._views

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        rows, views = np.divmod(np.asarray(indices), self._views)
        # The views of a row are asked for together: each row is read once.
        distinct, back = np.unique(rows, return_inverse=True)
        found = self.parent.take(distinct, columns)
        result: Columns = {}
        for name, values in found.items():
            if name == self._column:
                made = [self._make(value, int(row)) for value, row in zip(values, distinct, strict=True)]
                result[name] = [made[at][view] for at, view in zip(back, views, strict=True)]
            else:
                picked = [values[at] for at in back]
                result[name] = np.array(picked) if isinstance(values, np.ndarray) else picked
        return result

    def where(self, index: int) -> str:
        return self.parent.where(index // self._views)

    def class_counts(self, name: str) -> dict[str, int]:
        return {label: count * self._views for label, count in self.parent.class_counts(name).items()}

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        codes, classes = self.parent.codes(name)
        return np.repeat(codes, self._views), classes

    def fingerprint(self) -> str:
        return f"{self.parent.fingerprint()}-{self._views}"
