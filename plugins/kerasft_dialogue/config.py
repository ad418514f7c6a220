"""The settings of the dialogue task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, TaskConfig, TrainingConfig


class VocabularyConfig(Config):
    """Subword units of a network from scratch, learned from the training data."""

    size: int = pydantic.Field(
        default=2000, ge=270, description="Most entries, 256 bytes and 4 special ones included."
    )
    kind: Literal["bpe", "unigram"] = pydantic.Field(
        default="bpe", description="Byte pair encoding, or SentencePiece's unigram language model."
    )
    coverage: float = pydantic.Field(
        default=0.9998,
        gt=0.9,
        le=1,
        description="Share of characters with entries of their own; the rarest are spelled by bytes.",
    )


class NetworkConfig(Config):
    """Sizes of a causal transformer from scratch; a pretrained one brings its own."""

    layers: int = pydantic.Field(default=4, ge=1, description="Blocks.")
    width: int = pydantic.Field(default=128, ge=4, multiple_of=2, description="Length of a token vector.")
    heads: int = pydantic.Field(default=4, ge=1, description="Attention heads; must divide width.")
    hidden: int = pydantic.Field(default=384, ge=1, description="Width of the feed-forward layers.")

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> NetworkConfig:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be an even multiple of heads, and {self.width} is not one of {self.heads}"
            )
        return self


class DecodingConfig(Config):
    """How replies are written, where a request does not say it."""

    temperature: float = pydantic.Field(
        default=0.0, ge=0, description="0 takes the most probable token; larger values draw more freely."
    )
    top_k: int = pydantic.Field(default=0, ge=0, description="Draw from so many tokens only; 0: from all.")
    top_p: float = pydantic.Field(
        default=1.0, gt=0, le=1, description="Draw from the most probable tokens with this probability only."
    )
    seed: int = pydantic.Field(default=0, description="Seed of the draws.")
    max_tokens: int = pydantic.Field(default=64, ge=1, description="Most tokens of a reply.")
    stop: tuple[str, ...] = pydantic.Field(
        default=(), description="Strings at which a reply ends; they are not part of it."
    )


class EvaluationConfig(Config):
    """What validation and `evaluate` measure beside loss and perplexity."""

    replies: int = pydantic.Field(
        default=0, ge=0, description="Conversations to reply to, for distinct-1 and distinct-2; 0: none."
    )
    candidates: int = pydantic.Field(
        default=10,
        ge=2,
        le=100,
        description="Replies among which the right one must be found, itself included.",
    )
    retrieval: int = pydantic.Field(
        default=0, ge=0, description="Conversations in which to look for the right reply; 0: none."
    )


class DialogueTraining(TrainingConfig):
    """Training settings with the defaults for dialogue."""

    epochs: int = pydantic.Field(default=10, ge=1, description="Passes over the training data.")
    batch_tokens: int | None = pydantic.Field(
        default=1024,
        ge=1,
        description="Size of a training batch in tokens, padding included; null: batch_size.",
    )
    learning_rate: Any = pydantic.Field(
        default=2e-3, description="Peak rate, a kerasft.Layerwise, or a Keras schedule."
    )
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = pydantic.Field(
        default="cosine", description="Shape of the rate after the warm-up."
    )
    warmup: float = pydantic.Field(
        default=0.1, ge=0, description="Warm-up: a fraction of all steps below 1, else steps."
    )
    clip_norm: float | None = pydantic.Field(
        default=1.0, gt=0, description="Largest global norm of the gradients."
    )


class DialogueConfig(TaskConfig):
    """Everything that can be said of a dialogue task.

    Example:
        >>> DialogueConfig(context=128).decoding.max_tokens
        64
    """

    turns: str = pydantic.Field(
        default="turns",
        min_length=1,
        description="Column of the conversation, a list of turns; messages, conversation and dialogue are "
        "found too.",
    )
    roles: dict[str, Literal["system", "user", "assistant", "skip"]] = pydantic.Field(
        default_factory=dict,
        description="What other speakers stand for, such as wizard: assistant; skip leaves them out.",
    )
    system: str = pydantic.Field(
        default="",
        description="What stands first where a conversation has no turn of the system; may be empty.",
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="From scratch.")
    vocabulary: VocabularyConfig = pydantic.Field(
        default_factory=VocabularyConfig, description="Subword units, from scratch."
    )
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1, description="Dropout rate.")
    context: int = pydantic.Field(
        default=256,
        ge=16,
        description="Most tokens of a conversation with its reply; older turns are left out.",
    )
    pack: bool = pydantic.Field(
        default=True,
        description="Put several conversations into one row of `context` tokens for training, none of which "
        "sees another.",
    )
    decoding: DecodingConfig = pydantic.Field(default_factory=DecodingConfig, description="Replies.")
    evaluation: EvaluationConfig = pydantic.Field(
        default_factory=EvaluationConfig, description="Beside loss and perplexity."
    )
    training: DialogueTraining = pydantic.Field(
        default_factory=DialogueTraining, description="Optimizer, rates, batches, epochs."
    )

    @pydantic.model_validator(mode="after")
    def _check_room(self) -> DialogueConfig:
        if self.decoding.max_tokens > self.context - 8:
            raise ValueError(
                f"decoding.max_tokens={self.decoding.max_tokens} leaves no room for a question in a context "
                f"of {self.context} tokens; set it to {self.context - 8} at most, or context larger"
            )
        return self
