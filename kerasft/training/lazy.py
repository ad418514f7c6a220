"""Terms of a loss that act in every n-th step only, for all the steps between."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kerasft import _compat
from kerasft.training.update import Update


@keras.saving.register_keras_serializable(package="kerasft")
class LazyRate(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of an optimizer that acts more than once in some steps.

    Args:
        schedule: From steps to the rate of an optimizer that acts once a step.
        share: Steps over actions.

    Example:
        >>> halving = keras.optimizers.schedules.ExponentialDecay(1.0, decay_steps=1, decay_rate=0.5)
        >>> float(LazyRate(halving, 0.5)(4))  # two steps have passed
        0.125
    """

    def __init__(self, schedule: Any, share: float) -> None:
        is_config = isinstance(schedule, dict)
        self.schedule = keras.optimizers.schedules.deserialize(schedule) if is_config else schedule
        self.share = share

    def __call__(self, step: Any) -> Any:
        return self.share * self.schedule(keras.ops.cast(step, "float32") * self.share)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule), "share": self.share}


def correct_lazy(updates: Sequence[Update]) -> list[Update]:
    """Returns the updates with optimizers that allow for their lazy updates.

    One that acts n + 1 times in n steps gets rate and betas with which it moves and forgets as much in these
    as one that acts n times: `share` times the rate, betas to the power of `share`, for share = n / (n + 1).
    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B.

    Args:
        updates: As `Task.updates` returned them.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> adam = keras.optimizers.Adam(0.5)
        >>> common = {"loss": lambda batch: 0.0, "models": [model], "optimizer": adam}
        >>> updates = [Update(name="fit", **common), Update(name="penalty", every=4, lazy=True, **common)]
        >>> slower = correct_lazy(updates)[0].optimizer
        >>> round(float(slower.learning_rate), 3), slower.beta_2 == 0.999**0.8
        (0.4, True)
    """
    optimizers = dict.fromkeys(update.optimizer for update in updates)
    corrected = {
        id(optimizer): _corrected(optimizer, [u for u in updates if u.optimizer is optimizer])
        for optimizer in optimizers
    }
    return [dataclasses.replace(update, optimizer=corrected[id(update.optimizer)]) for update in updates]


def _corrected(
    optimizer: keras.optimizers.Optimizer, updates: Sequence[Update]
) -> keras.optimizers.Optimizer:
    steady = sum(1.0 / update.every for update in updates if not update.lazy)
    actions = sum(1.0 / update.every for update in updates)
    if not steady or steady == actions:
        return optimizer
    share = steady / actions
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    config = inner.get_config()
    schedule = _compat.rate_schedule(inner)
    changes = {"learning_rate": LazyRate(schedule, share) if schedule else config["learning_rate"] * share}
    changes |= {name: config[name] ** share for name in ("beta_1", "beta_2") if name in config}
    return _compat.copy_optimizer(optimizer, **changes)
