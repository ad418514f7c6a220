"""A `tf.data.Dataset` as records. Whoever has a dataset has imported TensorFlow; this module need not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data.memory import SpilledRecords
from kerasft.data.names import match_names
from kerasft.data.schema import Field
from kerasft.errors import DataError

_NAME = "the tf.data.Dataset"
_RANKS = {"number": 0, "integer": 0, "boolean": 0, "tokens": 1, "strings": 1, "tags": 1}
_RANKS |= dict.fromkeys(("text", "label", "id", "bytes"), 0)

NameParts = Callable[[Sequence[Any]], Mapping[str, Any]]


def is_dataset(data: Any) -> bool:
    """Whether this is a `tf.data.Dataset`."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(data, tensorflow.data.Dataset)


def dataset_records(
    dataset: Any,
    layouts: Sequence[Sequence[Field]],
    *,
    columns: Mapping[str, str],
    name_parts: NameParts,
    batched: bool | None,
) -> SpilledRecords:
    """Makes records of a dataset of dict rows, or of tuples (x, y), batched or not.

    Args:
        dataset: A finite dataset.
        layouts: The sets of fields of which one is to be read.
        columns: Field name to column name, as the user chose.
        name_parts: Names the parts of a tuple.
        batched: Whether an element is a batch; by default seen from the ranks of the tensors.

    Raises:
        DataError: The dataset is infinite, or does not show whether its elements are batches.
    """
    if int(dataset.cardinality()) == -1:
        raise DataError(f"{_NAME} is infinite; cut it with .take(n)")
    spec = dataset.element_spec
    named = spec if isinstance(spec, Mapping) else name_parts(spec if isinstance(spec, tuple) else (spec,))
    ranks = {str(key): _rank(part) for key, part in named.items()}
    if batched is None:
        batched = _is_batched(ranks, layouts, columns)
    rows = _rows(dataset, name_parts, batched)
    return SpilledRecords(rows, name=_NAME, columns=tuple(ranks))


def _rank(spec: Any) -> int | None:
    if type(spec).__name__ == "SparseTensorSpec":
        raise DataError(
            f"{_NAME} holds sparse tensors; map tf.sparse.to_dense or tf.RaggedTensor.from_sparse over it"
        )
    shape = getattr(spec, "shape", None)
    return None if shape is None or shape.rank is None else int(shape.rank)


def _is_batched(
    ranks: Mapping[str, int | None], layouts: Sequence[Sequence[Field]], columns: Mapping[str, str]
) -> bool:
    if 0 in ranks.values():
        return False
    for layout in layouts:
        mapping = match_names(tuple(ranks), layout, columns)
        for field in layout:
            rank = ranks[mapping[field.name]] if field.name in mapping else None
            if rank is not None and field.kind in _RANKS:
                return rank > _RANKS[field.kind]
    raise DataError(
        f"{_NAME} does not show whether its elements are rows or batches; say batched=True or False"
    )


def _rows(dataset: Any, name_parts: NameParts, batched: bool) -> Iterator[Mapping[str, Any]]:
    elements = dataset.as_numpy_iterator()
    number = 0
    while True:
        try:
            element = next(elements)
        except StopIteration:
            return
        except Exception as error:
            reason = str(error).strip().splitlines()[:1]
            raise DataError(f"{_NAME} failed after {number} examples: {''.join(reason)}") from error
        if not isinstance(element, Mapping):
            element = name_parts(element if isinstance(element, tuple) else (element,))
        row = {str(key): _values(part) for key, part in element.items()}
        if not batched:
            number += 1
            yield row
            continue
        size = len(next(iter(row.values())))
        for at in range(size):
            yield {key: part[at] for key, part in row.items()}
        number += size


def _values(part: Any) -> Any:
    return part.to_list() if hasattr(part, "to_list") and not isinstance(part, np.ndarray) else part
