"""The sources that `open_source` and `split` make."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from kerasft.data.derived import Subset
from kerasft.data.parser import RowParser
from kerasft.data.records import Broken, Records
from kerasft.data.schema import CLASS_KINDS, Field
from kerasft.data.source import Columns, Source, check_indices
from kerasft.data.tally import Tally
from kerasft.data.values import BadValue
from kerasft.errors import DataError

OnError = Literal["raise", "skip"]

_EXAMPLES = 5
_SKIP = 'or leave bad rows out with on_error="skip"'


class RecordSource(Source):
    """A source over the records of one origin.

    Args:
        records: Where the rows come from.
        fields: The fields to read.
        mapping: Field name to column name.
        on_error: Whether a bad row raises or is skipped and counted.
        notes: Sentences about how the columns were found.

    Raises:
        DataError: A row is bad, or there is no good row at all.
    """

    def __init__(
        self,
        records: Records,
        *,
        fields: Sequence[Field],
        mapping: Mapping[str, str],
        on_error: OnError = "raise",
        notes: Sequence[str] = (),
    ) -> None:
        self.name = records.name
        self.fields = tuple(fields)
        self._records = records
        self._mapping = {field.name: mapping[field.name] for field in self.fields}
        self._parser = RowParser(self.fields, self._mapping)
        self._tallies = {field.name: Tally(field) for field in self.fields if field.kind in CLASS_KINDS}
        self._kept: np.ndarray | None = None
        self._size = 0
        self._fingerprint: str | None = None
        self._scan(on_error)
        self.notes = (*notes, *self._findings())

    def __len__(self) -> int:
        return self._size

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        numbers = self._numbers(indices)
        names = self.columns if columns is None else tuple(columns)
        fields = [self.field(name) for name in names]
        places = [self.columns.index(name) for name in names]
        rows: list[Sequence[Any]] = []
        try:
            for row in self._records.read(numbers, [self._mapping[name] for name in names]):
                if isinstance(row, Broken):
                    raise BadValue(row.problem, row.remedy)
                rows.append(row)
            values = [
                self._parser.column(place, [row[at] for row in rows]) for at, place in enumerate(places)
            ]
        except BadValue as error:
            raise DataError(
                f"{self.name} changed after it had been opened (a row now has {error.problem}); open it again"
            ) from None
        return {field.name: _stack(field, column) for field, column in zip(fields, values, strict=True)}

    def where(self, index: int) -> str:
        return self._records.where(int(self._numbers([index])[0]))

    def class_counts(self, name: str) -> dict[str, int]:
        self._class_field(name, *CLASS_KINDS)
        return self._tallies[name].counts()

    def classes(self, name: str) -> tuple[str, ...]:
        return tuple(self.class_counts(name))

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        self._class_field(name, "label")
        return self._tallies[name].codes()

    def fingerprint(self) -> str:
        if self._fingerprint is None:
            columns = list(self._mapping.values())
            digest = hashlib.blake2b(self._records.digest(columns), digest_size=16)
            digest.update(repr([(f.name, f.kind, self._mapping[f.name]) for f in self.fields]).encode())
            digest.update(str(self._size).encode())
            digest.update(b"" if self._kept is None else self._kept.tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return Subset(self, indices)

    def _numbers(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = check_indices(indices, self._size)
        return numbers if self._kept is None else self._kept[numbers]

    def _scan(self, on_error: OnError) -> None:
        kept = array("q")
        examples: list[str] = []
        parse, tallies = self._parser, [self._tallies.get(field.name) for field in self.fields]
        counted = [(place, tally) for place, tally in enumerate(tallies) if tally is not None]
        number = -1
        for number, record in enumerate(self._records.scan(list(self._mapping.values()))):
            try:
                if isinstance(record, Broken):
                    raise BadValue(record.problem, record.remedy)
                row = parse(record)
            except BadValue as error:
                if on_error == "skip" and len(examples) >= _EXAMPLES:
                    continue
                sentence = f"{self._records.where(number)}: {error.problem}"
                if on_error != "skip":
                    raise DataError(f"{sentence}; {error.remedy}, {_SKIP}") from None
                examples.append(f"{sentence}; {error.remedy}")
                continue
            kept.append(number)
            for place, tally in counted:
                tally.add(row[place])
        self._size = len(kept)
        self.skipped = number + 1 - self._size
        self.skip_examples = tuple(examples)
        if not self._size and not self.skipped:
            raise DataError(f"{self.name} has no rows; give at least one")
        if not self._size:
            raise DataError(f"all {self.skipped} rows are bad, the first: {examples[0]}")
        if self.skipped:
            self._kept = np.array(kept, np.int64)

    def _findings(self) -> Iterator[str]:
        if self.skipped:
            total = self._size + self.skipped
            yield f"{self.name}: skipped {self.skipped} of {total} rows, the first: {self.skip_examples[0]}"
        for name, tally in self._tallies.items():
            if tally.is_mixed():
                yield f"{self.name}: the column {self._mapping[name]!r} mixes numbers and words as classes"


def _stack(field: Field, values: list[Any]) -> list[Any] | np.ndarray:
    if field.kind == "number":
        return np.array(values, np.float32)
    if field.kind == "integer":
        return np.array(values, np.int64)
    if field.kind == "boolean":
        return np.array(values, np.bool_)
    numeric = field.kind == "any" and all(isinstance(v, (int, float, np.generic, np.ndarray)) for v in values)
    stacks = numeric and len({np.shape(value) for value in values}) == 1
    return np.array(values) if stacks else values
