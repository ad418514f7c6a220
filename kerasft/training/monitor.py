"""The metric that decides which checkpoint is the best."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_FALLING = re.compile(
    r"(?<![a-z0-9])("
    r"loss|losses|error|errors|mse|mae|mape|msle|rmse|rmsle|logcosh|huber|hinge|poisson|entropy|crossentropy|"
    r"divergence|kl|kld|nll|perplexity|ppl|brier|ece|eer|wer|cer|ter|fid|fidr|kid|false|distance|cost|regret"
    r")(?![a-z0-9])"
)


class Monitor(NamedTuple):
    """A metric and its direction.

    Attributes:
        name: As in the logs of an epoch.
        falls: Whether less is better.

    Example:
        >>> Monitor.of("val_loss").is_better(0.1, 0.2), Monitor.of("val_confidence").is_better(0.1, 0.2)
        (True, False)
    """

    name: str
    falls: bool

    @classmethod
    def of(cls, name: str, mode: str = "auto") -> Monitor:
        """Returns the monitor of a metric; `mode` is "min", "max", or "auto": by the words of `name`.

        Example:
            >>> Monitor.of("val_kl_divergence").falls, Monitor.of("val_cost_saved", "max").falls
            (True, False)
        """
        return cls(name, bool(_FALLING.search(name.lower())) if mode == "auto" else mode == "min")

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether `value` beats `best`; all beats None and NaN."""
        return best is None or best != best or (value < best if self.falls else value > best)

    def best(self, values: Iterable[Any]) -> float | None:
        """Returns the best of the numbers among `values`, None if there is none."""
        best: float | None = None
        for value in values:
            if isinstance(value, (int, float)) and self.is_better(value, best):
                best = value
        return best
