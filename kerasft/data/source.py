"""`Source`: rows under canonical names and types, checked once and read by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerasft.data.schema import Field
from kerasft.errors import DataError

Columns = dict[str, "list[Any] | np.ndarray"]

_CHUNK = 1024


class Source(ABC):
    """Rows that can be read in any order without being held in memory.

    Every row was checked once when the source was opened; values come back under the names of the fields:
    text, label and id as `list[str]`; bytes as `list[bytes]`; labels, tokens, strings and tags as
    `list[list[str]]`; spans as lists of `(start, end, type)`; number as a float32 array;
    "any" as an array where the values stack, else as a list.

    Example:
        >>> from kerasft.data import Field, open_source
        >>> fields = [Field(name="text"), Field(name="label", kind="label", target=True)]
        >>> source = open_source({"text": ["good", "bad", "fine"], "label": [1, 0, 1]}, fields=fields)
        >>> len(source), source.class_counts("label")
        (3, {'0': 1, '1': 2})
        >>> source.take([2, 0])
        {'text': ['fine', 'good'], 'label': ['1', '1']}
    """

    name: str
    """What messages call the data."""
    fields: tuple[Field, ...]
    """The fields that the data has."""
    notes: tuple[str, ...]
    """Sentences worth printing: columns that were guessed, rows that were skipped."""
    skipped: int
    """How many bad rows were left out."""
    skip_examples: tuple[str, ...]
    """What was wrong with the first few of them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the fields that the data has."""
        return tuple(field.name for field in self.fields)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        """Reads rows by number.

        Args:
            indices: Row numbers from 0, in any order, shape `[n]`.
            columns: Which fields to read; all by default.

        Returns:
            Field name to `n` values.

        Raises:
            DataError: The file was changed after it had been opened.
        """

    @abstractmethod
    def where(self, index: int) -> str:
        """Returns the place of a row for a message, such as "reviews.tsv, line 17"."""

    @abstractmethod
    def class_counts(self, name: str) -> dict[str, int]:
        """Returns how often each class of a field occurs, in the order of `Field.classes` or else sorted.

        Tags and spans count their tokens and spans. Classes that are whole numbers sort as numbers.

        Raises:
            DataError: There is no such field, or it has no classes.
        """

    @abstractmethod
    def classes(self, name: str) -> tuple[str, ...]:
        """Returns the classes of a field in the order of `class_counts`; a subset has those of the whole.

        So a task learns every class even when all rows of one are held out.

        Raises:
            DataError: There is no such field, or it has no classes.
        """

    @abstractmethod
    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """Returns the class of every row of a "label" field as numbers, without reading a row.

        Returns:
            int32 codes, shape `[len(self)]`, and the classes that they point into.

        Raises:
            DataError: There is no such field, or it is no label.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a hash of the content and of what is read from it; it does not depend on the place."""

    @abstractmethod
    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        """Returns a view of some rows, in this order, that copies nothing."""

    def iterate(self, name: str) -> Iterator[Any]:
        """Goes through the values of one field in order, reading a few at a time."""
        self.field(name)
        for start in range(0, len(self), _CHUNK):
            yield from self.take(np.arange(start, min(start + _CHUNK, len(self))), [name])[name]

    def field(self, name: str) -> Field:
        """Returns a field by name.

        Raises:
            DataError: The source has no such field.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise DataError(f"{self.name} has no field {name!r}; it has {', '.join(self.columns)}")

    def __repr__(self) -> str:
        return f"<Source {self.name}: {len(self)} rows of {', '.join(self.columns)}>"

    def _class_field(self, name: str, *kinds: str) -> Field:
        field = self.field(name)
        if field.kind not in kinds:
            fitting = [f.name for f in self.fields if f.kind in kinds]
            hint = f"use {', '.join(fitting)}" if fitting else "this data has no field that has"
            raise DataError(
                f"{self.name}: the field {name!r} is a {field.kind} and has no such classes; {hint}"
            )
        return field


def check_indices(indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Returns row numbers as an int64 array.

    Raises:
        IndexError: One is negative or not below `size`.
    """
    numbers = np.asarray(indices)
    numbers = numbers.astype(np.int64) if not numbers.size else numbers.astype(np.int64, casting="same_kind")
    if numbers.ndim != 1:
        raise IndexError(f"row numbers must have shape [n], not {numbers.shape}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
        wrong = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
        raise IndexError(f"there is no row {wrong}; the rows are numbered 0 to {size - 1}")
    return numbers
