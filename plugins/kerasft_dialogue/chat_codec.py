"""The tokens of pretrained chat models that write turns as ChatML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasft.errors import PretrainedError
from kerasft.generation import ByteBpe
from kerasft_dialogue.conversations import ROLES
from kerasft_dialogue.template import Template

_FILE = "tokens.json"
_START, _END = "<|im_start|>", "<|im_end|>"


class ChatCodec:
    """Bytes in pairs; a turn is `<|im_start|>ROLE`, a new line, its text, `<|im_end|>` and a new line.

    Args:
        bpe: The tokenizer.

    Raises:
        PretrainedError: It has no such tokens.

    Attributes:
        size: Number of tokens.
        template: The tokens around texts.
        bpe: The tokenizer.
    """

    def __init__(self, bpe: ByteBpe) -> None:
        self.bpe = bpe
        self.size = bpe.size
        marks = [bpe.special.get(mark) for mark in (_START, _END)]
        if None in marks:
            raise PretrainedError(
                f"the tokenizer has no {_START} and {_END}, so it is unknown how the model writes turns: "
                "take a chat model that writes ChatML"
            )
        start, end = (int(mark) for mark in marks if mark is not None)
        *before, after = bpe.encode(tf.constant([*(f"{role}\n" for role in ROLES), "\n"])).to_list()
        self.template = Template(
            before={role: (start, *tokens) for role, tokens in zip(ROLES, before, strict=True)},
            after=(end, *after),
            banned=tuple(number for number in bpe.special.values() if number != end),
        )

    def encode(self, text: Any) -> tf.RaggedTensor:
        return self.bpe.encode(text)

    def decode(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        return self.bpe.decode(tokens)

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        self.bpe.save(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> ChatCodec:
        """Reads what `save` wrote."""
        return cls(ByteBpe.load(folder / _FILE))

    @property
    def resources(self) -> list[Any]:
        """What an export must track."""
        return [self.bpe]
