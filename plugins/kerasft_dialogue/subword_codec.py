"""Subword units with three more tokens, one for each role."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from kerasft.generation import END, PAD, START, UNKNOWN, Subwords
from kerasft_dialogue.conversations import ROLES
from kerasft_dialogue.template import Template

_FILE = "units.model"


class SubwordCodec:
    """The tokens of a network from scratch: a turn is the token of its role, its text, and an end.

    Args:
        units: The subword units.

    Attributes:
        size: Number of tokens.
        template: The tokens around texts.
        units: The subword units.
    """

    def __init__(self, units: Subwords) -> None:
        self.units = units
        self.size = units.size + len(ROLES)
        roles = {role: (units.size + index,) for index, role in enumerate(ROLES)}
        banned = (PAD, UNKNOWN, START, *(token for tokens in roles.values() for token in tokens))
        self.template = Template(before=roles, after=(END,), banned=banned)

    @classmethod
    def train(
        cls, texts: Iterable[str], *, size: int, kind: Literal["bpe", "unigram"], coverage: float
    ) -> SubwordCodec:
        """Learns the units, `size` of them with the tokens of the roles."""
        return cls(Subwords.train(texts, size=size - len(ROLES), kind=kind, coverage=coverage))

    def encode(self, text: Any) -> tf.RaggedTensor:
        return self.units.encode(text, limit=1 << 30)

    def decode(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return self.units.decode(tokens)

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        self.units.save(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> SubwordCodec:
        """Reads what `save` wrote."""
        return cls(Subwords.load(folder / _FILE))

    @property
    def resources(self) -> list[Any]:
        """What an export must track."""
        return [self.units]
