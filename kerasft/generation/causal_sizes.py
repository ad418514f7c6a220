"""What a causal language model is, weights apart."""

from __future__ import annotations

import dataclasses
from typing import Literal

from kerasft.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalSizes:
    """What a causal language model is, weights apart; by default one of the Llama family.

    Attributes:
        vocabulary: Number of tokens.
        width: Length of a token vector.
        layers: Number of blocks.
        heads: Heads that ask.
        kv_heads: Heads that answer, each to `heads / kv_heads` of those.
        size: Length of a vector of a head, even where positions are rotary.
        hidden: Width of the feed-forward layers.
        base: Largest wavelength of the rotary positions, over 2 pi.
        stretch: What rotary positions are divided by.
        bands: How Llama 3.1 slows the long wavelengths among them: the factor, the bounds of the wavelengths
            between which it sets in, as parts of a context, and the tokens of that context; () does not.
        waves: What the wavelengths of rotary positions are multiplied by, one by one, as in Phi-3; or ().
        swell: What rotary positions multiply vectors by.
        rotary: Of each block its own `base` and `stretch`, where they differ; a base of 0 stands for a block
            that knows no positions.
        rotary_size: Length of the part of a head's vectors that turns, as in GPT-NeoX; 0: all of it does.
        positions: Number of positions that have a vector, as in GPT-2, and are not rotary then; 0: none has.
        lean: Scores fall with distance instead, by the slopes of ALiBi times this, as in BLOOM; 0: they do
            not.
        epsilon: Added to the mean square, or the variance, in normalisation.
        dropout: Dropout rate behind each part of a block.
        bias: Whether queries, keys and values have a bias.
        dense_bias: Whether the other dense layers of a block have one.
        scaled: Whether token vectors are multiplied by the root of their length.
        embedding_norm: Whether they are normalised, as in BLOOM.
        norm: Normalisation by the mean square, or by mean and variance with a bias.
        post_norm: Whether what a part of a block adds is normalised too, as in Gemma 2.
        head_norm: Whether queries and keys are normalised head by head, as in Qwen 3.
        parallel: Whether the feed-forward layers of a block read what its attention reads, as in GPT-NeoX.
        activation: Of the feed-forward layers; gelu is its approximation by tanh, gelu_exact is not.
        gated: Whether these have a gate.
        experts: How many experts a block has in their place, see `Experts`; 0: none.
        experts_per_token: How many of them a token uses.
        expert_hidden: Width inside an expert.
        shared_expert: Width of the feed-forward layers that every token uses beside them, as in Qwen's; 0:
            there are none.
        experts_normalised: Whether the weights of those that a token uses are made to sum to one.
        balance: Factor of the loss that spreads tokens over the experts in training; 0: there is none.
        dense_blocks: Numbers of the blocks that have the feed-forward layers nevertheless.
        tied: Whether the table of token vectors makes the logits too.
        score_cap: Attention scores are bent to stay below it; 0: they are not.
        logit_cap: The same of logits.

    Raises:
        ConfigError: The numbers do not fit together.

    Example:
        >>> CausalSizes(vocabulary=10, width=8, layers=1, heads=2, kv_heads=1, size=4, hidden=16).base
        10000.0
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    size: int
    hidden: int
    base: float = 10000.0
    stretch: float = 1.0
    bands: tuple[float, ...] = ()
    waves: tuple[float, ...] = ()
    swell: float = 1.0
    rotary: tuple[tuple[float, float], ...] = ()
    rotary_size: int = 0
    positions: int = 0
    lean: float = 0.0
    epsilon: float = 1e-5
    dropout: float = 0.0
    bias: bool = False
    dense_bias: bool = False
    scaled: bool = False
    embedding_norm: bool = False
    norm: Literal["rms", "layer"] = "rms"
    post_norm: bool = False
    head_norm: bool = False
    parallel: bool = False
    activation: Literal["silu", "gelu", "gelu_exact", "relu"] = "silu"
    gated: bool = True
    experts: int = 0
    experts_per_token: int = 0
    expert_hidden: int = 0
    shared_expert: int = 0
    experts_normalised: bool = True
    balance: float = 0.0
    dense_blocks: tuple[int, ...] = ()
    tied: bool = True
    score_cap: float = 0.0
    logit_cap: float = 0.0

    def __post_init__(self) -> None:
        # JSON knows no tuples.
        object.__setattr__(self, "bands", tuple(self.bands))
        object.__setattr__(self, "waves", tuple(self.waves))
        object.__setattr__(self, "rotary", tuple((base, stretch) for base, stretch in self.rotary))
        object.__setattr__(self, "dense_blocks", tuple(self.dense_blocks))
        if self.heads % self.kv_heads:
            raise ConfigError(f"kv_heads must divide heads, and {self.kv_heads} does not divide {self.heads}")
        turned = self.rotary_size or self.size
        if self.turns and (turned % 2 or turned > self.size):
            raise ConfigError(
                f"what rotary positions turn must be even and within the size of a head, {self.size}, and it "
                f"is {turned}"
            )
        if self.positions and self.lean:
            raise ConfigError("positions have vectors, or scores lean, but not both")
        if len(self.bands) not in (0, 4):
            raise ConfigError(f"bands are four numbers or none, and they are {self.bands}")
        if len(self.waves) not in (0, turned // 2):
            raise ConfigError(
                f"waves are one number for each of {turned // 2} or none, and they are {len(self.waves)}"
            )
        if self.experts:
            self._check_experts()
        if len(self.rotary) not in (0, self.layers):
            raise ConfigError(
                f"rotary must be of each block, and it is of {len(self.rotary)} of {self.layers}"
            )

    def _check_experts(self) -> None:
        if not 1 <= self.experts_per_token <= self.experts:
            raise ConfigError(
                f"experts_per_token must be from 1 to the number of experts, {self.experts}, and it is "
                f"{self.experts_per_token}"
            )
        if self.expert_hidden < 1:
            raise ConfigError(f"expert_hidden must be at least 1, and it is {self.expert_hidden}")
        if self.activation != "silu" or not self.gated or self.dense_bias:
            raise ConfigError("experts have a gate, silu and no biases, and so must dense_blocks")

    @property
    def turns(self) -> bool:
        """Whether positions are rotary."""
        return not (self.positions or self.lean)
