"""Rows of videos as rows of clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasft.data.source import Columns, Source


class Views(Source):
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
        self._parent, self._column, self._views, self._make = parent, column, views, make
        self.name, self.fields, self.notes = parent.name, parent.fields, parent.notes
        self.skipped, self.skip_examples = parent.skipped, parent.skip_examples

    def __len__(self) -> int:
        return len(self._parent) * self._views

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        rows, views = np.divmod(np.asarray(indices), self._views)
        # The views of a row are asked for together: each row is read once.
        distinct, back = np.unique(rows, return_inverse=True)
        found = self._parent.take(distinct, columns)
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
        return self._parent.where(index // self._views)

    def class_counts(self, name: str) -> dict[str, int]:
        return {label: count * self._views for label, count in self._parent.class_counts(name).items()}

    def classes(self, name: str) -> tuple[str, ...]:
        return self._parent.classes(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        codes, classes = self._parent.codes(name)
        return np.repeat(codes, self._views), classes

    def fingerprint(self) -> str:
        return f"{self._parent.fingerprint()}-{self._views}"

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return _Part(self, np.asarray(indices))


class _Part(Source):
    """Some rows of a source of views."""

    def __init__(self, whole: Views, indices: np.ndarray) -> None:
        self._whole, self._indices = whole, indices
        self.name, self.fields, self.notes = whole.name, whole.fields, whole.notes
        self.skipped, self.skip_examples = whole.skipped, whole.skip_examples

    def __len__(self) -> int:
        return len(self._indices)

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        return self._whole.take(self._indices[np.asarray(indices)], columns)

    def where(self, index: int) -> str:
        return self._whole.where(int(self._indices[index]))

    def class_counts(self, name: str) -> dict[str, int]:
        codes, classes = self.codes(name)
        return dict(zip(classes, np.bincount(codes, minlength=len(classes)).tolist(), strict=True))

    def classes(self, name: str) -> tuple[str, ...]:
        return self._whole.classes(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        codes, classes = self._whole.codes(name)
        return codes[self._indices], classes

    def fingerprint(self) -> str:
        return f"{self._whole.fingerprint()}-{hash(self._indices.tobytes())}"

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return _Part(self._whole, self._indices[np.asarray(indices)])
