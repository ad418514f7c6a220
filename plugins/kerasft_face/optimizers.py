"""Optimizers of a game: Adam with other moments, shared between a loss and a regulariser that acts rarely."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasft_face")
class LazyRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate for an optimizer that acts more than once in some steps.

    Args:
        rate: The rate of an optimizer that acts once a step: a number or a schedule.
        share: Steps over actions.

    Example:
        >>> float(LazyRate(0.5, 0.5)(10))
        0.25
    """

    def __init__(self, rate: Any, share: float) -> None:
        self.rate = keras.saving.deserialize_keras_object(rate) if isinstance(rate, dict) else rate
        self.share = share

    def __call__(self, step: Any) -> Any:
        if callable(self.rate):
            return self.share * self.rate(keras.ops.cast(step, "float32") * self.share)
        return keras.ops.convert_to_tensor(self.share * self.rate)

    def get_config(self) -> dict[str, Any]:
        rate = keras.saving.serialize_keras_object(self.rate) if callable(self.rate) else self.rate
        return {"rate": rate, "share": self.share}


def shared_optimizer(
    optimizer: keras.optimizers.Optimizer, *, every: int | None, **settings: Any
) -> keras.optimizers.Optimizer:
    """Returns the same optimizer with other settings, for a loss and its regulariser of every n-th step.

    It acts n + 1 times in n steps, so rate and betas are corrected to forget and move as much in n steps.
    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B.

    Args:
        optimizer: A Keras optimizer, scaled for float16 or not.
        every: How often the regulariser acts, in steps; None if there is none.
        **settings: Arguments of the optimizer to replace first, where it has them.

    Example:
        >>> adam = shared_optimizer(keras.optimizers.Adam(0.5), every=4, beta_1=0.0)
        >>> round(float(adam.learning_rate), 3), adam.beta_1, adam.beta_2 == 0.999**0.8
        (0.4, 0.0, True)
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    config = inner.get_config()
    config |= {name: value for name, value in settings.items() if name in config}
    if every is not None:
        share = every / (every + 1)
        rate = config["learning_rate"]
        config["learning_rate"] = LazyRate(rate, share) if isinstance(rate, dict) else rate * share
        for beta in ("beta_1", "beta_2"):
            if beta in config:
                config[beta] **= share
    made = type(inner).from_config(config)
    if inner is optimizer:
        return made
    outer = {**optimizer.get_config(), "inner_optimizer": keras.saving.serialize_keras_object(made)}
    return type(optimizer).from_config(outer)
