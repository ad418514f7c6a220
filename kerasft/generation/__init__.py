"""What tasks that write text share: subword units, layers with a memory, and decoding as a graph loop.

Subword units need the packages of `pip install 'kerasft[translation]'`; the rest needs TensorFlow only.
"""

from __future__ import annotations

from kerasft.generation.byte_bpe import ByteBpe, byte_alphabet
from kerasft.generation.causal import CausalBlock, CausalLM, Linear, Past, hide
from kerasft.generation.causal_sizes import CausalSizes
from kerasft.generation.experts import Experts
from kerasft.generation.layers import Attention, FeedForward, TiedEmbedding, sinusoids
from kerasft.generation.loss import sequence_losses, smoothed_losses, token_losses
from kerasft.generation.packed import PackedLM
from kerasft.generation.rotary import angles, rotate
from kerasft.generation.sampling import draw, sample
from kerasft.generation.search import Found, beam_search
from kerasft.generation.sentence_pieces import SentencePieces
from kerasft.generation.subwords import END, PAD, START, UNKNOWN, Subwords

__all__ = [
    "END",
    "PAD",
    "START",
    "UNKNOWN",
    "Attention",
    "ByteBpe",
    "CausalBlock",
    "CausalLM",
    "CausalSizes",
    "Experts",
    "FeedForward",
    "Found",
    "Linear",
    "PackedLM",
    "Past",
    "SentencePieces",
    "Subwords",
    "TiedEmbedding",
    "angles",
    "beam_search",
    "byte_alphabet",
    "draw",
    "hide",
    "rotate",
    "sample",
    "sequence_losses",
    "sinusoids",
    "smoothed_losses",
    "token_losses",
]
