"""Records of a text file: one pass keeps byte offsets, and rows are read by position from then on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data.offsets import BLOCK, Offsets, read_blocks
from kerasft.data.records import Broken
from kerasft.data.values import MISSING, show
from kerasft.errors import DataError

_HEAD_RECORDS = 200
_ENDINGS = ("\n", "\r\n", "")
_UTF8 = "save the file as UTF-8"
BOM = b"\xef\xbb\xbf"


class FileRecords:
    """Base of the text formats; a format says how the file is cut into records and a record into values.

    Args:
        path: The file to read; it stays open, so a file replaced later does no harm.
        name: How messages call it.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self.name = name
        self.columns: tuple[str, ...] = ()
        self._file = path.open("rb", buffering=BLOCK)
        start = self._file.read(3)
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{name} is UTF-16; {_UTF8}")
        self._start = 3 if start == BOM else 0
        self._offsets = Offsets()

    def head(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for record in self.scan(self.columns):
            if not isinstance(record, Broken):
                rows.append(dict(zip(self.columns, record, strict=True)))
            if len(self._offsets) >= _HEAD_RECORDS:
                break
        return rows

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        raise NotImplementedError

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        raise NotImplementedError

    def where(self, number: int) -> str:
        before = read_blocks(self._file.fileno(), 0, self._offsets.begin(number))
        line = 1 + sum(block.count(b"\n") for block in before)
        return f"{self.name}, line {line}"

    def digest(self, columns: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for block in read_blocks(self._file.fileno(), self._start):
            digest.update(block)
        return digest.digest()

    def _texts(self, numbers: np.ndarray) -> list[str]:
        return [part.decode("utf-8", "replace") for part in self._offsets.read(self._file.fileno(), numbers)]


class LineRecords(FileRecords):
    """Formats with one record a line."""

    def _pick(self, columns: Sequence[str]) -> Callable[[str], Sequence[Any] | Broken]:
        """Returns the function from a line to the values of some columns."""
        raise NotImplementedError

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        pick = self._pick(columns)
        self._offsets = Offsets()
        self._file.seek(self._start)
        for begin, line in self._rows():
            self._offsets.append(begin, len(line))
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                yield broken_utf8(line, error)
                continue
            yield pick(text)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return map(self._pick(columns), self._texts(numbers))

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are records, and where they begin."""
        at = self._start
        for line in self._file:
            if not line.isspace():
                yield at, line
            at += len(line)


class JsonLines(LineRecords):
    """One JSON object a line."""

    def __init__(self, path: Path, *, name: str) -> None:
        super().__init__(path, name=name)
        found: dict[str, None] = {}
        self._file.seek(self._start)
        problem: str | None = None
        for number, line in enumerate(islice(self._file, _HEAD_RECORDS), 1):
            row = _json_object(line.decode("utf-8", "replace"))
            if not isinstance(row, Broken):
                found.update(dict.fromkeys(row))
            elif problem is None and not line.isspace():
                problem = f"{name}, line {number}: {row.problem}; {row.remedy}"
        if not found:
            raise DataError(problem or f"{name} is empty; it needs at least one row")
        self.columns = tuple(found)

    def _pick(self, columns: Sequence[str]) -> Callable[[str], Sequence[Any] | Broken]:
        columns = tuple(columns)

        def pick(line: str) -> Sequence[Any] | Broken:
            row = _json_object(line)
            if isinstance(row, Broken):
                return row
            return [row.get(column, MISSING) for column in columns]

        return pick


class PlainTable(LineRecords):
    """A header, then one row a line, cut at every delimiter; quotes are part of the text."""

    def __init__(
        self, path: Path, *, name: str, columns: tuple[str, ...], delimiter: str, start: int
    ) -> None:
        super().__init__(path, name=name)
        self.columns, self._delimiter, self._start = columns, delimiter, start

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        at, mark, every = self._start, self._delimiter.encode(), len(self.columns) == 1
        for line in without_last_blanks(self._file, mark):
            if every or not is_blank(line, mark):
                yield at, line
            at += len(line)

    def _pick(self, columns: Sequence[str]) -> Callable[[str], Sequence[Any] | Broken]:
        places = [self.columns.index(column) for column in columns]
        width, delimiter = len(self.columns), self._delimiter

        def pick(line: str) -> Sequence[Any] | Broken:
            cells = line.removesuffix("\n").removesuffix("\r").split(delimiter)
            if len(cells) != width:
                return wrong_width(len(cells), width, delimiter)
            return [cells[place] for place in places]

        return pick


def is_blank(line: bytes, delimiter: bytes) -> bool:
    """Whether a line of a table has nothing on it; one with delimiters is a row of empty cells."""
    return line.isspace() and delimiter not in line


def without_last_blanks(lines: Iterable[bytes], delimiter: bytes) -> Iterator[bytes]:
    """Leaves out the blank lines at the end of a table: they are no rows even where one column is all."""
    held: list[bytes] = []
    for line in lines:
        if is_blank(line, delimiter):
            held.append(line)
            continue
        if held:
            yield from held
            held.clear()
        yield line


def wrong_width(cells: int, width: int, delimiter: str) -> Broken:
    """Says that a row has more or fewer cells than the header."""
    shown = {"\t": "tab", ",": "comma"}.get(delimiter, delimiter)
    return Broken(
        f"{'one cell' if cells == 1 else f'{cells} cells'} where the header has {width}",
        f"check for a missing or an extra {shown}, or an unquoted line break",
    )


def broken_utf8(line: bytes, error: UnicodeDecodeError) -> Broken:
    """Says which byte of a line is not UTF-8."""
    byte = line[error.start]
    return Broken(f"broken UTF-8 (byte 0x{byte:02x} at position {error.start} of the line)", _UTF8)


def _json_object(line: str) -> dict[str, Any] | Broken:
    try:
        # raw_decode is a third faster; decode is left to deal with leading blanks and trailing rubbish.
        row, end = _DECODER.raw_decode(line) if line.startswith("{") else (None, 0)
        if row is None or line[end:] not in _ENDINGS:
            row = _DECODER.decode(line)
    except _Repeated as error:
        return Broken(f"the key {error.args[0]!r} occurs twice", "keep one of them")
    except (ValueError, RecursionError) as error:
        reason = (
            f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        )
        return Broken(f"invalid JSON ({reason}): {show(line.strip())}", "write one JSON object a line")
    if not isinstance(row, dict):
        return Broken(f"{show(row)} is no JSON object", 'write rows as {"column": value, ...}')
    return row


class _Repeated(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
