"""Encoders: token ids in, a vector for each token out; and the models built on them.

Every model takes one input, `token_ids` (int32 `[batch, length]`, padded with 0), finds the padding itself,
and gives the same answer however far a text is padded.
"""

from __future__ import annotations

from kerasft_text.encoders.base import Encoder
from kerasft_text.encoders.head import build_model, pooled
from kerasft_text.encoders.pretrained import pretrained_encoder
from kerasft_text.encoders.scratch import scratch_encoder

__all__ = ["Encoder", "build_model", "pooled", "pretrained_encoder", "scratch_encoder"]
