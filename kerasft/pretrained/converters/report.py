"""What became of each tensor of a weight file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What `load_weights` did.

    Attributes:
        loaded: Names of the tensors that were copied into the model.
        ignored: Names of the tensors that the model has no place for (heads of other tasks, counters).
        initialized: Paths of the model's variables that the file has no tensor for; they keep their random
        values.
    """

    loaded: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    initialized: tuple[str, ...] = ()
