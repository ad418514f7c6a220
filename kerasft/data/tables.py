"""Tables with quoted cells (RFC 4180), where a row may span lines, and how a table's dialect is found."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from kerasft.data.offsets import Offsets
from kerasft.data.records import Broken
from kerasft.data.textfiles import (
    BOM,
    FileRecords,
    PlainTable,
    broken_utf8,
    without_last_blanks,
    wrong_width,
)
from kerasft.data.values import show
from kerasft.errors import DataError

Quoting = Literal["auto", "csv", "none"]

_HEAD_BYTES = 1 << 20
_LONGEST_CELL = 1 << 24
_QUOTED_CELL = re.compile(r'(?:^|\t)"(?:[^"\n]|"")*"(?=\t|\r?$)', re.MULTILINE)


def open_table(
    path: Path, *, name: str, default_delimiter: str, delimiter: str | None, quoting: Quoting
) -> FileRecords:
    """Opens a .csv or .tsv file after reading its header.

    Args:
        path: The file.
        name: How messages call it.
        default_delimiter: What the extension promises: a comma or a tab.
        delimiter: What the user says; by default sniffed from the header.
        quoting: Whether cells are quoted. A .csv is; a .tsv is when its first megabyte shows it.

    Raises:
        DataError: There is no header, it repeats a name, or the line ends are those of an old Mac.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    skip = len(BOM) if head.startswith(BOM) else 0
    text = head[skip:].decode("utf-8", "replace")
    if not text.strip():
        raise DataError(f"{name} is empty; it needs a header line and rows")
    first = text.split("\n", 1)[0]
    if "\r" in first.removesuffix("\r"):
        raise DataError(f"{name} ends its lines with carriage returns alone; save it with Unix line ends")
    if delimiter is None:
        others = [mark for mark in (",", "\t", ";") if mark in first]
        delimiter = default_delimiter if default_delimiter in first or not others else others[0]
    elif len(delimiter) != 1:
        raise DataError(f"{name}: the delimiter {delimiter!r} is not one character")
    if quoting == "auto":
        quoting = "csv" if delimiter != "\t" or _is_quoted(text, len(head) == _HEAD_BYTES) else "none"
    if quoting == "csv":
        return QuotedTable(path, name=name, delimiter=delimiter)
    columns = _check_header(name, first.removesuffix("\r").split(delimiter))
    start = skip + len(head[skip:].split(b"\n", 1)[0]) + 1
    return PlainTable(path, name=name, columns=columns, delimiter=delimiter, start=start)


class QuotedTable(FileRecords):
    """A header, then rows whose cells may be quoted and then hold delimiters, quotes ("") and line breaks."""

    def __init__(self, path: Path, *, name: str, delimiter: str) -> None:
        super().__init__(path, name=name)
        self._delimiter = delimiter
        # The limit of the csv module is one for the whole process, and too low for long documents.
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        feed = self._lines(self._start)
        try:
            header = next(csv.reader(feed, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise DataError(
                f"{name}, line 1: the header cannot be read ({error}); correct its quotes"
            ) from None
        self.columns = _check_header(name, header)
        self._start = feed.at

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        pick, width = self._pick(columns), len(self.columns)
        self._offsets = Offsets()
        feed = self._lines(self._start)
        reader = csv.reader(feed, delimiter=self._delimiter, strict=True)
        while True:
            begin, problem = feed.at, None
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # A stray quote may have swallowed good rows: go on at the next line.
                problem = _unreadable(error)
                feed = self._lines(begin).skip_line()
                reader = csv.reader(feed, delimiter=self._delimiter, strict=True)
            else:
                if not row and width > 1:
                    continue
            self._offsets.append(begin, feed.at - begin)
            if feed.broken is not None and problem is None:
                problem, feed.broken = feed.broken, None
            yield pick(row) if problem is None else problem

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return map(self._pick(columns), csv.reader(self._texts(numbers), delimiter=self._delimiter))

    def _lines(self, at: int) -> _Lines:
        return _Lines(self._file, at, self._delimiter.encode())

    def _pick(self, columns: Sequence[str]) -> Callable[[list[str]], Sequence[Any] | Broken]:
        places = [self.columns.index(column) for column in columns]
        width, delimiter = len(self.columns), self._delimiter

        def pick(row: list[str]) -> Sequence[Any] | Broken:
            row = row or [""]  # the csv module finds no cell on a blank line
            if len(row) != width:
                return wrong_width(len(row), width, delimiter)
            return [row[place] for place in places]

        return pick


class _Lines:
    """The decoded lines of an open file, and how far they came."""

    def __init__(self, file: BinaryIO, at: int, delimiter: bytes) -> None:
        file.seek(at)
        self.at = at
        self.broken: Broken | None = None
        self._file = file
        self._delimiter = delimiter

    def __iter__(self) -> Iterator[str]:
        for line in without_last_blanks(self._file, self._delimiter):
            self.at += len(line)
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                self.broken = broken_utf8(line, error)
                text = line.decode("utf-8", "replace")
            yield text

    def skip_line(self) -> _Lines:
        self.at += len(self._file.readline())
        return self


def _unreadable(error: csv.Error) -> Broken:
    if "unexpected end" in str(error) or "field limit" in str(error):
        return Broken("a quote that is never closed", "close it, or double it inside a quoted cell")
    if "new-line" in str(error):
        return Broken(
            "a carriage return inside a cell", "quote the cell, or save the file with Unix line ends"
        )
    return Broken(f"a cell that cannot be read ({error})", "double the quotes inside a quoted cell")


def _check_header(name: str, header: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip() or f"column {place}" for place, cell in enumerate(header, 1))
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(
            f"{name}: the header repeats the column {show(twice[0])}; give every column its own name"
        )
    return columns


def _is_quoted(text: str, is_cut: bool) -> bool:
    """Whether the head of a .tsv shows quoted cells, rather than quotes that are part of the text."""
    if '"' not in text:
        return False
    lines = text.split("\n")[: -1 if is_cut else None]
    header = [cell.strip() for cell in lines[0].split("\t")]
    if any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header):
        return True
    if any('""' in cell.lstrip("\t")[1:-1] for cell in _QUOTED_CELL.findall(text)):
        return True
    if all(line.count("\t") + 1 == len(header) for line in lines if line.strip()):
        return False
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=not is_cut))
    except csv.Error:
        return False
    return all(len(row) == len(header) for row in rows[: -1 if is_cut else None] if row)
