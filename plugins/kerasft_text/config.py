"""The settings of the text task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, FinetuningConfig, Labels, TaskConfig, refuse_idle, with_defaults

Kind = Literal["classification", "multilabel", "regression", "entities"]

SCRATCH = ("cnn", "bilstm", "gru", "attention", "transformer", "mlp")
"""Encoders that start from random weights and learn their vocabulary from the training data."""

PRETRAINED = ("minilm",)
"""Text encoders of the catalogue of pretrained weights."""

_PRETRAINED_ENCODER = "a pretrained one"
_SERVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "backbone": ("encoder", (_PRETRAINED_ENCODER,)),
    "vocabulary": ("encoder", SCRATCH),
    "vocabulary.ngrams": ("encoder", ("mlp",)),
    "embedding": ("encoder", SCRATCH),
    "cnn": ("encoder", ("cnn",)),
    "rnn": ("encoder", ("bilstm", "gru", "attention")),
    "transformer": ("encoder", ("transformer",)),
    "mlp": ("encoder", ("mlp",)),
    "labels": ("kind", ("classification", "multilabel", "entities")),
    "pooling": ("kind", ("classification", "multilabel", "regression")),
    "head.label_smoothing": ("kind", ("classification",)),
    "head.threshold": ("kind", ("multilabel",)),
}
"""Settings that do something for some encoders or kinds only."""

_FROM_SCRATCH = {"training": {"learning_rate": 1e-3, "epochs": 12}, "head": {"dropout": 0.5}}
_PRETRAINED = {"training": {"learning_rate": 2e-4}, "head": {"dropout": 0.1}}


class BackboneConfig(Config):
    """A pretrained encoder."""

    dropout: float | None = pydantic.Field(
        default=None,
        ge=0,
        lt=1,
        description="Dropout rate inside the backbone; null keeps the rate of its architecture.",
    )
    max_length: int = pydantic.Field(
        default=128, ge=4, description="Longest text in tokens, special ones included; the rest is cut off."
    )


class VocabularyConfig(Config):
    """The vocabulary of an encoder that is trained from scratch."""

    min_count: int = pydantic.Field(
        default=1,
        ge=1,
        description="A word must occur this often in the training data to get an entry of its own.",
    )
    max_size: int = pydantic.Field(
        default=30_000, ge=3, description="Most entries, the most frequent words first."
    )
    ngrams: int = pydantic.Field(
        default=1,
        ge=1,
        le=5,
        description="Runs of up to this many words get entries too (mlp, whose bag of words has no order).",
    )
    lowercase: bool = pydantic.Field(
        default=True, description="Fold upper case, and full-width letters and digits."
    )
    strip_accents: bool = pydantic.Field(default=False, description='Read "é" as "e".')
    max_length: int = pydantic.Field(
        default=256, ge=1, description="Longest text in words; the rest is cut off."
    )


class EmbeddingConfig(Config):
    """Word vectors of an encoder that is trained from scratch."""

    dim: int = pydantic.Field(default=128, ge=1, description="Length of a word vector.")
    dropout: float = pydantic.Field(default=0.3, ge=0, lt=1, description="Dropout rate on word vectors.")
    word_dropout: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Chance that a training word is read as unknown (mlp: left out)."
    )


class CnnConfig(Config):
    """Kim's convolutional network (2014): one convolution a width, then the maximum over time."""

    widths: tuple[int, ...] = pydantic.Field(
        default=(3, 4, 5), min_length=1, description="Words that a filter sees."
    )
    filters: int = pydantic.Field(default=100, ge=1, description="Filters of each width.")


class RnnConfig(Config):
    """Recurrent encoders (bilstm, gru, attention)."""

    units: int = pydantic.Field(default=128, ge=1, description="Units of each direction.")
    layers: int = pydantic.Field(default=1, ge=1, description="Layers, each of two directions.")


class TransformerConfig(Config):
    """A small transformer encoder."""

    layers: int = pydantic.Field(default=2, ge=1, description="Blocks.")
    heads: int = pydantic.Field(default=4, ge=1, description="Attention heads; must divide embedding.dim.")
    intermediate_dim: int = pydantic.Field(default=256, ge=1, description="Width of the feed-forward layers.")
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1, description="Dropout rate inside the blocks.")


class MlpConfig(Config):
    """A bag of word vectors, then dense layers."""

    units: tuple[int, ...] = pydantic.Field(default=(128,), description="Width of each hidden layer.")


class HeadConfig(Config):
    """What turns the encoding into an answer."""

    dropout: float | None = pydantic.Field(
        default=None,
        ge=0,
        lt=1,
        description="Dropout rate before the last layer; null: 0.1 after a pretrained encoder, else 0.5.",
    )
    label_smoothing: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Share of the target spread over all classes (classification)."
    )
    threshold: float = pydantic.Field(
        default=0.5, gt=0, lt=1, description="Score from which a label is given (multilabel)."
    )


class TextTraining(FinetuningConfig):
    """Training settings with the defaults for text; the rate depends on the encoder."""

    learning_rate: Any = pydantic.Field(
        default=None, description="Peak rate; null: 2e-4 for a pretrained encoder, 1e-3 from scratch."
    )
    consistency: float = pydantic.Field(
        default=0.0,
        ge=0,
        description="R-Drop: read each text twice with different dropout and add this times the divergence "
        "of the two answers to the loss; a step costs twice as much.",
    )


class TextConfig(TaskConfig):
    """Everything that can be said of a text task.

    Example:
        >>> TextConfig(encoder="cnn").training.learning_rate
        0.001
        >>> TextConfig(encoder="minilm", training={"epochs": 5}).training.learning_rate
        0.0002
    """

    kind: Kind = pydantic.Field(
        default="classification",
        description="classification: one label; multilabel: any number of labels; regression: a number; "
        "entities: named spans.",
    )
    encoder: str = pydantic.Field(
        default="minilm",
        min_length=1,
        description="A pretrained encoder (minilm, a KerasHub preset, hf://org/model, a local folder), or "
        f"one that starts from scratch: {', '.join(SCRATCH)}.",
    )
    labels: Labels = pydantic.Field(
        default=None, description="The labels, or the entity types; null: those of the training data, sorted."
    )
    pooling: Literal["auto", "mean", "sqrt", "max", "first"] = pydantic.Field(
        default="auto",
        description="How token vectors become one; sqrt: their sum over the root of their number, so that "
        "long texts count for more than in a mean; auto: max for cnn, bilstm and gru, else mean.",
    )
    backbone: BackboneConfig = pydantic.Field(
        default_factory=BackboneConfig, description="Pretrained encoder."
    )
    vocabulary: VocabularyConfig = pydantic.Field(
        default_factory=VocabularyConfig, description="From scratch."
    )
    embedding: EmbeddingConfig = pydantic.Field(default_factory=EmbeddingConfig, description="From scratch.")
    cnn: CnnConfig = pydantic.Field(default_factory=CnnConfig, description="Of the encoder cnn.")
    rnn: RnnConfig = pydantic.Field(default_factory=RnnConfig, description="Of bilstm, gru and attention.")
    transformer: TransformerConfig = pydantic.Field(
        default_factory=TransformerConfig, description="Of transformer."
    )
    mlp: MlpConfig = pydantic.Field(default_factory=MlpConfig, description="Of mlp.")
    head: HeadConfig = pydantic.Field(default_factory=HeadConfig, description="After the encoder.")
    training: TextTraining = pydantic.Field(
        default_factory=TextTraining, description="Optimizer, rates, batches, epochs."
    )

    @property
    def pretrained(self) -> bool:
        """Whether the encoder starts from pretrained weights."""
        return self.encoder not in SCRATCH

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_encoder(cls, values: Any) -> Any:
        chosen = values.get("encoder", "minilm") if isinstance(values, dict) else "minilm"
        return with_defaults(values, _FROM_SCRATCH if chosen in SCRATCH else _PRETRAINED)

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> TextConfig:
        if self.encoder == "transformer" and self.embedding.dim % self.transformer.heads:
            raise ValueError(
                f"embedding.dim ({self.embedding.dim}) must be a multiple of transformer.heads "
                f"({self.transformer.heads})"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_use(self) -> TextConfig:
        chosen = {"kind": self.kind, "encoder": _PRETRAINED_ENCODER if self.pretrained else self.encoder}
        refuse_idle(self, _SERVES, chosen=chosen)
        return self
