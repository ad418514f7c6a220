"""What all kinds of answers share."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import DataError, OrderError
from kerasft.training.update import Batch
from kerasft_image.config import ImageConfig


class Kind:
    """One kind of answer.

    Args:
        config: Of the task.

    Attributes:
        names: The labels; None until they are known.
    """

    monitor: ClassVar[str]
    target: ClassVar[str]

    def __init__(self, config: ImageConfig) -> None:
        self.config = config
        self.names: tuple[str, ...] | None = config.labels

    @property
    def known_names(self) -> tuple[str, ...]:
        """The labels.

        Raises:
            OrderError: They are not known yet.
        """
        if self.names is None:
            raise OrderError(
                "The labels are not known yet: call finetune(data), which learns them, or give labels=[...] "
                "before build()."
            )
        return self.names

    def field(self) -> Field:
        """Returns the column of labels."""
        raise NotImplementedError

    def adapt(self, source: Source) -> None:
        """Learns the labels from the training data, unless the config names them.

        Raises:
            DataError: There are too few.
        """
        if self.names is None:
            self.names = source.classes(self.target)

    def targets(self, raw: dict[str, Any]) -> tf.Tensor:
        """Returns what loss and metrics compare with."""
        raise NotImplementedError

    def hot(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns targets as shares of each label, float32 `[batch, labels]`, as augmentation mixes them."""
        raise NotImplementedError

    def last_layer(self, name: str = "logits") -> keras.layers.Layer:
        """Returns the last layer of a head, which scores each label."""
        # float32 also under mixed precision: a softmax over half floats loses its small scores.
        return keras.layers.Dense(len(self.known_names), dtype="float32", name=name)

    def head(self, vector: Any, embedding: Any) -> tuple[dict[str, Any], list[keras.Layer]]:
        """Returns the symbolic outputs of a model of one head, `logits` and `embedding`, and their layers.

        Args:
            vector: float32 `[batch, channels]`, what the backbone sees, after dropout.
            embedding: The same before dropout.
        """
        logits = self.last_layer()
        return {"logits": logits(vector), "embedding": embedding}, [logits]

    def loss(self, batch: Batch, outputs: dict[str, Any]) -> tf.Tensor:
        """Returns one loss per example: of several heads, the mean of theirs, so that each learns alone."""
        members = outputs.get("members", [outputs["logits"]])
        return tf.add_n([self.loss_of(batch, logits) for logits in members]) / len(members)

    def loss_of(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        """Returns one loss per example of what one head says, `[batch, labels]`."""
        raise NotImplementedError

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """Returns fresh metrics."""
        raise NotImplementedError

    def score(self, batch: Batch, outputs: dict[str, Any]) -> tuple[Any, Any]:
        """Returns what the metrics compare."""
        raise NotImplementedError

    def answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns named tensors for people and clients."""
        raise NotImplementedError

    def resources(self) -> list[Any]:
        """Returns variables that answers use beside the model's weights."""
        return []

    def example(self, count: int) -> list[Any]:
        """Returns labels for an example of so many pictures of two sorts in turn."""
        raise NotImplementedError

    def index_of(self, names: tf.Tensor) -> tf.Tensor:
        """Returns the number of each label, int32 `[names]`."""
        known = tf.equal(names[:, None], tf.constant(self.known_names)[None])
        return tf.argmax(known, -1, output_type=tf.int32)

    def _check_two(self, source: Source) -> None:
        if len(self.known_names) < 2:
            raise DataError(
                f"{source.name} has only one label, {self.known_names[0]!r}; a classifier needs examples of "
                "two: put the pictures of each into a folder of its own, or name a column of labels."
            )
