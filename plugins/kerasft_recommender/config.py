"""The settings of the recommender task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, TaskConfig, TrainingConfig

FULL_SOFTMAX_ITEMS = 50_000
"""Up to how many items the objective auto compares with all of them."""


class NetworkConfig(Config):
    """The scorer."""

    factors: int = pydantic.Field(
        64, ge=1, description="Length of the vectors of gmf (and of its part of neumf), and of sasrec."
    )
    layers: tuple[int, ...] = pydantic.Field(
        (64, 32, 16, 8),
        min_length=2,
        description="Widths of mlp and neumf: of both vectors together, then of the hidden layers.",
    )
    deviation: float = pydantic.Field(0.1, gt=0, description="Standard deviation of vectors at the start.")

    blocks: int = pydantic.Field(2, ge=1, description="Blocks of self-attention of sasrec.")
    heads: int = pydantic.Field(2, ge=1, description="Heads of attention of sasrec; they share `factors`.")
    length: int = pydantic.Field(50, ge=1, description="How many of the last choices count for sasrec.")
    dropout: float = pydantic.Field(0.2, ge=0, lt=1, description="Dropout of sasrec.")
    alpha: float = pydantic.Field(
        0.5, ge=0, le=1, description="Share of gmf in a neumf that starts from a gmf and an mlp run."
    )

    @pydantic.field_validator("layers")
    @classmethod
    def _check_layers(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in layers) or layers[0] % 2:
            raise ValueError("widths must be at least 1, and the first even: half of it is a user's vector")
        return layers


class MetricsConfig(Config):
    """What `evaluate` and validation measure."""

    k: int = pydantic.Field(10, ge=1, description="Length of the list that a user sees.")
    protocol: Literal["full", "ncf99"] = pydantic.Field(
        "full",
        description="full ranks among all items but those chosen in training; ncf99 among the items of the "
        "column `negatives`.",
    )
    baselines: tuple[Literal["popularity", "ease"], ...] = pydantic.Field(
        ("popularity", "ease"), description="Recommenders without training to measure beside the model."
    )


class RecommenderTraining(TrainingConfig):
    """Training settings with defaults for recommenders."""

    epochs: int = pydantic.Field(20, ge=1, description="Passes over the training data.")
    batch_size: int = pydantic.Field(
        256, ge=1, description="Examples in one batch: users under full_softmax, else choices."
    )
    optimizer: Any = pydantic.Field(
        "sparseadam",
        description="Name of a Keras optimizer, its serialized form, or an object (used as it is).",
    )
    learning_rate: Any = pydantic.Field(
        3e-3,
        description="Peak rate, a kerasft.Layerwise, or a Keras schedule (then `schedule` is ignored).",
    )
    bucket: bool = pydantic.Field(False, description="Batch users with histories of similar length together.")


class RecommenderConfig(TaskConfig):
    """Everything that can be said of a recommender.

    Example:
        >>> RecommenderConfig(scorer="neumf").network.layers
        (64, 32, 16, 8)
    """

    scorer: Literal["gmf", "mlp", "neumf", "sasrec"] = pydantic.Field(
        "gmf", description="What scores an item for a user."
    )
    objective: Literal["auto", "full_softmax", "bce", "bpr", "in_batch_softmax", "rating", "click"] = (
        pydantic.Field(
            "auto",
            description="What is learned; auto: full_softmax for gmf and sasrec of at most "
            "50,000 items, else bce.",
        )
    )
    threshold: float = pydantic.Field(4.0, description="Smallest `rating` that counts as liked, under click.")
    negatives: int = pydantic.Field(4, ge=1, description="Items drawn for each choice, under bce and bpr.")
    penalty: float = pydantic.Field(
        0.02, ge=0, description="Weight of the mean squared length of vectors in the loss."
    )
    spare: float = pydantic.Field(
        0.1, ge=0, description="Spare rows for users and items to come, as a share; at least 16."
    )
    hold_out: Literal["random", "last"] = pydantic.Field(
        "random",
        description="Which rows a share for validation takes: any, or the last ones of every user by "
        "timestamp, at least one.",
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="The scorer.")
    metrics: MetricsConfig = pydantic.Field(
        default_factory=MetricsConfig, description="What evaluate and validation measure."
    )
    training: RecommenderTraining = pydantic.Field(
        default_factory=RecommenderTraining, description="Optimizer, rates, batches, epochs."
    )

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> RecommenderConfig:
        network = self.network
        if self.scorer == "sasrec" and network.factors % network.heads:
            raise ValueError(
                f"network.heads={network.heads} cannot share network.factors={network.factors}; take a "
                "divisor"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_ratings(self) -> RecommenderConfig:
        if self.objective not in ("rating", "click"):
            return self
        if self.metrics.protocol == "ncf99":
            raise ValueError(
                f"metrics.protocol=ncf99 ranks lists, and objective={self.objective} measures single "
                "ratings: change one of them"
            )
        if self.scorer == "sasrec":
            raise ValueError(
                f"scorer=sasrec predicts the next item, and objective={self.objective} is about single "
                "ratings: change one of them"
            )
        return self
