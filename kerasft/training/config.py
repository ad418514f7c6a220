"""How a task is trained: the source of keywords, recipe keys and flags (imports no TensorFlow)."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft._suggest import suggestion
from kerasft.training.schedules import Layerwise, serialize

# Any other name is looked up in Keras, which takes seconds to import.
_USUAL_OPTIMIZERS = frozenset(
    (
        *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion", "nadam"),
        *("rmsprop", "sgd", "sparseadam"),
    )
)


class TrainingConfig(pydantic.BaseModel):
    """How a task is trained.

    Every field is also a keyword of `Task.finetune`, a recipe key under `config.training`, and a flag
    `--set training.NAME=VALUE`.

    Example:
        >>> TrainingConfig(epochs=2, optimizer="sgd").learning_rate
        0.001
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", validate_assignment=True, validate_default=True, arbitrary_types_allowed=True
    )

    epochs: int = pydantic.Field(3, ge=1, description="Passes over the training data.")
    batch_size: int = pydantic.Field(32, ge=1, description="Examples in one batch.")
    batch_tokens: int | None = pydantic.Field(
        None,
        ge=1,
        description="Training batches by length instead of number (variable-length data): examples times "
        "the longest of them.",
    )
    optimizer: Any = pydantic.Field(
        "adamw",
        description="Name of a Keras optimizer, its serialized form, or an object (used as it is).",
    )
    learning_rate: Any = pydantic.Field(
        1e-3,
        description="Peak rate, a kerasft.Layerwise, or a Keras schedule (then `schedule` is ignored).",
    )
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = pydantic.Field(
        "constant",
        description="Shape of the rate after the warm-up: linear and cosine reach zero at the last step, "
        "inverse_sqrt falls with the root of the steps.",
    )
    warmup: float = pydantic.Field(
        0.0, ge=0, description="Warm-up: a fraction of all steps below 1, else a number of steps."
    )
    weight_decay: float | None = pydantic.Field(
        None, ge=0, description="Decoupled weight decay; never on biases, norms and other vectors."
    )
    clip_norm: float | None = pydantic.Field(None, gt=0, description="Largest global norm of the gradients.")
    accumulate: int = pydantic.Field(
        1, ge=1, description="Batches whose gradients are averaged into one update."
    )
    ema: float | None = pydantic.Field(
        None,
        gt=0,
        description="Moving average of the weights, used by validation and as the result: below 1 its "
        "momentum a step, else its half-life in examples.",
    )
    ema_rampup: float | None = pydantic.Field(
        None, gt=0, description="The half-life is at most this share of the examples seen so far."
    )
    jit_compile: bool | Literal["auto"] = pydantic.Field(
        "auto", description="Compile steps with XLA; auto: on a GPU, unless examples vary in length."
    )
    steps_per_call: int = pydantic.Field(
        1, ge=1, description="Steps that one compiled call runs; helps small models."
    )
    class_weight: dict[str, float] | Literal["balanced"] | None = pydantic.Field(
        None,
        description="Weight of each class in the loss; balanced: inversely proportional to its frequency.",
    )
    shuffle: bool = pydantic.Field(
        True, description="Reorder the training data in every epoch, by seed and epoch."
    )
    bucket: bool = pydantic.Field(
        True, description="Batch examples of similar length together (variable-length data)."
    )
    feature_cache: bool = pydantic.Field(
        True, description="Compute the outputs of a frozen, deterministic prefix once and reuse them."
    )
    cache_memory_mb: int = pydantic.Field(
        2048, ge=0, description="Encoded data and features above this size go to disk."
    )
    monitor: str = pydantic.Field(
        "auto", description="Metric that decides the best checkpoint; auto asks the task."
    )
    monitor_mode: Literal["auto", "min", "max"] = pydantic.Field(
        "auto", description="Whether the monitored metric shall fall or rise; auto goes by its name."
    )
    checkpoint_every: int | None = pydantic.Field(
        None,
        ge=1,
        description="Steps between checkpoints inside an epoch; there is one after every epoch anyway.",
    )

    @pydantic.field_validator("optimizer")
    @classmethod
    def _check_optimizer(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lower() not in _USUAL_OPTIMIZERS:
            from kerasft.training.optimizers import optimizer_classes

            known = optimizer_classes()
            if value.lower() not in known:
                hint = suggestion(value.lower(), known, noun="optimizers")
                raise ValueError(f"there is no such optimizer; {hint}")
        return value

    @pydantic.field_validator("learning_rate")
    @classmethod
    def _check_learning_rate(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise ValueError(f"a learning rate must be a positive number, not {value!r}") from None
        if isinstance(value, dict) and Layerwise.marker in value:
            return Layerwise.from_config(value)
        if isinstance(value, bool) or (isinstance(value, (int, float)) and not value > 0):
            raise ValueError(f"a learning rate must be a positive number, not {value!r}")
        return float(value) if isinstance(value, int) else value

    @pydantic.model_validator(mode="after")
    def _check_rampup(self) -> TrainingConfig:
        if self.ema_rampup is not None and (self.ema is None or self.ema < 1):
            raise ValueError("ema_rampup limits a half-life: give ema as one, in examples, such as 10000")
        return self

    @pydantic.field_serializer("optimizer", "learning_rate")
    def _serialize_object(self, value: Any) -> Any:
        return serialize(value)


class FinetuningConfig(TrainingConfig):
    """Training settings that suit most networks: a cosine after a warm-up, weight decay, clipped gradients.

    For configs of tasks, which say what else differs, such as the rate.

    Example:
        >>> FinetuningConfig().schedule, TrainingConfig().schedule
        ('cosine', 'constant')
    """

    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = pydantic.Field(
        "cosine", description="Shape of the rate after the warm-up."
    )
    warmup: float = pydantic.Field(
        0.1, ge=0, description="Warm-up: a fraction of all steps below 1, else a number of steps."
    )
    weight_decay: float | None = pydantic.Field(
        0.01, ge=0, description="Decoupled weight decay; never on biases, norms and other vectors."
    )
    clip_norm: float | None = pydantic.Field(1.0, gt=0, description="Largest global norm of the gradients.")
