"""Networks that translate; each also writes token by token, from what it keeps."""

from __future__ import annotations

from kerasft_translation.models.base import Sizes, Translator
from kerasft_translation.models.gru import Gru
from kerasft_translation.models.transformer import Transformer

ARCHITECTURES: dict[str, type[Translator]] = {"transformer": Transformer, "gru": Gru}

__all__ = ["ARCHITECTURES", "Gru", "Sizes", "Transformer", "Translator"]
