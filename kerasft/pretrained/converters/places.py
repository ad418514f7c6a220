"""Where the tensors of a file go in a model: all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.report import LoadReport


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one tensor goes.

    Attributes:
        tensor: Its name in the file.
        variable: The Keras variable.
        layout: From the file's order of axes to Keras's; None leaves the tensor as it is.
    """

    tensor: str
    variable: Any
    layout: Callable[[Any], Any] | None = None


def fill(places: Sequence[Place], tensors: Mapping[str, Any], *, source: Any) -> LoadReport:
    """Copies tensors into variables.

    Args:
        places: One for each tensor that is needed.
        tensors: Arrays by name; what has no place is reported as ignored.
        source: What an error calls the tensors' home.

    Returns:
        What became of each tensor.

    Raises:
        PretrainedError: Tensors are missing or have other shapes (they are named). Nothing is then changed.
    """
    absent = [place.tensor for place in places if place.tensor not in tensors]
    if absent:
        raise PretrainedError(f"the weights in {source} lack {some(absent)}")
    values = {}
    wrong = []
    for place in places:
        found = tensors[place.tensor]
        value = found if place.layout is None else place.layout(found)
        needed = tuple(place.variable.shape)
        if value.shape != needed:
            wrong.append(
                f"{place.tensor} has shape {found.shape}, which gives {value.shape} and not {needed}"
            )
        values[place.tensor] = value
    if wrong:
        raise PretrainedError(f"the weights in {source} do not fit the model: {some(wrong)}")
    for place in places:
        place.variable.assign(values[place.tensor])
    return LoadReport(loaded=tuple(sorted(values)), ignored=tuple(sorted(set(tensors) - set(values))))


def some(items: Collection[str], limit: int = 5) -> str:
    """Returns the first few items as one phrase.

    Example:
        >>> some(["a", "b", "c"], limit=2)
        'a; b and 1 more'
    """
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(list(items)[:limit]) + more
