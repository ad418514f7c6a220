"""After the first steps of a phase: did what should train move, and did what should not stay?"""

from __future__ import annotations

import warnings

import numpy as np

from kerasft.training.freezing import Freezing
from kerasft.training.step import StepKind, Stepper


class MovementWarning(UserWarning):
    """A layer group that should train did not move, or a frozen one did."""


class MovementCheck:
    """Compares all weights before and after some steps.

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
            f"Layer group {group!r} is trainable, but training up to step {step} moved none of its weights; "
            "the loss may not depend on it, or its learning rate is zero."
            for group in trains
            if not moved[group]
        ]
        sentences += [
            f"{what} is frozen, but training up to step {step} moved it; "
            "something outside the updates assigns it."
            for what in leaked
        ]
        for sentence in sentences:
            warnings.warn(sentence, MovementWarning, stacklevel=3)
        return sentences


class MovementWatch:
    """Makes a `MovementCheck` of the first steps of every phase, until each update has moved something.

    Args:
        freezing: Knows groups and variables.
        stepper: Knows updates and optimizers.
    """

    def __init__(self, *, freezing: Freezing, stepper: Stepper) -> None:
        self._freezing = freezing
        self._stepper = stepper
        self._frozen: frozenset[int] | None = None
        self._check: MovementCheck | None = None
        self._due: set[int] = set()
        self._applied: list[int] = []

    def enter_phase(self, frozen: frozenset[int]) -> None:
        """Starts anew with another frozen set (ids of variables)."""
        self._frozen, self._check = frozen, None

    def before_call(self) -> None:
        """Remembers the weights, unless a learning rate is still zero."""
        if self._frozen is None or self._check is not None:
            return
        if all(float(optimizer.learning_rate.numpy()) > 0 for optimizer in self._stepper.optimizers):
            self._check = MovementCheck(freezing=self._freezing, frozen=self._frozen)
            self._due, self._applied = set(), self._stepper.applied

    def after_call(self, kind: StepKind, *, step: int) -> None:
        """Compares once every update has acted: not while gradients accumulate or float16 overflows."""
        if self._check is None:
            return
        self._due |= set(kind.due)
        acted = all(now > then for now, then in zip(self._stepper.applied, self._applied, strict=True))
        if acted and len(self._due) == len(self._stepper.updates):
            self._check.finish(step=step)
            self._frozen, self._check = None, None
