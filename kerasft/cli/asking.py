"""Requests from the command line: `--input NAME=VALUE`, and answers that are files."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft.cli.output import plain
from kerasft.errors import ConfigError

if TYPE_CHECKING:
    from kerasft.data import Field

ENCODED = "_bytes"
"""What the name of an output ends in that holds files; the rest of the name is that of its decoded form."""

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_MOST_ROWS = 1_000_000
_FORMATS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "wav"}


def read_inputs(items: Sequence[str], fields: Sequence[Field]) -> dict[str, list[Any]]:
    """Reads what `--input` was given into columns of equal length.

    Args:
        items: NAME=VALUE each. Numbers may be several (`1,2,5`), whole ones a range too (`1..16`); lists and
            vectors are JSON; a text or a label is taken as it is; for bytes it names the file. A name that
            comes again adds rows.
        fields: What the task reads.

    Returns:
        Name to values; a single value stands for all rows.

    Raises:
        ConfigError: An item has no name, the name is unknown, or the columns differ in length.

    Example:
        >>> from kerasft.data import Field
        >>> fields = [Field(name="seed", kind="integer"), Field(name="truncation", kind="number")]
        >>> read_inputs(["seed=7,1..3", "truncation=0.7"], fields)
        {'seed': ['7', 1, 2, 3], 'truncation': ['0.7', '0.7', '0.7', '0.7']}
    """
    kinds = {field.name: field.kind for field in fields if not field.target}
    found: dict[str, list[Any]] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or name not in kinds:
            raise ConfigError(
                f"--input {item!r}: write it as NAME=VALUE with one of the names {', '.join(kinds)}"
            )
        found.setdefault(name, []).extend(_values(item, value, kinds[name]))
    rows = max(len(values) for values in found.values())
    for name, values in found.items():
        if len(values) not in (1, rows):
            counts = ", ".join(f"{len(values)} of {name}" for name, values in found.items())
            raise ConfigError(f"--input: {counts} were given; give each as many, or one for all")
        found[name] = values * rows if len(values) == 1 else values
    return found


def _values(item: str, text: str, kind: str) -> list[Any]:
    if kind in ("number", "integer", "boolean"):
        parts = [part.strip() for part in text.split(",")]
        return [value for part in parts for value in _expanded(item, part, kind)]
    if kind in ("text", "label", "id"):
        return [text]
    if kind == "bytes":
        try:
            return [Path(text).expanduser().read_bytes()]
        except OSError as error:
            raise ConfigError(f"--input {item!r}: {text} cannot be read ({error.strerror})") from None
    try:
        return [json.loads(text)]
    except ValueError:
        raise ConfigError(f"--input {item!r}: the value must be JSON, such as [0.5, 1.0]") from None


def _expanded(item: str, part: str, kind: str) -> Sequence[Any]:
    match = _RANGE.fullmatch(part) if kind == "integer" else None
    if match is None:
        return [part]
    first, last = map(int, match.groups())
    if not 0 <= last - first < _MOST_ROWS:
        raise ConfigError(f"--input {item!r}: the range must rise, to at most {_MOST_ROWS:,} values")
    return range(first, last + 1)


def split_rows(answers: Mapping[str, Any], per_row: Collection[str]) -> Iterator[dict[str, Any]]:
    """Splits what `predict` returned into one dictionary for each row.

    Args:
        answers: Output to array. With an output `row_splits`, the others of `per_row` are flat: it says where
            each row's values begin and end.
        per_row: Names of the outputs that differ from row to row; the others are repeated.

    Example:
        >>> list(split_rows({"start": [4, 0, 9], "row_splits": [0, 1, 1, 3]}, ["start", "row_splits"]))
        [{'start': [4]}, {'start': []}, {'start': [0, 9]}]
    """
    once = {name: value for name, value in answers.items() if name not in per_row}
    varying = {name: answers[name] for name in answers if name in per_row and name != "row_splits"}
    splits = answers.get("row_splits")
    if splits is not None:
        for first, last in itertools.pairwise(splits):
            yield {**{name: values[first:last] for name, values in varying.items()}, **once}
        return
    for values in zip(*varying.values(), strict=True):
        yield {**dict(zip(varying, values, strict=True)), **once}


def write_files(rows: Iterator[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Writes the files among the answers, numbered by row, and yields the rows with paths in their place.

    An output `image_bytes` becomes `00001.png` and so on; `image`, the same thing decoded, is left out.

    Args:
        rows: From `split_rows`.
        folder: Made if need be.

    Raises:
        ConfigError: No output holds files.
    """
    from kerasft.training.checkpoint import write_atomically

    for number, row in enumerate(rows, start=1):
        encoded = [name for name, value in row.items() if name.endswith(ENCODED) and isinstance(value, bytes)]
        if not encoded:
            raise ConfigError(
                f"--out {folder} is a folder, but no output holds files ({', '.join(row)}); name a file, for "
                f"example {folder / 'answers.jsonl'}"
            )
        line = {name: value for name, value in row.items() if name + ENCODED not in encoded}
        for name in encoded:
            kind = next((kind for start, kind in _FORMATS.items() if row[name].startswith(start)), "bin")
            part = "" if len(encoded) == 1 else f"-{name.removesuffix(ENCODED)}"
            path = folder / f"{number:05}{part}.{kind}"
            write_atomically(path, lambda file, content=row[name]: file.write(content))
            line[name] = path
        yield line


def as_line(row: Mapping[str, Any]) -> str:
    """Returns a row as a line of JSON; files in it are base64, as TensorFlow Serving's REST API has them."""
    import base64

    whole = {
        name: {"b64": base64.b64encode(value).decode()}
        if name.endswith(ENCODED) and isinstance(value, bytes)
        else value
        for name, value in row.items()
    }
    return json.dumps(plain(whole), ensure_ascii=False)
