"""What all kinds of answers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import keras
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import OrderError
from kerasft.training.update import Batch
from kerasft_text.config import TextConfig
from kerasft_text.tokenization import Encoding, Tokenizer
from kerasft_text.wordpiece import string_table

TEXT = Field(
    name="text",
    kind="text",
    aliases=(
        "sentence",
        "review",
        "content",
        "utterance",
        "query",
        "question",
        "document",
        "comment",
        "body",
        "message",
    ),
)

EXAMPLES = (
    "play some quiet jazz in the kitchen",
    "will it rain in Oslo on Sunday?",
    "what a wonderful little film",
    "the worst  meal I have had in years...",
    "add this track to my running list",
    "book a table for four in Paris tonight",
    "早餐很好，房间也很干净",
    "is it warm enough for a picnic tomorrow",
)


class Kind:
    """One kind of answer.

    Args:
        config: of the task.

    Attributes:
        call: what clients call asking for it.
        names: the labels or entity types; None until they are known.
    """

    monitor: ClassVar[str] = "val_loss"
    call: ClassVar[str]

    def __init__(self, config: TextConfig):
        self.config = config
        self.names: tuple[str, ...] | None = config.labels
        self._table: tf.lookup.StaticHashTable | None = None

    # What is learned before the model is built

    def fields(self) -> tuple[Field, ...]:
        """Returns the columns to read."""
        raise NotImplementedError

    def texts(self, source: Source) -> Iterator[str]:
        """Goes through the texts of a source, as the tokenizer will see them."""
        yield from source.iterate("text")

    def adapt(self, source: Source) -> None:
        """Learns from the training data what the config leaves open."""

    def warn(self, source: Source, encode: Callable[[tf.Tensor], Encoding]) -> None:
        """Warns of what no model can learn from the training data; called after `adapt`."""

    def state(self) -> dict[str, Any]:
        """Returns what `adapt` learned, JSON-able."""
        return {"labels": None if self.names is None else list(self.names)}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        self.names = None if state["labels"] is None else tuple(state["labels"])

    @property
    def outputs(self) -> int:
        """How many outputs the model needs.

        Raises:
            OrderError: the labels are not known yet.
        """
        return len(self.known_names)

    @property
    def known_names(self) -> tuple[str, ...]:
        """The labels.

        Raises:
            OrderError: they are not known yet.
        """
        if self.names is None:
            raise OrderError(
                "The labels are not known yet: call finetune(data), which learns them, or give labels=[...] "
                "before build()."
            )
        return self.names

    def check_tokenizer(self, tokenizer: type[Tokenizer]) -> None:
        """Refuses a tokenizer that cannot serve this kind of answer."""

    # In the graph

    def text(self, raw: dict[str, Any]) -> tf.Tensor:
        """Returns the texts among the raw columns, string [batch]."""
        return raw["text"]

    def request(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Returns the texts of rows of data, as clients send them."""
        return {"text": rows["text"]}

    def features(self, encoding: Encoding) -> dict[str, Any]:
        """Returns what the answer needs beyond the token ids."""
        return {}

    def targets(self, raw: dict[str, Any], encoding: Encoding) -> dict[str, Any]:
        """Returns what loss and metrics compare with."""
        raise NotImplementedError

    def loss(self, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
        """Returns one loss per example."""
        raise NotImplementedError

    def divergence(self, batch: Batch, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        """Returns how far apart two outputs for the same examples are, one value per example."""
        raise NotImplementedError

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """Returns fresh metrics."""
        raise NotImplementedError

    def score(self, batch: Batch, outputs: tf.Tensor) -> tuple[Any, Any]:
        """Returns what the metrics compare."""
        raise NotImplementedError

    def postprocess(self, outputs: tf.Tensor, features: dict[str, Any]) -> dict[str, Any]:
        """Returns the named tensors of the answer."""
        raise NotImplementedError

    def example(self) -> dict[str, list[Any]]:
        """Returns a few rows, targets included."""
        raise NotImplementedError

    def index_of(self, names: tf.Tensor) -> tf.Tensor:
        """Looks up the number of each label, int32."""
        if self._table is None:
            with tf.init_scope():
                self._table = string_table({name: i for i, name in enumerate(self.known_names)}, default=-1)
        return self._table.lookup(names)
