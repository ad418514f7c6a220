"""Starting from the weights of other runs: of one, or the mean of several."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasft import _compat
from kerasft.errors import TrainingError

_MOST_SHOWN = 5
# Random state, and adapters, whose effect is in the kernels while they are merged.
_NOT_TRANSFERRED = ("seed_generator_state", "lora_kernel_a", "lora_kernel_b")


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """What was taken over.

    Attributes:
        copied: Names of the weights that were.
        mismatches: Name of a weight that was not, to the reason.

    Example:
        >>> print(TransferReport(("body/kernel",), {"head/kernel": "(8, 3) here, (8, 2) there"}))
        1 of 2 weights taken over; not head/kernel: (8, 3) here, (8, 2) there
    """

    copied: tuple[str, ...]
    mismatches: Mapping[str, str]

    def __str__(self) -> str:
        taken = f"{len(self.copied)} of {len(self.copied) + len(self.mismatches)} weights taken over"
        return f"{taken}; not {self.describe_mismatches()}" if self.mismatches else taken

    def describe_mismatches(self) -> str:
        """Returns the first few mismatches as text."""
        shown = [f"{name}: {reason}" for name, reason in list(self.mismatches.items())[:_MOST_SHOWN]]
        more = len(self.mismatches) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "")


def transfer_weights(
    source: Mapping[str, keras.Model], target: Mapping[str, keras.Model], *, partial: bool, where: str
) -> TransferReport:
    """Copies the weights of models, adapters merged, into models that are alike and have no adapters.

    Weights correspond by model, path and order; numbers that Keras gives to layers without a name do not
    matter. Random state stays as it is, and so does the state of layers whose attribute `stays_with_run` is
    true: what a controller or an average has seen in one training says nothing about another.

    Args:
        source: Name to model.
        target: Name to model.
        partial: Leave out what differs, instead of refusing.
        where: Where the source is from, for the error.

    Returns:
        What was copied.

    Raises:
        TrainingError: Some weights differ and `partial` is False, or none fits; nothing was copied then.
    """
    theirs, ours = _weights(source), _weights(target)
    report = _compare(theirs, ours)
    if not report.copied or (report.mismatches and not partial):
        remedy = (
            "" if not report.copied else "; create the task with the config of the run, or pass partial=True"
        )
        raise TrainingError(
            f"The weights of {where} do not fit this task: {report.describe_mismatches()}{remedy}."
        )
    copied = set(report.copied)
    for key, (name, weight) in ours.items():
        if name in copied:
            weight.assign(theirs[key][1])
    return report


def average_weights(
    sources: Sequence[Mapping[str, keras.Model]], target: Mapping[str, keras.Model], *, where: Sequence[str]
) -> None:
    """Fills models with the mean of the weights of models that are alike, adapters merged.

    Weights correspond as for `transfer_weights`. Counts and other integers are those of the first.

    Source: Wortsman et al., 2022, "Model soups: averaging weights of multiple fine-tuned models improves
    accuracy without increasing inference time".

    Args:
        sources: Name to model, of each.
        target: Name to model.
        where: Where each source is from, for the error.

    Raises:
        TrainingError: some weights differ in name or shape; nothing was changed then.
    """
    totals: dict[tuple[str, int], np.ndarray] = {}
    ours = _weights(target)
    for models, place in zip(sources, where, strict=True):
        report = _compare(theirs := _weights(models), ours)
        if report.mismatches:
            raise TrainingError(
                f"The weights of {place} cannot be averaged with the others: {report.describe_mismatches()}."
            )
        for key, (_, weight) in theirs.items():
            value = weight.numpy()
            if weight.dtype.startswith(("float", "bfloat")):
                value = value.astype(np.float64) / len(sources)
                totals[key] = totals[key] + value if key in totals else value
            else:
                totals.setdefault(key, value)
    for key, (_, weight) in ours.items():
        weight.assign(totals[key])


def _compare(
    theirs: Mapping[tuple[str, int], tuple[str, Any]], ours: Mapping[tuple[str, int], tuple[str, Any]]
) -> TransferReport:
    fitting, mismatches = [], {}
    for key, (name, weight) in ours.items():
        if key not in theirs:
            mismatches[name] = "only here"
        elif theirs[key][1].shape != weight.shape:
            mismatches[name] = f"{tuple(weight.shape)} here, {tuple(theirs[key][1].shape)} there"
        else:
            fitting.append(name)
    mismatches |= {name: "only there" for key, (name, _) in theirs.items() if key not in ours}
    return TransferReport(tuple(fitting), mismatches)


def _weights(models: Mapping[str, keras.Model]) -> dict[tuple[str, int], tuple[str, Any]]:
    """Returns name and weight by a key that is the same in a model built before or after others."""
    counts: Counter[str] = Counter()
    found = {}
    for model, network in models.items():
        staying = {
            id(variable)
            for layer in _compat.flatten_layers(network)
            if getattr(layer, "stays_with_run", False)
            for variable in layer.variables
        }
        for variable in network.variables:
            if variable.name in _NOT_TRANSFERRED or id(variable) in staying:
                continue
            name = f"{model}/{variable.path}"
            unnumbered = re.sub(r"_[0-9]+(?=/|$)", "", name)
            found[unnumbered, counts[unnumbered]] = name, variable
            counts[unnumbered] += 1
    return found
