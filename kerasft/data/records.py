"""What every origin of rows offers to a `Source`: one pass over all records, then random access by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Broken:
    """A record that cannot even be split into values."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy


class Records(Protocol):
    """Records under a number, counted from 0 in the order of the origin; lines without a cell are none.

    A plugin with a format of its own (an image folder, say) implements this and passes it to `open_source`.
    """

    @property
    def name(self) -> str:
        """How messages call the origin: "reviews.tsv"."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the records have."""

    def head(self) -> Sequence[Mapping[str, Any]]:
        """A few raw rows, without errors, to guess columns from."""

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        """Goes once through all records: the raw values of the columns, or why there are none."""

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterable[Sequence[Any] | Broken]:
        """The raw values of some records, in the order of the numbers; only after a full `scan`."""

    def where(self, number: int) -> str:
        """The place of a record for a message: "reviews.tsv, line 17"."""

    def digest(self, columns: Sequence[str]) -> bytes:
        """A hash of the content, at least of these columns; only after a full `scan`."""
