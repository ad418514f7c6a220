"""After the first step of a phase: did what should train move, and did what should not stay?"""

from __future__ import annotations

import warnings

import numpy as np

from kerasft.training.freezing import Freezing


class MovementWarning(UserWarning):
    """A layer group that should train did not move, or a frozen one did."""


class MovementCheck:
    """Compares all weights before and after the first step of a phase.

    Args:
        freezing: Knows groups and variables.
        frozen: Ids of what is frozen in the phase.
    """

    def __init__(self, *, freezing: Freezing, frozen: frozenset[int]) -> None:
        self._freezing = freezing
        self._frozen = frozen
        self._before = [variable.numpy() for variable in freezing.variables]

    def finish(self, *, step: int) -> list[str]:
        """Warns of every group that disagrees with its declaration, and returns the sentences."""
        groups = self._freezing.group_of()
        trains: dict[str, bool] = {}
        moved: dict[str, bool] = {}
        leaked: list[str] = []
        for variable, before in zip(self._freezing.variables, self._before, strict=True):
            group = groups[id(variable)]
            changed = not np.array_equal(variable.numpy(), before)
            if id(variable) in self._frozen:
                if changed:
                    leaked.append(f"{variable.path} of group {group!r}")
            else:
                trains[group] = True
                moved[group] = moved.get(group, False) or changed
        sentences = [
            f"Layer group {group!r} is trainable, but step {step} moved none of its weights; "
            "the loss may not depend on it, or its learning rate is zero."
            for group in trains
            if not moved[group]
        ]
        sentences += [
            f"{what} is frozen, but step {step} moved it; something outside the updates assigns it."
            for what in leaked
        ]
        for sentence in sentences:
            warnings.warn(sentence, MovementWarning, stacklevel=3)
        return sentences
