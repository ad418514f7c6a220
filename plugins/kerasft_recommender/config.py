"""The settings of the recommender task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, TaskConfig, TrainingConfig

_TAKEN = ("user_id", "item_id", "timestamp", "rating", "negatives", "k", "exclude_seen", "item_ids")

FULL_SOFTMAX_ITEMS = 50_000
"""Up to how many items the objective auto compares with all of them."""


VECTORED = ("gmf", "two_tower", "sasrec")
"""Scorers whose best items are neighbours of a vector of the user."""

FEATURED = ("wide_deep", "deepfm", "dcn", "two_tower")
"""Scorers that read features."""


class FeatureConfig(Config):
    """One feature of users, of items, or of the moment.

    Example:
        >>> FeatureConfig(name="genres", kind="multi").side
        'item'
    """

    name: str = pydantic.Field(min_length=1, description="Column that it is read from.")
    kind: Literal["categorical", "multi", "numeric", "sequence", "embedding", "text"] = pydantic.Field(
        description="One value; several (a list, or `a|b`); a number; a list in order; a vector; a "
        "text, which becomes one."
    )
    side: Literal["user", "item", "context"] = pydantic.Field(
        "item", description="Whose it is; context comes with each row of data and each request."
    )
    width: int | None = pydantic.Field(
        None, ge=1, description="Length of an embedding's vectors; seen from the data, but for context."
    )
    encoder: str = pydantic.Field(
        "minilm",
        min_length=1,
        description="What makes vectors of texts: an encoder of the task text, or the folder of a run.",
    )
    separator: str = pydantic.Field("|", min_length=1, description="What cuts values in one text.")
    length: int = pydantic.Field(20, ge=1, description="How many of the last values of a sequence count.")


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
    dropout: float = pydantic.Field(0.5, ge=0, lt=1, description="Dropout of sasrec.")
    alpha: float = pydantic.Field(
        0.5, ge=0, le=1, description="Share of gmf in a neumf that starts from a gmf and an mlp run."
    )

    width: int = pydantic.Field(
        16, ge=1, description="Length of the vector of each feature in wide_deep, deepfm and dcn."
    )
    hidden: tuple[int, ...] = pydantic.Field(
        (128, 64), min_length=1, description="Widths of the dense layers of wide_deep, deepfm and dcn."
    )
    pairs: int = pydantic.Field(
        10_000,
        ge=0,
        description="wide_deep has a weight for each pair of values of a user's and an item's feature (both "
        "categorical or multi) if there are at most so many.",
    )
    crosses: int = pydantic.Field(2, ge=1, description="Cross layers of dcn.")
    id_dropout: float = pydantic.Field(
        0.3,
        ge=0,
        lt=1,
        description="How often two_tower trains on the features of a user or an item without its id.",
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

    scorer: Literal["gmf", "mlp", "neumf", "sasrec", "wide_deep", "deepfm", "dcn", "two_tower"] = (
        pydantic.Field("gmf", description="What scores an item for a user; the last four read `features`.")
    )
    features: tuple[FeatureConfig, ...] = pydantic.Field(
        (), description="What is known of users, items and the moment beside their ids."
    )
    users: str | None = pydantic.Field(
        None, description="Side table of users: a file with user_id and the features of users."
    )
    items: str | None = pydantic.Field(
        None, description="Side table of items: a file with item_id and the features of items."
    )
    objective: Literal["auto", "full_softmax", "bce", "bpr", "in_batch_softmax", "rating", "click"] = (
        pydantic.Field(
            "auto",
            description="What is learned; auto: full_softmax for gmf and sasrec of at most "
            "50,000 items, in_batch_softmax for two_tower, else bce.",
        )
    )
    threshold: float = pydantic.Field(4.0, description="Smallest `rating` that counts as liked, under click.")
    ordinal: float = pydantic.Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the loss, under click, that is about the other levels of the ratings: that "
        "there are five stars and not four says more than that both are liked.",
    )
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
    index: Literal["exact", "ivf"] = pydantic.Field(
        "exact",
        description="How predict and exports find the best items: by the scores of all, or in an inverted "
        "file, for hundreds of thousands of items (gmf, two_tower and sasrec).",
    )
    recall: float = pydantic.Field(
        0.9, gt=0, le=1, description="Share of the best items that index=ivf is to find."
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="The scorer.")
    metrics: MetricsConfig = pydantic.Field(
        default_factory=MetricsConfig, description="What evaluate and validation measure."
    )
    training: RecommenderTraining = pydantic.Field(
        default_factory=RecommenderTraining, description="Optimizer, rates, batches, epochs."
    )

    @pydantic.model_validator(mode="after")
    def _check_index(self) -> RecommenderConfig:
        if self.index == "ivf" and self.scorer not in VECTORED:
            raise ValueError(
                f"index=ivf looks near the vector of a user, and scorer={self.scorer} scores pairs: take "
                f"index=exact, or one of {', '.join(VECTORED)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> RecommenderConfig:
        network = self.network
        if self.scorer == "sasrec" and network.factors % network.heads:
            raise ValueError(
                f"network.heads={network.heads} cannot share network.factors={network.factors}; take a "
                "divisor"
            )
        return self

    @pydantic.field_validator("features")
    @classmethod
    def _check_names(cls, features: tuple[FeatureConfig, ...]) -> tuple[FeatureConfig, ...]:
        names = [feature.name for feature in features]
        for feature in features:
            if feature.name in _TAKEN or names.count(feature.name) > 1:
                raise ValueError(
                    f"the name {feature.name!r} is taken; give each feature its own, and none of "
                    f"{', '.join(_TAKEN)}"
                )
            if feature.side == "context" and feature.kind == "text":
                raise ValueError(
                    f"the text {feature.name!r} of the context would need its encoder in every request: give "
                    "its vector, kind=embedding, or its words, kind=multi"
                )
            if feature.side == "context" and feature.kind == "embedding" and feature.width is None:
                raise ValueError(
                    f"the embedding {feature.name!r} of the context needs its width, which requests depend on"
                )
        return features

    @pydantic.model_validator(mode="after")
    def _check_features(self) -> RecommenderConfig:
        sides = {feature.side for feature in self.features}
        if sides and self.scorer not in FEATURED:
            raise ValueError(f"scorer={self.scorer} reads no features; take one of {', '.join(FEATURED)}")
        for table, side in (("users", "user"), ("items", "item")):
            if getattr(self, table) is not None and side not in sides:
                raise ValueError(f"{table} names a side table, but no feature has side={side}: add some")
        if "context" in sides and (self.scorer == "two_tower" or self.objective not in ("rating", "click")):
            raise ValueError(
                "features of the context are for objective=rating and click, with wide_deep, deepfm or dcn"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_ratings(self) -> RecommenderConfig:
        if self.ordinal and self.objective != "click":
            raise ValueError(
                f"ordinal does nothing with objective={self.objective}, only with click; leave it out"
            )
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
