"""Optimizers and learning-rate schedules from a training config."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

import keras
import tensorflow as tf

from kerasft import _compat
from kerasft.errors import ConfigError
from kerasft.training.config import TrainingConfig
from kerasft.training.lazy import LazyRate
from kerasft.training.schedules import Layerwise
from kerasft.training.sparse_adam import SparseAdam


@keras.saving.register_keras_serializable(package="kerasft")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a constant rate, a linear or cosine descent to zero, or an inverse square root.

    The rate of step `s` of the warm-up is `peak * (s + 1) / warmup_steps`, so the first step already moves;
    of the inverse square root it is then `peak * sqrt(warmup_steps / s)`.
    Source of the cosine: Loshchilov and Hutter, 2017, "SGDR"; of the inverse square root: Vaswani et al.,
    2017, "Attention Is All You Need".

    Args:
        peak: Rate after the warm-up.
        total_steps: Updates in the whole training.
        warmup_steps: Updates in the warm-up.
        shape: "constant", "linear", "cosine" or "inverse_sqrt".

    Example:
        >>> rate = WarmupSchedule(peak=1.0, total_steps=12, warmup_steps=2, shape="linear")
        >>> [round(float(rate(step)), 2) for step in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, *, peak: float, total_steps: int, warmup_steps: int, shape: str) -> None:
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.shape = shape

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warmup = tf.constant(float(self.warmup_steps))
        progress = tf.clip_by_value(
            (step - warmup) / max(1.0, self.total_steps - self.warmup_steps), 0.0, 1.0
        )
        if self.shape == "constant":
            factor = tf.ones_like(step)
        elif self.shape == "linear":
            factor = 1.0 - progress
        elif self.shape == "inverse_sqrt":
            factor = tf.sqrt(tf.maximum(warmup, 1.0) / tf.maximum(step, 1.0))
        else:
            factor = 0.5 * (1.0 + tf.cos(tf.constant(3.141592653589793) * progress))
        return self.peak * tf.where(step < warmup, (step + 1.0) / tf.maximum(warmup, 1.0), factor)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
        }


def make_learning_rate(config: TrainingConfig, *, total_steps: int) -> Any:
    """Returns the rate of a config: a number, a WarmupSchedule, or the Keras schedule that it names."""
    rate = config.learning_rate
    if isinstance(rate, dict):
        rate = _deserialize("learning_rate", rate, keras.optimizers.schedules.deserialize)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return rate
    peak = rate.learning_rate if isinstance(rate, Layerwise) else rate
    if not isinstance(peak, float):
        raise ConfigError(
            f"learning_rate: {rate!r} is neither a number, a kerasft.Layerwise nor a Keras schedule."
        )
    warmup = int(config.warmup if config.warmup >= 1 else config.warmup * total_steps)
    if config.schedule == "constant" and not warmup:
        return peak
    return WarmupSchedule(peak=peak, total_steps=total_steps, warmup_steps=warmup, shape=config.schedule)


def descends(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the rate falls until the last epoch, so that another number of epochs changes every rate."""
    schedule = _compat.rate_schedule(optimizer)
    if isinstance(schedule, LazyRate):
        schedule = schedule.schedule
    return isinstance(schedule, WarmupSchedule) and schedule.shape in ("linear", "cosine")


def make_optimizer(
    config: TrainingConfig,
    *,
    given: Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
    undecayed: Sequence[keras.Variable],
    total_steps: int,
    loss_scale: bool,
    copy: bool = False,
) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a config.

    A named optimizer gets the config's rate, decay and clipping; an optimizer object is used as it is.

    Args:
        config: The training config.
        given: Names of the settings that the caller chose; an optimizer object must not contradict them.
        settings: Replace the config's settings of the same names, and the defaults of a named optimizer's
            other arguments.
        undecayed: What weight decay spares.
        total_steps: Updates in the whole training, for schedules.
        loss_scale: Scale the loss dynamically, as float16 needs.
        copy: Copy an optimizer object, because another update uses it already.

    Raises:
        ConfigError: no optimizer, or one that does what the loop already does or that ignores a setting.
    """
    optimizer = config.optimizer
    if isinstance(optimizer, dict):
        optimizer = _deserialize("optimizer", optimizer, keras.optimizers.deserialize)
    if isinstance(optimizer, keras.optimizers.Optimizer):
        _refuse_duplicates(optimizer)
        _refuse_ignored(optimizer, config, given)
        if copy:
            optimizer = _compat.copy_optimizer(optimizer)
    elif isinstance(optimizer, str):
        optimizer = _from_name(
            optimizer, config, settings or {}, undecayed=undecayed, total_steps=total_steps
        )
    else:
        raise ConfigError(f"optimizer: {optimizer!r} is neither a name nor a Keras optimizer.")
    if loss_scale and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def optimizer_classes() -> dict[str, Any]:
    """Returns the optimizers that a config can name, under their names in lower case."""
    return {"sparseadam": SparseAdam} | {
        key.lower(): value
        for key, value in vars(keras.optimizers).items()
        if inspect.isclass(value)
        and issubclass(value, keras.optimizers.Optimizer)
        and value is not keras.optimizers.Optimizer
        and "learning_rate" in inspect.signature(value).parameters
    }


def _from_name(
    name: str,
    config: TrainingConfig,
    settings: Mapping[str, Any],
    *,
    undecayed: Sequence[keras.Variable],
    total_steps: int,
) -> keras.optimizers.Optimizer:
    known = {key: value for key, value in settings.items() if key in TrainingConfig.model_fields}
    config = config.model_copy(update=known)
    arguments: dict[str, Any] = {"learning_rate": make_learning_rate(config, total_steps=total_steps)}
    if config.weight_decay is not None:
        arguments["weight_decay"] = config.weight_decay
    if config.clip_norm is not None:
        arguments["global_clipnorm"] = config.clip_norm
    others = {key: value for key, value in settings.items() if key not in known}
    try:
        optimizer = optimizer_classes()[name.lower()](**arguments, **others)
    except (TypeError, ValueError) as error:  # whichever Keras raises for an unknown argument
        raise ConfigError(
            f"optimizer: {name} cannot be made with {', '.join(others)} ({error}); see updates()."
        ) from error
    if optimizer.weight_decay is not None and undecayed:
        optimizer.exclude_from_weight_decay(var_list=list(undecayed))
    return optimizer


def _deserialize(setting: str, form: Mapping[str, Any], deserialize: Callable[[Any], Any]) -> Any:
    try:
        # Keras changes what it deserializes, and the config must stay as it is.
        made = deserialize(deepcopy(form))
        if isinstance(made, str):
            raise ValueError(f"there is no {made}")
        return made
    except Exception as error:  # of an unknown class, a wrong key or a wrong value, each of another type
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{setting}: {form!r} is not the serialized form of a Keras object ({reason}); it has class_name "
            "and config."
        ) from error


def _refuse_ignored(
    optimizer: keras.optimizers.Optimizer, config: TrainingConfig, given: Collection[str]
) -> None:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    scheduled = _compat.rate_schedule(inner) is not None
    own = {
        "learning_rate": math.nan if scheduled else float(keras.ops.convert_to_numpy(inner.learning_rate)),
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": inner.weight_decay,
        "clip_norm": inner.global_clipnorm,
    }
    for name in (name for name in own if name in given):
        wanted = getattr(config, name)
        wanted = wanted.learning_rate if isinstance(wanted, Layerwise) else wanted
        numbers = [value or 0.0 for value in (wanted, own[name])]
        same = wanted == own[name] or (
            all(isinstance(number, float) for number in numbers) and math.isclose(*numbers, rel_tol=1e-6)
        )
        if not same:
            raise ConfigError(
                f"optimizer: {inner.name} is an object that brings its own {name}, so {name}={wanted!r} "
                f"would do nothing: leave {name} out of call and config, or give the optimizer by name."
            )


def _refuse_duplicates(optimizer: keras.optimizers.Optimizer) -> None:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.gradient_accumulation_steps:
        raise ConfigError(
            f"optimizer: {inner.name} has gradient_accumulation_steps={inner.gradient_accumulation_steps}, "
            "which loses the tail of an epoch; leave it out and pass accumulate= instead."
        )
    if inner.use_ema:
        raise ConfigError(f"optimizer: {inner.name} has use_ema=True; leave it out and pass ema= instead.")
