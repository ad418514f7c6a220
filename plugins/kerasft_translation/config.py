"""The settings of the translation task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, TaskConfig, TrainingConfig


class VocabularyConfig(Config):
    """Subword units, learned from the training data."""

    size: int = pydantic.Field(
        default=8000,
        ge=270,
        description="Most entries of a vocabulary, 256 bytes and 4 special ones included.",
    )
    joint: bool = pydantic.Field(
        default=True, description="One vocabulary for both languages; false: one each (other scripts)."
    )
    kind: Literal["bpe", "unigram"] = pydantic.Field(
        default="bpe", description="Byte pair encoding, or SentencePiece's unigram language model."
    )
    coverage: float = pydantic.Field(
        default=0.9998,
        gt=0.9,
        le=1,
        description="Share of characters with entries of their own, the rarest are spelled by bytes; about "
        "0.9995 for Chinese and Japanese.",
    )
    run: str | None = pydantic.Field(
        default=None,
        description="Folder of a run whose vocabulary to keep instead of learning one, as for init_from.",
    )


class TransformerConfig(Config):
    """Encoder and decoder of Vaswani et al. (2017), normalised before each part."""

    encoder_layers: int = pydantic.Field(default=3, ge=1, description="Blocks that read.")
    decoder_layers: int = pydantic.Field(default=3, ge=1, description="Blocks that write.")
    width: int = pydantic.Field(default=256, ge=4, multiple_of=2, description="Length of a token vector.")
    heads: int = pydantic.Field(default=4, ge=1, description="Attention heads; must divide width.")
    hidden: int = pydantic.Field(default=1024, ge=1, description="Width of the feed-forward layers.")
    dropout: float = pydantic.Field(
        default=0.3, ge=0, lt=1, description="Dropout rate; 0.1 for a million sentences and more."
    )
    attention_dropout: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Dropout rate of attention weights."
    )

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> TransformerConfig:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, and {self.heads} does not divide {self.width}")
        return self


class GruConfig(Config):
    """Recurrent encoder and decoder with the attention of Bahdanau et al. (2015)."""

    width: int = pydantic.Field(default=256, ge=4, multiple_of=2, description="Length of a token vector.")
    units: int = pydantic.Field(default=256, ge=1, description="Units of each direction and of the decoder.")
    dropout: float = pydantic.Field(default=0.3, ge=0, lt=1, description="Dropout rate.")


class LengthConfig(Config):
    """Longest sentences, in subword units."""

    source: int = pydantic.Field(default=128, ge=2, description="The rest of a longer text is not read.")
    target: int = pydantic.Field(
        default=128, ge=2, description="Longer translations are cut off in training."
    )


class DecodingConfig(Config):
    """How translations are searched, where a request does not say it."""

    beam: int = pydantic.Field(
        default=4, ge=1, le=32, description="Hypotheses that are followed; 1 is greedy decoding."
    )
    length_penalty: float = pydantic.Field(
        default=1.0, ge=0, description="Larger values favour longer translations; 0 compares sums."
    )
    max_length: int = pydantic.Field(
        default=128,
        ge=1,
        description="Most subword units of a translation; twice those of the source and 16 are a limit too.",
    )


class EvaluationConfig(Config):
    """What validation and `evaluate` measure beside loss and perplexity."""

    translate: bool = pydantic.Field(
        default=True, description="Translate all examples, for BLEU and chrF; slower than the loss."
    )
    beam: int | None = pydantic.Field(
        default=None, ge=1, le=32, description="Beam of these translations; null: that of decoding."
    )
    worst: int = pydantic.Field(default=20, ge=0, description="Worst translations that the report lists.")


class BackTranslationConfig(Config):
    """Synthetic pairs from sentences of the target language alone; off while `texts` is null."""

    texts: str | None = pydantic.Field(
        default=None,
        description="Sentences of the target language: a .txt with one a line, or data with such a column.",
    )
    run: str | None = pydantic.Field(
        default=None, description="Folder of a run that translates the other way round."
    )
    share: float = pydantic.Field(
        default=0.5, gt=0, lt=1, description="Share of the training pairs that is synthetic."
    )
    search: Literal["beam", "greedy", "sample"] = pydantic.Field(
        default="beam", description="How the run translates; beam: as its own settings say."
    )
    tagged: bool = pydantic.Field(
        default=True, description="Let the network know by a token which texts are synthetic."
    )

    @pydantic.model_validator(mode="after")
    def _check_both(self) -> BackTranslationConfig:
        if (self.texts is None) != (self.run is None):
            raise ValueError("back_translation needs both texts and run, or neither")
        return self


class TranslationTraining(TrainingConfig):
    """Training settings with the defaults for translation."""

    epochs: int = pydantic.Field(default=20, ge=1, description="Passes over the training data.")
    batch_tokens: int | None = pydantic.Field(
        default=2048,
        ge=1,
        description="Size of a training batch in subword units, padding included: examples times the longest "
        "of them; null: batch_size.",
    )
    optimizer: Any = pydantic.Field(
        default="adam",
        description="Name of a Keras optimizer, its serialized form, or an object (used as it is).",
    )
    learning_rate: Any = pydantic.Field(
        default=1e-3, description="Peak rate, a kerasft.Layerwise, or a Keras schedule."
    )
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = pydantic.Field(
        default="inverse_sqrt", description="Shape of the rate after the warm-up."
    )
    warmup: float = pydantic.Field(
        default=0.1, ge=0, description="Warm-up: a fraction of all steps below 1, else steps."
    )
    clip_norm: float | None = pydantic.Field(
        default=1.0, gt=0, description="Largest global norm of the gradients."
    )


class TranslationConfig(TaskConfig):
    """Everything that can be said of a translation task.

    Example:
        >>> TranslationConfig(source="en", target="de").transformer.width
        256
    """

    source: str = pydantic.Field(
        default="source", min_length=1, description="Column of the text to translate."
    )
    target: str = pydantic.Field(default="target", min_length=1, description="Column of its translation.")
    architecture: Literal["transformer", "gru"] = pydantic.Field(
        default="transformer", description="A transformer, or recurrent networks with attention."
    )
    vocabulary: VocabularyConfig = pydantic.Field(
        default_factory=VocabularyConfig, description="Subword units."
    )
    transformer: TransformerConfig = pydantic.Field(
        default_factory=TransformerConfig, description="Of the transformer."
    )
    gru: GruConfig = pydantic.Field(default_factory=GruConfig, description="Of gru.")
    lengths: LengthConfig = pydantic.Field(default_factory=LengthConfig, description="Longest sentences.")
    label_smoothing: float = pydantic.Field(
        default=0.1, ge=0, lt=1, description="Share of the target that lies on all of the vocabulary."
    )
    decoding: DecodingConfig = pydantic.Field(default_factory=DecodingConfig, description="Search.")
    evaluation: EvaluationConfig = pydantic.Field(
        default_factory=EvaluationConfig, description="BLEU and chrF."
    )
    back_translation: BackTranslationConfig = pydantic.Field(
        default_factory=BackTranslationConfig, description="Synthetic pairs."
    )
    training: TranslationTraining = pydantic.Field(
        default_factory=TranslationTraining, description="Optimizer, rates, batches, epochs."
    )

    @pydantic.model_validator(mode="after")
    def _check_columns(self) -> TranslationConfig:
        if self.source == self.target:
            raise ValueError(f"source and target are both the column {self.source!r}; name two columns")
        return self
