"""The settings of the dialogue task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, FinetuningConfig, TaskConfig, with_defaults


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
    run: str | None = pydantic.Field(
        default=None,
        description="Folder of a run whose vocabulary to keep instead of learning one, as for init_from.",
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


class ExportConfig(Config):
    """What an export holds."""

    weights: Literal["float32", "bfloat16", "int8"] = pydantic.Field(
        default="float32",
        description="How weights are kept; bfloat16 makes the export twice smaller, int8 four times; int8 "
        "is slower on a CPU, bfloat16 on one without AVX-512.",
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
    prior: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a reply's log probability after nothing that its score is lowered by.",
    )


class DialogueTraining(FinetuningConfig):
    """Training settings with the defaults for dialogue; some depend on the model."""

    epochs: int = pydantic.Field(
        default=10, ge=1, description="Passes over the training data; 1 by default of a pretrained model."
    )
    batch_tokens: int | None = pydantic.Field(
        default=1024,
        ge=1,
        description="Size of a training batch in tokens, padding included; 512 by default of a pretrained "
        "model; null: batch_size.",
    )
    learning_rate: Any = pydantic.Field(
        default=None, description="Peak rate; null: 2e-3 from scratch, 1e-3 of a pretrained model."
    )
    weight_decay: float | None = pydantic.Field(
        default=None, ge=0, description="Decoupled weight decay; never on biases, norms and other vectors."
    )
    feature_cache: bool = pydantic.Field(
        default=False,
        description="Compute the outputs of a frozen, deterministic prefix once and reuse them: of text "
        "they take much more room than the text.",
    )


_FROM_SCRATCH = {"training": {"learning_rate": 2e-3, "epochs": 10, "batch_tokens": 1024}}
_PRETRAINED = {"training": {"learning_rate": 1e-3, "epochs": 1, "batch_tokens": 512}}


class DialogueConfig(TaskConfig):
    """Everything that can be said of a dialogue task.

    Example:
        >>> DialogueConfig().training.learning_rate, DialogueConfig(model="smollm2").training.learning_rate
        (0.002, 0.001)
    """

    model: str = pydantic.Field(
        default="scratch",
        min_length=1,
        description="scratch; or a pretrained model: smollm2, a KerasHub preset of GPT-2, Llama, Mistral, "
        "Qwen or Gemma (its name, kaggle://..., hf://org/model or a folder), a folder with a GGUF file or a "
        "Hugging Face Llama.",
    )
    template: Literal["auto", "chatml", "llama3", "phi3", "gemma", "plain"] = pydantic.Field(
        default="auto",
        description="How a pretrained model writes turns; auto: by the tokens that it has, plain where it "
        "knows no turns, as GPT-2.",
    )
    lora: int = pydantic.Field(
        default=8,
        ge=0,
        description="Rank of the adapters that train of a pretrained model where finetune() is not told what "
        "to freeze; 0: all of it trains.",
    )
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
    system: str | None = pydantic.Field(
        default=None,
        description="What stands first where a conversation has no turn of the system; null: what the "
        "template of a pretrained model says, else nothing.",
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="From scratch.")
    vocabulary: VocabularyConfig = pydantic.Field(
        default_factory=VocabularyConfig, description="Subword units, from scratch."
    )
    dropout: float | None = pydantic.Field(
        default=None, ge=0, lt=1, description="Dropout rate; null: 0.1 from scratch, 0 of a pretrained model."
    )
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
    export: ExportConfig = pydantic.Field(default_factory=ExportConfig, description="What an export holds.")
    evaluation: EvaluationConfig = pydantic.Field(
        default_factory=EvaluationConfig, description="Beside loss and perplexity."
    )
    training: DialogueTraining = pydantic.Field(
        default_factory=DialogueTraining, description="Optimizer, rates, batches, epochs."
    )

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from pretrained weights."""
        return self.model != "scratch"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_model(cls, values: Any) -> Any:
        chosen = values.get("model", "scratch") if isinstance(values, dict) else "scratch"
        defaults = _FROM_SCRATCH if chosen == "scratch" else _PRETRAINED
        return with_defaults(values, defaults, nullable=["training.batch_tokens"])

    @pydantic.model_validator(mode="after")
    def _check_template(self) -> DialogueConfig:
        if self.template != "auto" and not self.pretrained:
            raise ValueError(
                f"template={self.template} is for pretrained models; from scratch each role has a token"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_room(self) -> DialogueConfig:
        if self.decoding.max_tokens > self.context // 2:
            raise ValueError(
                f"decoding.max_tokens={self.decoding.max_tokens} is more than half of a context of "
                f"{self.context} tokens; set it to {self.context // 2} at most, or context larger"
            )
        return self
