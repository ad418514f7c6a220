"""`open_source`: whatever the user has, as a `Source`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data.files import file_records
from kerasft.data.memory import RowRecords, column_records, frame_records, is_frame, is_pandas
from kerasft.data.names import match_columns
from kerasft.data.records import Records
from kerasft.data.rowsource import OnError, RecordSource
from kerasft.data.schema import Field, check_fields
from kerasft.data.source import Source
from kerasft.data.tables import Quoting
from kerasft.data.tensors import dataset_records, is_dataset
from kerasft.data.tfds import PREFIX, tfds_records
from kerasft.data.values import show
from kerasft.errors import ConfigError, DataError

_ARRAYS = "the arrays"
_LIST = "the list"


def open_source(
    data: Any,
    *,
    fields: Sequence[Field],
    columns: Mapping[str, str] | None = None,
    targets: bool = True,
    requests: bool = False,
    on_error: OnError = "raise",
    alternatives: Sequence[Sequence[Field]] = (),
    default_splits: Sequence[str] = ("train",),
    batched: bool | None = None,
    delimiter: str | None = None,
    quoting: Quoting = "auto",
) -> Source:
    """Opens data of any supported sort, checks every row once, and gives random access to them.

    Args:
        data: One of:

            - a path to a .jsonl, .tsv or .csv file (also .gz), in UTF-8; tables start with a header;
            - `"tfds:name[split]"`;
            - a dict of lists or arrays, a list of dicts, a pandas DataFrame, a tuple `(x, y)` of arrays,
              lists, dicts of them or DataFrames, or just the values of the only input field; wherever an
              array can stand, a pandas Series can, and is read by position, whatever its index;
            - a finite `tf.data.Dataset` of dicts or of tuples (x, y), batched or not;
            - `Records` of a plugin's own, or a `Source`, which is returned as it is.
        fields: What to read.
        columns: Field name to column name, such as `{"text": "sentence"}`; by default a column is found by
            the name of the field, its aliases, usual names of the kind, or because no other column fits.
        targets: Whether to read the target fields; `False` for data without labels.
        requests: Whether to read the fields that only requests have.
        on_error: `"raise"` names the first bad row; `"skip"` leaves bad rows out and counts them.
        alternatives: Other sets of fields, of which one is read when `fields` does not fit the columns.
        default_splits: Of a `tfds:` address that names no split, the first of these that it has.
        batched: Whether an element of a `tf.data.Dataset` is a batch; by default seen from the shapes.
        delimiter: Of a table; by default what the extension says, unless the header shows another.
        quoting: Of a table: `"csv"` (cells may be quoted as in RFC 4180), `"none"` (quotes are text), or
            `"auto"`: a .csv is quoted, a .tsv when its first megabyte shows it.

    Returns:
        The source; `source.notes` says what was guessed or skipped.

    Raises:
        DataError: The data cannot be found or read, a column is missing, or a row is bad.
        ConfigError: The fields contradict each other, or an argument is wrong.

    Example:
        >>> fields = [Field(name="text"), Field(name="label", kind="label", target=True)]
        >>> open_source((["good", "bad"], [1, 0]), fields=fields).take([1])
        {'text': ['bad'], 'label': ['0']}
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f'on_error is {on_error!r}; it must be "raise" or "skip"')
    layouts = [check_fields(layout) for layout in (fields, *alternatives)]
    chosen = dict(columns or {})
    _check_names(chosen, layouts)
    if not (targets and requests):
        layouts = [
            tuple(f for f in layout if (targets or not f.target) and (requests or not f.request))
            for layout in layouts
        ]
        read = {field.name for layout in layouts for field in layout}
        chosen = {name: column for name, column in chosen.items() if name in read}
    if isinstance(data, Source):
        return _check_source(data, layouts)
    records = _records(data, layouts, chosen, default_splits, batched, delimiter, quoting)
    found, mapping, notes = match_columns(
        records.name, records.columns, layouts, columns=chosen, sample=records.head
    )
    return RecordSource(records, fields=found, mapping=mapping, on_error=on_error, notes=notes)


def open_records(data: Any, *, default_splits: Sequence[str] = ("train",)) -> Records:
    """Opens data that names its columns (a path, "tfds:...", a dict of lists, a list of dicts, a DataFrame).

    For plugins whose rows are not those of the data: they wrap what it returns into `Records` of their own.

    Args:
        data: As for `open_source`.
        default_splits: As for `open_source`.

    Raises:
        DataError: The data cannot be found or read.

    Example:
        >>> open_records([{"a": 1}, {"a": 2}]).columns
        ('a',)
    """
    return _records(data, [()], {}, default_splits, None, None, "auto")


def _records(
    data: Any,
    layouts: Sequence[tuple[Field, ...]],
    columns: Mapping[str, str],
    default_splits: Sequence[str],
    batched: bool | None,
    delimiter: str | None,
    quoting: Quoting,
) -> Records:
    if isinstance(data, str) and data.startswith(PREFIX):
        return tfds_records(data, default_splits=default_splits)
    if isinstance(data, (str, os.PathLike)):
        return file_records(data, delimiter=delimiter, quoting=quoting)
    if is_dataset(data):
        return dataset_records(
            data,
            layouts,
            columns=columns,
            name_parts=lambda parts: _name_parts("the tf.data.Dataset", parts, layouts[0]),
            batched=batched,
        )
    if is_frame(data):
        return frame_records(data)
    if isinstance(data, Mapping):
        return column_records(data, name=_ARRAYS)
    if isinstance(data, tuple):
        return column_records(_name_parts(_ARRAYS, data, layouts[0]), name=_ARRAYS)
    if isinstance(data, list) and data and isinstance(data[0], Mapping):
        return RowRecords(data, name=_LIST)
    if isinstance(data, (list, np.ndarray)) or is_pandas(data):
        return column_records(_name_parts(_LIST, (data,), layouts[0]), name=_LIST)
    if all(hasattr(data, part) for part in ("columns", "head", "scan", "read", "where", "digest")):
        records: Records = data
        return records
    raise DataError(
        f"{show(data)} ({type(data).__name__}) is no data that can be opened; give a path, a tfds: address, "
        f"a dict of arrays, a list of dicts, a tuple (x, y), a DataFrame or a tf.data.Dataset"
    )


def _name_parts(where: str, parts: Sequence[Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Columns of (x,), (x, y) or (x, y, sample_weight); x and y may be dicts of columns or DataFrames."""
    if not 1 <= len(parts) <= 3:
        raise DataError(f"{where}: a tuple of {len(parts)} parts is no (x,), (x, y) or (x, y, sample_weight)")
    columns: dict[str, Any] = {}
    for part, target in zip(parts[:2], (False, True), strict=False):
        names = [field.name for field in fields if field.target == target and field.required]
        if isinstance(part, Mapping) or is_frame(part):
            columns.update(part.items())
        elif len(names) == 1:
            columns[names[0]] = part
        elif names or not target:
            raise DataError(
                f"{where}: the {'targets' if target else 'inputs'} are {', '.join(names) or 'none'}, so the "
                f"{'second' if target else 'first'} part must be a dict of columns"
            )
    if len(parts) == 3:
        columns["sample_weight"] = parts[2]
    return columns


def _check_names(columns: Mapping[str, str], layouts: Sequence[Sequence[Field]]) -> None:
    names = sorted({field.name for layout in layouts for field in layout})
    for name in columns:
        if name not in names:
            raise ConfigError(
                f"columns names the field {name!r}; the fields of this task are {', '.join(names)}"
            )


def _check_source(source: Source, layouts: Sequence[Sequence[Field]]) -> Source:
    for layout in layouts:
        if all(field.name in source.columns for field in layout if field.required):
            return source
    needed = ", ".join(field.name for field in layouts[0] if field.required)
    raise DataError(f"{source.name} was opened with the fields {', '.join(source.columns)}; needed: {needed}")
