"""A user is what they chose last: self-attention over the history."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.layers import Table
from kerasft_recommender.scorers.vectored import Vectored
from kerasft_recommender.vocabulary import UNKNOWN


class SASRec(Vectored):
    """The dot product of an item's vector with what causal self-attention makes of the last choices.

    There is no table of users: whoever has a history has a vector, without training. Blocks normalise first.
    Source: Kang and McAuley, 2018, "Self-Attentive Sequential Recommendation".

    Args:
        catalogue: The histories of users, oldest choice first.
        width: Length of a vector.
        blocks: Of self-attention and two dense layers.
        heads: Of attention.
        length: How many of the last choices count.
        dropout: Of inputs and of what blocks add.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
        >>> scorer = SASRec(catalogue, width=4, blocks=1, heads=1, length=8, dropout=0.1, deviation=0.1)
        >>> scorer(tf.constant([1, 2]), tf.constant([[2, 1, 1], [2, 2, 1]])).shape
        TensorShape([2, 3])
    """

    biased = False

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        width: int,
        blocks: int,
        heads: int,
        length: int,
        dropout: float,
        deviation: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.catalogue = catalogue
        self.length = length
        self.item_table = Table(catalogue.items.capacity, width, deviation=deviation, name="items")
        self.encoder = Encoder(
            width=width, blocks=blocks, heads=heads, length=length, dropout=dropout, name="encoder"
        )
        self.encoder(tf.zeros((1, 1, width)))
        self.groups = {"item_table": [self.item_table], "encoder": [self.encoder]}

    def encode(self, items: Any, *, training: bool) -> tf.Tensor:
        """Returns what a history amounts to after each of its items: `[n, m, width]` for rows `[n, m]`."""
        return self.encoder(self.item_table(items), training=training)

    def user(self, rows: Any) -> tf.Tensor:
        return self._last(self.catalogue.histories.recent(rows, self.length))

    def _last(self, items: tf.RaggedTensor) -> tf.Tensor:
        lengths = items.row_lengths()
        encoded = self.encode(items.to_tensor(UNKNOWN), training=False)
        encoded = tf.concat([tf.zeros_like(self.item_table(lengths))[:, None], encoded], 1)
        return tf.gather(encoded, lengths, batch_dims=1)

    def fold(self, items: tf.Tensor, chosen: tf.Tensor, folding: Any) -> tf.Tensor:
        kept = tf.ragged.boolean_mask(items, chosen)
        return self._last(kept[:, -self.length :])


class Encoder(keras.layers.Layer):
    """Causal self-attention with learned positions.

    Args:
        width: Length of a vector.
        blocks: How many.
        heads: Of attention.
        length: Largest number of positions.
        dropout: Of inputs and of what blocks add.

    Example:
        >>> Encoder(width=4, blocks=1, heads=2, length=8, dropout=0.0)(tf.ones((2, 3, 4))).shape
        TensorShape([2, 3, 4])
    """

    def __init__(
        self, *, width: int, blocks: int, heads: int, length: int, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        layers = keras.layers
        self.length = length
        self.positions = self.add_weight(
            name="positions", shape=(length, width), initializer=keras.initializers.RandomNormal(stddev=0.02)
        )
        self.drop = layers.Dropout(dropout, dtype="float32")
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype="float32", name="norm")
        self.blocks = [
            {
                "attention_norm": layers.LayerNormalization(epsilon=1e-6, name=f"attention_norm_{i}"),
                "attention": layers.MultiHeadAttention(heads, width // heads, name=f"attention_{i}"),
                "hidden_norm": layers.LayerNormalization(epsilon=1e-6, name=f"hidden_norm_{i}"),
                "hidden": layers.Dense(width, activation="relu", name=f"hidden_{i}"),
                "output": layers.Dense(width, name=f"output_{i}"),
            }
            for i in range(blocks)
        ]

    def call(self, vectors: Any, training: bool = False) -> tf.Tensor:
        """Returns `[n, m, width]` for the vectors of items `[n, m, width]`; m is at most the length."""
        count = tf.shape(vectors)[1]
        scale = tf.sqrt(tf.cast(tf.shape(vectors)[-1], tf.float32))
        hidden = self.drop(vectors * scale + self.positions[:count], training=training)
        for block in self.blocks:
            query = block["attention_norm"](hidden)
            seen = block["attention"](query, query, use_causal_mask=True)
            hidden += self.drop(tf.cast(seen, tf.float32), training=training)
            inner = block["output"](block["hidden"](block["hidden_norm"](hidden)))
            hidden += self.drop(tf.cast(inner, tf.float32), training=training)
        return self.norm(hidden)
