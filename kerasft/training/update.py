"""What a training step is made of: batches and updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasft.errors import ConfigError, TrainingError


class Batch(NamedTuple):
    """Encoded examples, as a step receives them.

    Attributes:
        features: What `Task.preprocess` returned, dense: name to tensor `[batch, ...]`, padded with zeros.
        targets: What `Task.targets` returned, dense: name to tensor `[batch, ...]`.
        sample_weight: float32 `[batch]`, or None when every example counts the same.
        frontier: Outputs of the model's frozen prefix, when they come from the feature cache.
    """

    features: dict[str, Any]
    targets: dict[str, Any]
    sample_weight: Any = None
    frontier: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Update:
    """One optimizer's turn in a training step: a loss, the networks it moves, and how often.

    Args:
        name: Appears in logs (`loss` of an update called "generator" is `generator_loss`) and errors.
        loss: Called with a `Batch` inside the gradient tape; returns a scalar loss, or a pair of it and the
            outputs that the metrics shall see.
        models: The networks whose trainable variables the update moves.
        optimizer: A built or unbuilt Keras optimizer; updates may share one.
        every: Take part in every n-th step only (of those that apply gradients, when batches accumulate).
        lazy: The loss is a term for all `every` steps: its gradient counts `every` times, and an optimizer
            shared with updates that are not lazy is corrected for acting more often, in rate and betas
            (`kerasft.training.lazy`). Logs show the term itself.

    Raises:
        ConfigError: `every` is less than 1.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> update = Update(name="fit", loss=lambda batch: tf.reduce_sum(model(batch.features["x"])),
        ...                 models=[model], optimizer=keras.optimizers.SGD(0.1))
        >>> update.is_due(step=3)
        True
    """

    name: str
    loss: Callable[[Batch], tf.Tensor | tuple[tf.Tensor, Any]]
    models: Sequence[keras.Model]
    optimizer: keras.optimizers.Optimizer
    every: int = 1
    lazy: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"Update {self.name!r}: every must be at least 1, not {self.every!r}.")

    def is_due(self, *, step: int) -> bool:
        """Whether the update takes part in `step` (counted from 0)."""
        return step % self.every == 0


def weighted_mean(losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
    """Returns the mean of per-example losses as Keras takes it: the weighted sum over the number of examples.

    Args:
        losses: float `[batch]`, or a scalar (returned as it is).
        sample_weight: float32 `[batch]` or None.

    Raises:
        TrainingError: a scalar loss cannot be weighted, or the losses have another shape.
    """
    losses = tf.cast(losses, tf.float32)
    if losses.shape.rank == 0:
        if sample_weight is not None:
            raise TrainingError(
                "Sample and class weights need per-example losses: return [batch] from Task.loss, no scalar."
            )
        return losses
    if losses.shape.rank != 1:
        raise TrainingError(
            f"Task.loss must return a scalar or one loss per example [batch], not shape {losses.shape}."
        )
    return tf.reduce_mean(losses if sample_weight is None else losses * sample_weight)
