"""What every architecture is."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from kerasft.generation import PAD, START, TiedEmbedding
from kerasft_translation.config import TranslationConfig


class Sizes(NamedTuple):
    """Sizes of the vocabularies.

    Attributes:
        source: That of the text.
        target: That of the translation; None when both have one.
    """

    source: int
    target: int | None


class Translator:
    """A network that reads a text and writes another.

    Training sees it as `model`, a functional model of `source_ids` and `target_ids`, int32 [batch, length],
    with logits [batch, target length, vocabulary] of each target token from those before it. Decoding calls
    `remember` once and `step` for each token; both use the layers of `model`.

    Args:
        config: That of the task.
        sizes: Those of the vocabularies.

    Attributes:
        model: The functional model.
        groups: Layer groups, input to head: embeddings, encoder..., decoder...
    """

    model: keras.Model

    def __init__(self, config: TranslationConfig, sizes: Sizes) -> None:
        self.groups: dict[str, list[keras.Layer]] = {"embeddings": []}
        width = self._width(config)
        if sizes.target is None:
            self.source_embedding = self.target_embedding = TiedEmbedding(
                sizes.source, width, name="embedding"
            )
            self.groups["embeddings"] = [self.source_embedding]
        else:
            self.source_embedding = TiedEmbedding(sizes.source, width, name="source_embedding")
            self.target_embedding = TiedEmbedding(sizes.target, width, name="target_embedding")
            self.groups["embeddings"] = [self.source_embedding, self.target_embedding]

    def _width(self, config: TranslationConfig) -> int:
        raise NotImplementedError

    def remember(self, source_ids: Any) -> Any:
        """Returns all that writing needs of the text, nested tensors [batch, ...].

        Args:
            source_ids: int32 [batch, length], padded with zeros.
        """
        raise NotImplementedError

    def start(self, memory: Any, width: Any) -> tuple[Any, Any]:
        """Returns the state before the first token and its shapes, see `kerasft.generation.beam_search`.

        Args:
            memory: From `remember`.
            width: Hypotheses of each row.
        """
        raise NotImplementedError

    def step(self, tokens: Any, position: Any, state: Any, memory: Any) -> tuple[Any, Any]:
        """Returns logits [batch, width, vocabulary] of the next token, and the next state.

        Args:
            tokens: int32 [batch, width], the last ones.
            position: Theirs, a scalar from 0.
            state: From `start` or the step before.
            memory: From `remember`.
        """
        raise NotImplementedError


def inputs() -> tuple[Any, Any]:
    """Returns the inputs `source_ids` and `target_ids` of a functional model."""
    return (
        keras.Input((None,), dtype="int32", name="source_ids"),
        keras.Input((None,), dtype="int32", name="target_ids"),
    )


def visible(source_ids: Any) -> Any:
    """Returns which ids are no padding, bool [batch, length]."""
    return ops.not_equal(source_ids, PAD)


def shifted(target_ids: Any) -> Any:
    """Returns what has been written before each token, int32 [batch, length], a start first."""
    return ops.pad(target_ids[:, :-1], ((0, 0), (1, 0)), constant_values=START)
