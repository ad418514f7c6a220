"""TensorFlow Datasets: `tfds:name[split]`, with classes under their names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data.memory import SpilledRecords
from kerasft.data.values import MISSING
from kerasft.errors import DataError

PREFIX = "tfds:"
_PATTERN = re.compile(r"tfds:(?P<name>[^\[\]\s]+)(?:\[(?P<split>.+)\])?")


def tfds_records(address: str, *, default_splits: Sequence[str]) -> SpilledRecords:
    """Opens a dataset of TensorFlow Datasets, preparing it on first use.

    Args:
        address: `tfds:name`, `tfds:name/config:version[split]`; a split may be cut as in `train[:10%]`.
        default_splits: Where the address names no split, the first of these that the dataset has.

    Raises:
        DataError: tensorflow-datasets is not installed, or the dataset or its split cannot be opened.
    """
    match = _PATTERN.fullmatch(address.strip())
    if match is None:
        raise DataError(f"{address!r} is no tfds address; write tfds:name or tfds:name[split]")
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"{address} needs tensorflow-datasets, which cannot be imported ({error}); "
            f"install it with: pip install 'kerasft[data]'"
        ) from error
    name, split = match["name"], match["split"] or default_splits[0]
    builder = _builder(tensorflow_datasets, address, name)
    try:
        builder.download_and_prepare()
        if match["split"] is None:
            split = next((name for name in default_splits if name in builder.info.splits), split)
        dataset = builder.as_dataset(split=split, shuffle_files=False)
    except Exception as error:
        known = ", ".join(getattr(builder.info, "splits", None) or {})
        hint = f"its splits are {known}" if known else "it may need a network the first time"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{PREFIX}{name}[{split}] cannot be opened ({reason}); {hint}") from error
    features = builder.info.features
    if not hasattr(features, "items"):
        raise DataError(f"{PREFIX}{name} has no named columns; map it to a tf.data.Dataset of dicts")
    rows = _rows(
        tensorflow_datasets.as_numpy(dataset), {str(key): _names(part) for key, part in features.items()}
    )
    return SpilledRecords(rows, name=f"{PREFIX}{name}[{split}]", columns=tuple(map(str, features.keys())))


def _builder(tensorflow_datasets: Any, address: str, name: str) -> Any:
    try:
        return tensorflow_datasets.builder(name)
    except tensorflow_datasets.core.DatasetNotFoundError:
        base = re.split(r"[/:]", name)[0]
        near = difflib.get_close_matches(base, tensorflow_datasets.list_builders(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "see tensorflow_datasets.list_builders()"
        raise DataError(f"{address}: there is no dataset {name!r}; {hint}") from None
    except Exception as error:
        raise DataError(f"{address} cannot be opened ({error})") from error


def _names(feature: Any) -> list[str] | None:
    """The class names of a ClassLabel, or of a sequence of them."""
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return list(names) if names else None


def _rows(rows: Any, names: Mapping[str, list[str] | None]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield {
            key: value if names.get(key) is None else _named(value, names[key]) for key, value in row.items()
        }


def _named(value: Any, names: list[str] | None) -> Any:
    """Class names for numbers; -1 marks an example without a label."""
    assert names is not None
    if np.ndim(value) == 0:
        return names[int(value)] if value >= 0 else MISSING
    return [names[int(item)] for item in value]
