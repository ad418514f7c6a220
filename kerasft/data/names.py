"""Which column of the data holds which field: by choice, by name, by alias, or by an unambiguous guess."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data.parser import converter
from kerasft.data.schema import Field
from kerasft.data.values import BadValue, is_missing, show
from kerasft.errors import DataError

_COMMON: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "review", "content", "utterance", "document", "comment", "body", "message"),
    "label": ("label", "class", "category", "sentiment", "intent", "target", "topic"),
    "labels": ("labels", "classes", "categories", "label", "tags"),
    "number": ("score", "value", "rating", "label", "target"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "ner", "labels"),
    "spans": ("spans", "entities"),
    "id": ("id",),
}
_MIN_GUESS_ROWS = 4


def match_columns(
    where: str,
    found: Sequence[str],
    layouts: Sequence[Sequence[Field]],
    *,
    columns: Mapping[str, str] | None = None,
    sample: Callable[[], Sequence[Mapping[str, Any]]],
) -> tuple[tuple[Field, ...], dict[str, str], list[str]]:
    """Finds the column of every field.

    Args:
        where: What the error shall name as the source.
        found: The columns of the data.
        layouts: Sets of fields, of which one must fit; the first that fits by name wins, else by guess.
        columns: Field name to column name, as the user chose.
        sample: Gives a few raw rows, asked for only when a guess is needed.

    Returns:
        The fields that were found (an absent optional field is left out), field name to column name, and a
        sentence for every guess.

    Raises:
        DataError: A chosen column does not exist, or no layout fits; the sentence lists the columns found.
    """
    columns = dict(columns or {})
    _check_choice(where, found, columns)
    layouts = sorted(layouts, key=lambda layout: -sum(field.name in columns for field in layout))
    header = "; is the first line a header?" if where.lower().endswith((".csv", ".tsv", ".gz")) else ""
    missing: list[list[Field]] = []
    for guess in (False, True):
        for layout in layouts:
            mapping = match_names(found, layout, columns)
            notes = _by_guess(where, found, layout, mapping, sample()) if guess else []
            absent = [field for field in layout if field.name not in mapping and field.required]
            if not absent:
                fields = tuple(field for field in layout if field.name in mapping)
                _check_shared(where, mapping)
                if header and len(notes) == len(fields):
                    notes.append(f"{where}: no column has a name that is known{header}")
                return fields, mapping, notes
            if guess:
                missing.append(absent)
    wanted = " or ".join(" and ".join(repr(field.name) for field in absent) for absent in missing)
    first = missing[0][0]
    hint = _nearest(first.name, found) or (found[0] if found else "...")
    naming = f'name it with columns={{"{first.name}": "{hint}"}} (--column {first.name}={hint})'
    raise DataError(
        f"{where} has no column for {wanted}; the columns are {_listed(found)}: "
        f"{first.remedy or naming}{header}"
    )


def _check_choice(where: str, found: Sequence[str], columns: Mapping[str, str]) -> None:
    for name, column in columns.items():
        if column not in found:
            near = _nearest(column, found)
            raise DataError(
                f"{where} has no column {column!r} for the field {name!r}; the columns are {_listed(found)}"
                + (f": did you mean {near!r}?" if near else "")
            )


def _check_shared(where: str, mapping: Mapping[str, str]) -> None:
    for name, column in mapping.items():
        others = [other for other in mapping if other != name and mapping[other] == column]
        if others:
            raise DataError(
                f"{where}: the fields {name!r} and {others[0]!r} would both be read from the column "
                f"{column!r}; name each with columns={{...}} (--column)"
            )


def match_names(found: Sequence[str], layout: Sequence[Field], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns that are found by choice, by name or by an alias."""
    mapping = {field.name: columns[field.name] for field in layout if field.name in columns}
    kinds = [field.kind for field in layout]
    rounds: list[Callable[[Field], Iterable[str]]] = [
        lambda field: (field.name,),
        lambda field: field.aliases,
        lambda field: _COMMON.get(field.kind, ()) if field.required and kinds.count(field.kind) == 1 else (),
    ]
    for names in rounds:
        for field in layout:
            if field.name in mapping:
                continue
            free = [column for column in found if column not in mapping.values()]
            for name in names(field):
                column = _same(name, free)
                if column is not None:
                    mapping[field.name] = column
                    break
    return mapping


def _by_guess(
    where: str,
    found: Sequence[str],
    layout: Sequence[Field],
    mapping: dict[str, str],
    sample: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Gives a field the only free column that can hold it, as long as that settles something."""
    notes: list[str] = []
    while True:
        free = [column for column in found if column not in mapping.values()]
        fitting = {
            field.name: [column for column in free if _fits(field, [row.get(column) for row in sample])]
            for field in layout
            if field.name not in mapping and field.required
        }
        settled = {name: fits[0] for name, fits in fitting.items() if len(fits) == 1}
        chosen = list(settled.values())
        settled = {name: column for name, column in settled.items() if chosen.count(column) == 1}
        if not settled:
            return notes
        name, column = next(iter(settled.items()))
        mapping[name] = column
        notes.append(f"{where}: read the column {column!r} as {name!r}, the only one that fits")


def _fits(field: Field, values: Sequence[Any]) -> bool:
    convert = converter(field)
    good = []
    for value in values:
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            continue
        try:
            good.append(convert(value))
        except BadValue:
            if field.classes is None or isinstance(value, (list, dict, np.ndarray)):
                return False
    if not good:
        return False
    if field.kind == "text":
        return not all(_is_number(text) for text in good)
    if field.kind == "label" and field.classes is None:
        return len(good) >= _MIN_GUESS_ROWS and len(set(good)) <= len(good) // 2
    if field.kind in ("label", "labels", "tags", "spans"):
        return len(good) * 2 > len(values)
    return field.kind in ("number", "tokens") and (field.kind == "number" or _is_list(values))


def _is_list(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (list, tuple, np.ndarray)) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _same(name: str, columns: Sequence[str]) -> str | None:
    if name in columns:
        return name
    loose = [column for column in columns if column.strip().lower() == name.lower()]
    return loose[0] if len(loose) == 1 else None


def _nearest(name: str, choices: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return near[0] if near else None


def _listed(names: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(show(name) for name in names[:limit])
    rest = len(names) - limit
    return (f"{shown} and {rest} more" if rest > 0 else shown) or "(none)"
