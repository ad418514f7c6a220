"""Records in memory (arrays, lists, pandas), or spilled from an iterator to a temporary file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from kerasft.data.encoding import decode, encode
from kerasft.data.offsets import BLOCK, Offsets
from kerasft.data.records import Broken
from kerasft.data.values import MISSING, show
from kerasft.errors import DataError

_HEAD_RECORDS = 200


class ColumnRecords:
    """Columns of equal length.

    Args:
        columns: Column name to what gives its values, called when the column is first read.
        size: Number of rows.
        name: How messages call the data.
    """

    def __init__(self, columns: Mapping[str, Callable[[], Sequence[Any]]], *, size: int, name: str) -> None:
        self.name = name
        self.columns = tuple(columns)
        self._makers = dict(columns)
        self._size = size
        self._made: dict[str, Sequence[Any]] = {}

    def head(self) -> list[dict[str, Any]]:
        size = min(self._size, _HEAD_RECORDS)
        return [{name: self._column(name)[at] for name in self.columns} for at in range(size)]

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return zip(*(self._column(name) for name in columns), strict=True)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        values = [self._column(name) for name in columns]
        return ([column[at] for column in values] for at in numbers.tolist())

    def where(self, number: int) -> str:
        return f"{self.name}, row {number}"

    def digest(self, columns: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for name in columns:
            for value in self._column(name):
                update_digest(digest, value)
        return digest.digest()

    def _column(self, name: str) -> Sequence[Any]:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]


class RowRecords:
    """A list of rows, each a dict."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, name: str) -> None:
        self.name = name
        self._rows = rows
        found: dict[str, None] = {}
        for row in self.head():
            found.update(dict.fromkeys(row))
        self.columns = tuple(found)

    def head(self) -> list[Mapping[str, Any]]:
        return [row for row in self._rows[:_HEAD_RECORDS] if isinstance(row, Mapping)]

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for row in self._rows:
            if isinstance(row, Mapping):
                yield [row.get(name, MISSING) for name in columns]
            else:
                yield Broken(f"{show(row)} is no dict", 'give rows as {"column": value, ...}')

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return ([self._rows[at].get(name, MISSING) for name in columns] for at in numbers.tolist())

    def where(self, number: int) -> str:
        return f"{self.name}, row {number}"

    def digest(self, columns: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for row in self._rows:
            update_digest(digest, [row.get(name) for name in columns] if isinstance(row, Mapping) else None)
        return digest.digest()


class SpilledRecords:
    """Rows of an iterator: the scan writes what is needed to a nameless temporary file, for reads by number.

    Args:
        rows: The rows, each a dict; read once.
        name: How messages call the data.
        columns: The columns that the rows have.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = tuple(columns)
        self._rows = iter(rows)
        self._ahead: list[Mapping[str, Any]] = []
        self._kept: tuple[str, ...] = ()
        self._offsets = Offsets()
        self._digest = hashlib.blake2b(digest_size=16)
        self._file = tempfile.TemporaryFile(prefix="kerasft-", buffering=BLOCK)  # noqa: SIM115

    def head(self) -> list[Mapping[str, Any]]:
        self._ahead.extend(islice(self._rows, max(0, _HEAD_RECORDS - len(self._ahead))))
        return self._ahead

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        self._kept = tuple(columns)
        at = 0
        for row in chain(self._ahead, self._rows):
            values = [_plain(row.get(name, MISSING)) for name in columns]
            record = encode([None if value is MISSING else value for value in values])
            self._file.write(record)
            self._offsets.append(at, len(record))
            at += len(record)
            update_digest(self._digest, values)
            yield values
        self._ahead = []
        self._file.flush()

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        places = [self._kept.index(name) for name in columns]
        for record in self._offsets.read(self._file.fileno(), numbers):
            values = decode(record)
            yield [values[place] for place in places]

    def where(self, number: int) -> str:
        return f"{self.name}, example {number}"

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._digest.digest()


def column_records(columns: Mapping[Any, Any], *, name: str) -> ColumnRecords:
    """Makes records of a dict of lists, arrays or pandas Series.

    Raises:
        DataError: A column is no sequence, or the lengths differ.
    """
    sizes: dict[str, int] = {}
    makers: dict[str, Callable[[], Sequence[Any]]] = {}
    for key, values in columns.items():
        if not _is_column(values):
            raise DataError(f"{name}: the column {str(key)!r} holds {show(values)}; give a list or an array")
        sizes[str(key)] = len(values)
        makers[str(key)] = partial(_pandas_values if is_pandas(values) else _same, values)
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{key!r} {size}" for key, size in sizes.items())
        raise DataError(
            f"{name}: the columns have different lengths ({lengths}); give one value a row in each"
        )
    return ColumnRecords(makers, size=next(iter(sizes.values()), 0), name=name)


def frame_records(frame: Any, *, name: str = "the DataFrame") -> ColumnRecords:
    """Makes records of a pandas DataFrame; missing values of any sort become None.

    Raises:
        DataError: Two columns have one name.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{name} repeats the column {show(twice)}; give every column its own name")

    makers = {str(column): partial(_pandas_values, series) for column, series in frame.items()}
    return ColumnRecords(makers, size=len(frame), name=name)


def is_pandas(data: Any) -> bool:
    """Whether this is a DataFrame, a Series or the like, without importing pandas."""
    return any(cls.__module__.partition(".")[0] == "pandas" for cls in type(data).__mro__)


def is_frame(data: Any) -> bool:
    """Whether this is a pandas DataFrame."""
    return is_pandas(data) and hasattr(data, "columns")


def _is_column(values: Any) -> bool:
    if isinstance(values, (str, bytes, Mapping)) or is_frame(values):
        return False
    return hasattr(values, "__len__") and hasattr(values, "__getitem__")


def _same(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _pandas_values(values: Any) -> Sequence[Any]:
    # A Series looks up the labels of its index, and rows are read by position.
    import pandas

    series = pandas.Series(values)
    found: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return found


def update_digest(digest: Any, value: Any) -> None:
    """Adds a value of any shape to a hash, so that equal data give equal hashes in every process."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, (list, tuple, np.ndarray)):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            update_digest(digest, item)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            update_digest(digest, [key, value[key]])
    else:
        digest.update(f"{_plain(value)!r};".encode("utf-8", "backslashreplace"))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
