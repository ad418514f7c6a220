"""A causal language model of the Llama family, from scratch or converted, whose past can be kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from kerasft import _compat
from kerasft.errors import ConfigError
from kerasft.generation.layers import TiedEmbedding

_HIDDEN = -3e4  # added to the scores of what must not be seen; float16 holds it


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalSizes:
    """What a causal language model is, weights apart.

    Attributes:
        vocabulary: Number of tokens.
        width: Length of a token vector.
        layers: Number of blocks.
        heads: Heads that ask.
        kv_heads: Heads that answer, each to `heads / kv_heads` of those.
        size: Length of a vector of a head, even.
        hidden: Width of the feed-forward layers.
        base: Largest wavelength of the rotary positions, over 2 pi.
        epsilon: Added to the mean square in normalisation.
        dropout: Dropout rate behind each part of a block.
        bias: Whether queries, keys and values have a bias.
        scaled: Whether token vectors are multiplied by the root of their length.

    Raises:
        ConfigError: The numbers do not fit together.

    Example:
        >>> CausalSizes(vocabulary=10, width=8, layers=1, heads=2, kv_heads=1, size=4, hidden=16).base
        10000.0
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    size: int
    hidden: int
    base: float = 10000.0
    epsilon: float = 1e-5
    dropout: float = 0.0
    bias: bool = False
    scaled: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ConfigError(f"kv_heads must divide heads, and {self.kv_heads} does not divide {self.heads}")
        if self.size % 2:
            raise ConfigError(f"the size of a head must be even for rotary positions, and it is {self.size}")


class Past(NamedTuple):
    """What is kept of tokens that were read.

    Attributes:
        keys: float [batch, kv heads, length, size] of each block.
        values: The same.
        hidden: float32 [batch, length], 0 where a token may be seen, else very negative.
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    hidden: Any


def angles(positions: Any, size: int, *, base: float) -> tuple[Any, Any]:
    """Returns cosines and sines of the angles by which `rotate` turns.

    Args:
        positions: int32 [batch or 1, length].
        size: Length of a vector.
        base: The largest wavelength, over 2 pi.

    Returns:
        Two, float32 [batch or 1, 1, length, size / 2].
    """
    half = size // 2
    rates = ops.exp(ops.arange(half, dtype="float32") * (-math.log(base) / half))
    turned = ops.cast(positions, "float32")[:, None, :, None] * rates
    return ops.cos(turned), ops.sin(turned)


def rotate(vectors: Any, turn: tuple[Any, Any]) -> Any:
    """Turns vectors by angles that grow with their position: scores then depend on distances only.

    Source: Su et al., 2021, "RoFormer", with the first half of a vector turned against the second.

    Args:
        vectors: float [batch, heads, length, size].
        turn: What `angles` returned.
    """
    half = vectors.shape[-1] // 2
    cosine, sine = (ops.cast(part, vectors.dtype) for part in turn)
    first, second = vectors[..., :half], vectors[..., half:]
    return ops.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


@keras.saving.register_keras_serializable(package="kerasft")
class Linear(keras.layers.Dense):
    """A dense layer whose adapter, if it has one, is applied to vectors and not added into the kernel.

    So training an adapter needs no gradient of the whole kernel, and a token needs no new kernel.
    """

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not self.lora_enabled:
            return super().call(inputs, training=training)
        made = ops.matmul(inputs, _compat.frozen_kernel(self))
        low = ops.matmul(inputs, self.lora_kernel_a)
        made += ops.matmul(low, self.lora_kernel_b) * (self.lora_alpha / self.lora_rank)
        return made if self.bias is None else made + self.bias


def _dense(units: int, name: str, dtype: Any, *, bias: bool = False) -> Linear:
    initializer = keras.initializers.RandomNormal(stddev=0.02)
    return Linear(units, use_bias=bias, kernel_initializer=initializer, name=name, dtype=dtype)


@keras.saving.register_keras_serializable(package="kerasft")
class CausalBlock(keras.layers.Layer):
    """Rotary attention with grouped heads, then a gated feed-forward layer, each around a residual.

    Source: Touvron et al., 2023, "LLaMA"; Ainslie et al., 2023, "GQA"; Shazeer, 2020, "GLU Variants Improve
    Transformer".

    Args:
        sizes: A `CausalSizes`, or its fields as a dict.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
        segments: int32 [batch, length]. A token sees those of its own number before it, and itself.
    """

    def __init__(self, sizes: CausalSizes | dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.sizes = sizes = CausalSizes(**sizes) if isinstance(sizes, dict) else sizes
        policy = self.dtype_policy
        self.attention_norm, self.norm = (
            keras.layers.RMSNormalization(epsilon=sizes.epsilon, name=name, dtype=policy)
            for name in ("attention_norm", "norm")
        )
        kept = sizes.kv_heads * sizes.size
        self.query = _dense(sizes.heads * sizes.size, "query", policy, bias=sizes.bias)
        self.key = _dense(kept, "key", policy, bias=sizes.bias)
        self.value = _dense(kept, "value", policy, bias=sizes.bias)
        self.output_dense = _dense(sizes.width, "output", policy)
        self.gate = _dense(sizes.hidden, "gate", policy)
        self.up = _dense(sizes.hidden, "up", policy)
        self.down = _dense(sizes.width, "down", policy)
        self.attention_dropout, self.dropout = (
            keras.layers.Dropout(sizes.dropout, name=name, dtype=policy)
            for name in ("attention_dropout", "dropout")
        )

    def build(self, input_shape: Any) -> None:
        sizes = self.sizes
        for layer in (self.attention_norm, self.norm, self.query, self.key, self.value, self.gate, self.up):
            layer.build((None, None, sizes.width))
        self.output_dense.build((None, None, sizes.heads * sizes.size))
        self.down.build((None, None, sizes.hidden))
        self.built = True

    def call(self, vectors: Any, segments: Any, training: Any = None) -> Any:
        length = ops.shape(vectors)[1]
        places = ops.arange(length)
        alike = ops.equal(segments[:, :, None], segments[:, None, :])
        seen = ops.logical_and(alike, (places[None, :] <= places[:, None])[None])
        hidden = ops.where(seen, 0.0, _HIDDEN)[:, None]
        turn = angles(places[None], self.sizes.size, base=self.sizes.base)
        return self.read(vectors, turn, (), hidden, training=training)[0]

    def compute_output_spec(self, vectors: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(vectors.shape, dtype=self.compute_dtype)

    def read(
        self,
        vectors: Any,
        turn: tuple[Any, Any],
        past: Sequence[tuple[Any, Any, Any]],
        hidden: Any,
        *,
        training: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Returns the vectors of the next block, and the keys and values of these tokens.

        Args:
            vectors: float [batch, length, width].
            turn: What `angles` returned for their positions.
            past: Keys, values and what hides them, of tokens read before: float
                [batch, kv heads, their length, size] twice, and [batch, 1, 1, their length].
            hidden: What hides these tokens from each other, [batch, 1, length, length].
            training: Whether dropout acts.
        """
        sizes, shape = self.sizes, ops.shape(vectors)
        batch, length = shape[0], shape[1]
        # As matrices: a product with a tensor of rank 3 is a dozen operations.
        vectors = ops.reshape(vectors, (-1, sizes.width))
        normed = self.attention_norm(vectors)
        query = rotate(self._split(self.query(normed), batch, length, sizes.heads), turn)
        key = rotate(self._split(self.key(normed), batch, length, sizes.kv_heads), turn)
        value = self._split(self.value(normed), batch, length, sizes.kv_heads)
        mixed = self._attend(query * sizes.size**-0.5, [*past, (key, value, hidden)])
        said = self.output_dense(ops.reshape(mixed, (-1, sizes.heads * sizes.size)))
        vectors = vectors + self.attention_dropout(said, training=training)
        normed = self.norm(vectors)
        made = self.down(ops.silu(self.gate(normed)) * self.up(normed))
        vectors = vectors + self.dropout(made, training=training)
        return ops.reshape(vectors, (batch, length, sizes.width)), key, value

    def _attend(self, query: Any, parts: Sequence[tuple[Any, Any, Any]]) -> Any:
        sizes, shape = self.sizes, ops.shape(query)
        batch, length, group = shape[0], shape[2], sizes.heads // sizes.kv_heads
        # Heads that share keys stand below each other, so that one product serves them all.
        query = ops.reshape(query, (batch, sizes.kv_heads, group * length, sizes.size))
        scores = []
        for key, _, hidden in parts:
            raw = tf.matmul(query, key, transpose_b=True)
            raw = ops.reshape(raw, (batch, sizes.kv_heads, group, length, -1))
            scores.append(ops.cast(raw, "float32") + ops.cast(hidden, "float32")[:, :, None])
        weights = tf.nn.softmax(scores[0] if len(scores) == 1 else tf.concat(scores, axis=-1), axis=-1)
        weights = ops.cast(weights, query.dtype)
        cuts = [weights] if len(parts) == 1 else tf.split(weights, [tf.shape(s)[-1] for s in scores], axis=-1)
        mixed: Any = 0.0
        for share, (_, value, _) in zip(cuts, parts, strict=True):
            share = ops.reshape(share, (batch, sizes.kv_heads, group * length, ops.shape(value)[2]))
            mixed += tf.matmul(share, value)
        mixed = ops.reshape(mixed, (batch, sizes.heads, length, sizes.size))
        return ops.transpose(mixed, (0, 2, 1, 3))

    def _split(self, vectors: Any, batch: Any, length: Any, heads: int) -> Any:
        apart = ops.reshape(vectors, (batch, length, heads, self.sizes.size))
        return ops.transpose(apart, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": dataclasses.asdict(self.sizes)}


class CausalLM:
    """A language model that reads tokens and says which may follow; its token table makes the logits too.

    Training sees it as `model`, a functional model of `token_ids` and `segments`, int32 [batch, length], with
    vectors float [batch, length, width]; `logits` makes logits of those that matter. Writing calls `read`
    for the beginning and then for each token; both use the layers of `model`.

    Args:
        sizes: What it is.

    Attributes:
        model: The functional model.
        groups: Layer groups, input to head: embeddings, block_0 ..., head.

    Example:
        >>> sizes = CausalSizes(vocabulary=10, width=8, layers=1, heads=2, kv_heads=1, size=4, hidden=16)
        >>> lm = CausalLM(sizes)
        >>> ids = tf.constant([[1, 2, 3]])
        >>> lm.logits(lm.model([ids, tf.ones_like(ids)])).shape.as_list()
        [1, 3, 10]
    """

    def __init__(self, sizes: CausalSizes) -> None:
        self.sizes = sizes
        self.embedding = TiedEmbedding(sizes.vocabulary, sizes.width, scaled=sizes.scaled, name="embedding")
        self.blocks = [CausalBlock(sizes, name=f"block_{i}") for i in range(sizes.layers)]
        self.norm = keras.layers.RMSNormalization(epsilon=sizes.epsilon, name="final_norm")
        ids, segments = (keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "segments"))
        vectors = keras.layers.Dropout(sizes.dropout, name="embedding_dropout")(self.embedding(ids))
        for block in self.blocks:
            vectors = block(vectors, segments)
        self.model = keras.Model([ids, segments], self.norm(vectors), name="causal_lm")
        self.groups: dict[str, list[keras.Layer]] = {"embeddings": [self.embedding]}
        self.groups |= {block.name: [block] for block in self.blocks}
        self.groups["head"] = [self.norm]

    def logits(self, vectors: Any) -> tf.Tensor:
        """Returns float32 [..., vocabulary] of vectors that the model gave, [..., width]."""
        return self.embedding(vectors, reverse=True)

    def read(self, ids: Any, positions: Any, past: Sequence[Past], hidden: Any) -> tuple[Any, Past]:
        """Reads tokens after others.

        Args:
            ids: int32 [batch, length].
            positions: int32 [batch or 1, length].
            past: What was read before, in parts of any length.
            hidden: float32 [batch, length], 0 where a token is one, else very negative (see `hide`).

        Returns:
            Vectors, float [batch, length, width], and what to keep of these tokens.
        """
        length = tf.shape(ids)[1]
        later = tf.range(length)[None, :] > tf.range(length)[:, None]
        among = tf.where(later, _HIDDEN, 0.0)[None, None] + hidden[:, None, None, :]
        vectors = self.embedding(ids)
        turn = angles(positions, self.sizes.size, base=self.sizes.base)
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            kept = [(part.keys[index], part.values[index], part.hidden[:, None, None, :]) for part in past]
            vectors, key, value = block.read(vectors, turn, kept, among, training=False)
            keys.append(key)
            values.append(value)
        return self.norm(vectors), Past(tuple(keys), tuple(values), hidden)

    def nothing(self, batch: Any) -> Past:
        """Returns the past of a batch that has read nothing yet."""
        sizes = self.sizes
        dtype = self.blocks[0].compute_dtype
        empty = tf.zeros([batch, sizes.kv_heads, 0, sizes.size], dtype)
        each = (empty,) * sizes.layers
        return Past(each, each, tf.zeros([batch, 0]))


def hide(visible: Any) -> tf.Tensor:
    """Returns 0.0 where something may be seen, else what hides it.

    Args:
        visible: bool, any shape.
    """
    return tf.where(visible, 0.0, _HIDDEN)
