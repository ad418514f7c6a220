"""Values that are looked at when data is opened, so that a bad one is a bad row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data import Broken, Records
from kerasft.errors import DataError


class Checked:
    """Records in which the values of a column were looked at.

    Args:
        records: The records.
        column: Name of the column in them.
        name: How the column is called here.
        convert: Returns a value as it shall be, or raises a DataError "problem; remedy".
    """

    def __init__(
        self, records: Records, *, column: str, name: str, convert: Callable[[Any], np.ndarray]
    ) -> None:
        self._records, self._column, self._column_here, self._convert = records, column, name, convert
        self.name = records.name
        self.columns = tuple(name if found == column else found for found in records.columns)

    def head(self) -> list[Mapping[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self._converted(self._records.scan(self._there(columns)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self._converted(iter(self._records.read(numbers, self._there(columns))), columns)

    def where(self, number: int) -> str:
        return self._records.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._records.digest(self._there(columns))

    def _there(self, columns: Sequence[str]) -> list[str]:
        return [self._column if name == self._column_here else name for name in columns]

    def _converted(
        self, records: Iterator[Sequence[Any] | Broken], columns: Sequence[str]
    ) -> Iterator[Sequence[Any] | Broken]:
        place = list(columns).index(self._column_here) if self._column_here in columns else None
        for record in records:
            if place is None or isinstance(record, Broken):
                yield record
                continue
            try:
                value = self._convert(record[place])
            except DataError as error:
                problem, _, remedy = str(error).rpartition("; ")
                yield Broken(problem, remedy)
                continue
            yield [value if at == place else found for at, found in enumerate(record)]
