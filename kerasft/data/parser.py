"""Rows: every field made canonical, and fields checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kerasft.data.lists import list_items, read_labels, read_spans, read_strings, read_tokens
from kerasft.data.schema import Field, partner
from kerasft.data.values import (
    BadValue,
    class_reader,
    is_missing,
    read_any,
    read_boolean,
    read_bytes,
    read_id,
    read_integer,
    read_number,
    read_text,
)


class RowParser:
    """Turns the raw values of a row into canonical ones, or raises `BadValue` with the reason.

    Args:
        fields: What to read, in the order of the raw values.
        mapping: Field name to the name of the column in the data, for the messages.
    """

    def __init__(self, fields: Sequence[Field], mapping: dict[str, str]) -> None:
        self._fields = tuple(fields)
        self._converters = [converter(field) for field in fields]
        self._columns = [mapping[field.name] for field in fields]
        places = {field.name: place for place, field in enumerate(fields)}
        self._pairs: list[tuple[int, int]] = []
        for place, field in enumerate(fields):
            over = partner(field, fields) if field.kind in ("tags", "spans") else None
            if over is not None:
                self._pairs.append((place, places[over.name]))

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        row: list[Any] = []
        for place, convert in enumerate(self._converters):
            try:
                row.append(convert(values[place]))
            except BadValue as error:
                raise BadValue(f"column {self._columns[place]!r} {error.problem}", error.remedy) from None
        for place, over in self._pairs:
            self._check_pair(row, place, over)
        return row

    def column(self, place: int, values: Sequence[Any]) -> list[Any]:
        """Converts one field of many rows that have been checked before."""
        convert = self._converters[place]
        return [convert(value) for value in values]

    def _check_pair(self, row: list[Any], place: int, over: int) -> None:
        if self._fields[place].kind == "tags":
            if len(row[place]) != len(row[over]):
                raise BadValue(
                    f"columns {self._columns[over]!r} and {self._columns[place]!r} hold "
                    f"{len(row[over])} tokens and {len(row[place])} tags",
                    "give each token one tag",
                )
            return
        for start, end, kind in row[place]:
            if not 0 <= start < end <= len(row[over]):
                raise BadValue(
                    f"column {self._columns[place]!r} holds [{start}, {end}, {kind!r}] over a text of "
                    f"{len(row[over])} characters",
                    "give character offsets with 0 <= start < end <= length",
                )


def converter(field: Field) -> Callable[[Any], Any]:
    """Returns the function that makes a value of this field canonical."""
    single = class_reader(field)
    convert: Callable[[Any], Any] = {
        "text": read_text,
        "label": single,
        "labels": lambda value: read_labels(value, field, single),
        "number": read_number,
        "integer": read_integer,
        "boolean": read_boolean,
        "tokens": read_tokens,
        "strings": read_strings,
        "tags": lambda value: [single(item) for item in list_items(value, "tags", (" ",))],
        "spans": lambda value: read_spans(value, single),
        "id": read_id,
        "bytes": read_bytes,
        "any": read_any,
    }[field.kind]
    if field.default is None:
        return convert
    default = convert(field.default)

    def read(value: Any) -> Any:
        absent = is_missing(value) or (isinstance(value, str) and not value)
        return default if absent else convert(value)

    return read
