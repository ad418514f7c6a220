"""The tokens of pretrained models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasft.generation import ByteBpe, SentencePieces
from kerasft_dialogue.marks import choose_marks, write_marks

_FILES: dict[str, type[ByteBpe] | type[SentencePieces]] = {
    "tokens.json": ByteBpe,
    "pieces.json": SentencePieces,
}


class ChatCodec:
    """The vocabulary of a pretrained model, and how it writes turns.

    Args:
        units: The vocabulary.
        template: Name of the template, or auto.

    Raises:
        PretrainedError: The vocabulary has no such tokens.

    Attributes:
        size: Number of tokens.
        template: The tokens around texts.
        units: The vocabulary.
    """

    def __init__(self, units: ByteBpe | SentencePieces, *, template: str = "auto") -> None:
        self.units = units
        self.size = units.size

        def encode(texts: Sequence[str]) -> list[list[int]]:
            return units.encode(tf.constant(list(texts), tf.string)).to_list()

        self.template = write_marks(choose_marks(template, units.special), units.special, encode)

    def encode(self, text: Any) -> tf.RaggedTensor:
        return self.units.encode(text)

    def decode(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return self.units.decode(tokens)

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        name = next(name for name, kind in _FILES.items() if isinstance(self.units, kind))
        self.units.save(folder / name)

    @classmethod
    def load(cls, folder: Path, *, template: str = "auto") -> ChatCodec:
        """Reads what `save` wrote."""
        name = next((name for name in _FILES if (folder / name).is_file()), next(iter(_FILES)))
        return cls(_FILES[name].load(folder / name), template=template)

    @property
    def resources(self) -> list[Any]:
        """What an export must track."""
        return [self.units]
