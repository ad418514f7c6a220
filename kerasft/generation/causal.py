"""A causal language model of the Llama or GPT-2 kind, from scratch or converted, whose past can be kept."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from kerasft import _compat
from kerasft.generation.alibi import leaning
from kerasft.generation.causal_sizes import CausalSizes
from kerasft.generation.experts import Experts
from kerasft.generation.layers import TiedEmbedding
from kerasft.generation.rotary import angles, rotate

_HIDDEN = -3e4  # added to the scores of what must not be seen; float16 holds it
_ACTIVATIONS = {
    "silu": ops.silu,
    "gelu": ops.gelu,
    "gelu_exact": functools.partial(ops.gelu, approximate=False),
    "relu": ops.relu,
}


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


def turned(sizes: CausalSizes, positions: Any) -> list[tuple[Any, Any] | None]:
    """Returns of each block what turns its queries and keys, None if nothing does.

    Args:
        sizes: Those of the network.
        positions: int32 [batch or 1, length].
    """
    own = sizes.rotary or ((sizes.base if sizes.turns else 0.0, sizes.stretch),) * sizes.layers
    size = sizes.rotary_size or sizes.size
    alike: dict[str, Any] = {"bands": sizes.bands, "waves": sizes.waves, "swell": sizes.swell}
    made = {
        (base, stretch): angles(positions, size, base=base, stretch=stretch, **alike)
        for base, stretch in {*own}
        if base
    }
    return [made.get(one) for one in own]


def _seen(segments: Any) -> Any:
    """Returns which tokens each token sees, bool [batch, length, length]: of its number, none behind it."""
    places = ops.arange(ops.shape(segments)[1])
    alike = ops.equal(segments[:, :, None], segments[:, None, :])
    return ops.logical_and(alike, (places[None, :] <= places[:, None])[None])


def _leant(sizes: CausalSizes, positions: Any, hidden: Sequence[Any]) -> list[Any]:
    """Returns what is added to the scores of tokens, in parts: what hides them, and how far back they are.

    Args:
        sizes: Those of the network.
        positions: int32 [batch or 1, length], of those that ask.
        hidden: float32 [batch, any length] of each part, 0 where a token may be seen.
    """
    added = [part[:, None, None, :] for part in hidden]
    if not sizes.lean:
        return added
    made, before = [], 0.0
    for part, own in zip(hidden, added, strict=True):
        # Those that may be seen stand at 0, 1, ...: the past need not keep where.
        places = before + tf.cumsum(tf.cast(part == 0, "float32"), axis=1)
        made.append(own + sizes.lean * leaning(positions, places - 1.0, sizes.heads))
        before = before + tf.reduce_sum(tf.cast(part == 0, "float32"), axis=1, keepdims=True)
    return made


def _capped(values: Any, cap: float) -> Any:
    return cap * ops.tanh(values / cap) if cap else values


def _norm(sizes: CausalSizes, name: str, dtype: Any) -> keras.layers.Layer:
    kinds = {"rms": keras.layers.RMSNormalization, "layer": keras.layers.LayerNormalization}
    return kinds[sizes.norm](epsilon=sizes.epsilon, name=name, dtype=dtype)


def _dense(units: int, name: str, dtype: Any, *, bias: bool = False) -> Linear:
    initializer = keras.initializers.RandomNormal(stddev=0.02)
    return Linear(units, use_bias=bias, kernel_initializer=initializer, name=name, dtype=dtype)


@keras.saving.register_keras_serializable(package="kerasft")
class CausalBlock(keras.layers.Layer):
    """Attention with grouped heads, then a feed-forward layer or experts, each around a residual.

    Source: Touvron et al., 2023, "LLaMA"; Ainslie et al., 2023, "GQA"; Shazeer, 2020, "GLU Variants Improve
    Transformer"; Radford et al., 2019, "Language Models are Unsupervised Multitask Learners"; Gemma Team,
    2024, "Gemma 2"; Black et al., 2022, "GPT-NeoX-20B"; Press et al., 2022, "Train Short, Test Long".

    Args:
        sizes: A `CausalSizes`, or its fields as a dict.
        index: Which block it is.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
        segments: int32 [batch, length]. A token sees those of its own number before it, and itself; 0 is
            padding.
    """

    def __init__(self, sizes: CausalSizes | dict[str, Any], *, index: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.sizes = sizes = CausalSizes(**sizes) if isinstance(sizes, dict) else sizes
        self.index = index
        policy = self.dtype_policy
        names = ["attention_norm", "norm"]
        names += ["attention_post_norm", "post_norm"] if sizes.post_norm else []
        names += ["query_norm", "key_norm"] if sizes.head_norm else []
        for name in names:
            setattr(self, name, _norm(sizes, name, policy))
        self.norm_names = tuple(names)
        kept = sizes.kv_heads * sizes.size
        self.query = _dense(sizes.heads * sizes.size, "query", policy, bias=sizes.bias)
        self.key = _dense(kept, "key", policy, bias=sizes.bias)
        self.value = _dense(kept, "value", policy, bias=sizes.bias)
        self.output_dense = _dense(sizes.width, "output", policy, bias=sizes.dense_bias)
        names = ["query", "key", "value", "output_dense"]
        self.experts = None
        if sizes.experts and index not in sizes.dense_blocks:
            self.experts = Experts(
                width=sizes.width,
                hidden=sizes.expert_hidden,
                experts=sizes.experts,
                chosen=sizes.experts_per_token,
                normalised=sizes.experts_normalised,
                shared=bool(sizes.shared_expert),
                balance=sizes.balance,
                name="experts",
                dtype=policy,
            )
        self.hidden = sizes.hidden if self.experts is None else sizes.shared_expert
        if self.hidden:
            if sizes.gated:
                self.gate = _dense(self.hidden, "gate", policy, bias=sizes.dense_bias)
            self.up = _dense(self.hidden, "up", policy, bias=sizes.dense_bias)
            self.down = _dense(sizes.width, "down", policy, bias=sizes.dense_bias)
            names += ["up", "down", "gate"] if sizes.gated else ["up", "down"]
        self.dense_names = tuple(names)
        self.attention_dropout, self.dropout = (
            keras.layers.Dropout(sizes.dropout, name=name, dtype=policy)
            for name in ("attention_dropout", "dropout")
        )

    def build(self, input_shape: Any) -> None:
        sizes = self.sizes
        lengths = {"output_dense": sizes.heads * sizes.size, "down": self.hidden}
        lengths |= {"query_norm": sizes.size, "key_norm": sizes.size}
        for name in (*self.norm_names, *self.dense_names):
            getattr(self, name).build((None, None, lengths.get(name, sizes.width)))
        if self.experts is not None:
            self.experts.build((None, sizes.width))
        self.built = True

    def call(self, vectors: Any, segments: Any, training: Any = None) -> Any:
        length = ops.shape(vectors)[1]
        places = ops.arange(length)[None]
        hidden = ops.where(_seen(segments), 0.0, _HIDDEN)[:, None]
        if self.sizes.lean:
            hidden = hidden + self.sizes.lean * leaning(places, places, self.sizes.heads)
        turn = turned(self.sizes, places)[self.index]
        counted = ops.reshape(ops.not_equal(segments, 0), (-1,))
        return self.read(vectors, turn, (), hidden, training=training, counted=counted)[0]

    def compute_output_spec(self, vectors: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(vectors.shape, dtype=self.compute_dtype)

    def read(
        self,
        vectors: Any,
        turn: tuple[Any, Any] | None,
        past: Sequence[tuple[Any, Any, Any]],
        hidden: Any,
        *,
        training: Any = None,
        counted: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Returns the vectors of the next block, and the keys and values of these tokens.

        Args:
            vectors: float [batch, length, width].
            turn: What `turned` returned for this block and their positions.
            past: Keys, values and what is added to scores, of tokens read before: float
                [batch, kv heads, their length, size] twice, and [batch, 1 or heads, 1 or length, their
                length].
            hidden: What is added to scores among these tokens, [batch, 1 or heads, length, length].
            training: Whether dropout acts.
            counted: Of which tokens the loss of experts is, bool [batch * length]; None: there is none.
        """
        sizes, shape = self.sizes, ops.shape(vectors)
        batch, length = shape[0], shape[1]
        # As matrices: a product with a tensor of rank 3 is a dozen operations.
        vectors = ops.reshape(vectors, (-1, sizes.width))
        normed = self.attention_norm(vectors)
        query = self._split(self.query(normed), batch, length, sizes.heads)
        key = self._split(self.key(normed), batch, length, sizes.kv_heads)
        if sizes.head_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        value = self._split(self.value(normed), batch, length, sizes.kv_heads)
        mixed = self._attend(query * sizes.size**-0.5, [*past, (key, value, hidden)])
        said = self.output_dense(ops.reshape(mixed, (-1, sizes.heads * sizes.size)))
        if sizes.post_norm:
            said = self.attention_post_norm(said)
        before, vectors = vectors, vectors + self.attention_dropout(said, training=training)
        made = self._feed(self.norm(before if sizes.parallel else vectors), training, counted)
        if sizes.post_norm:
            made = self.post_norm(made)
        vectors = vectors + self.dropout(made, training=training)
        return ops.reshape(vectors, (batch, length, sizes.width)), key, value

    def _feed(self, normed: Any, training: Any, counted: Any) -> Any:
        if self.experts is None:
            return self._feed_densely(normed)
        beside = self._feed_densely(normed) if self.sizes.shared_expert else None
        return self.experts(normed, beside=beside, counted=counted, training=training)

    def _feed_densely(self, normed: Any) -> Any:
        act = _ACTIVATIONS[self.sizes.activation]
        if not self.sizes.gated:
            return self.down(act(self.up(normed)))
        return self.down(act(self.gate(normed)) * self.up(normed))

    def _attend(self, query: Any, parts: Sequence[tuple[Any, Any, Any]]) -> Any:
        sizes, shape = self.sizes, ops.shape(query)
        batch, length, group = shape[0], shape[2], sizes.heads // sizes.kv_heads
        # Heads that share keys stand below each other, so that one product serves them all.
        query = ops.reshape(query, (batch, sizes.kv_heads, group * length, sizes.size))
        scores = []
        for key, _, hidden in parts:
            raw = tf.matmul(query, key, transpose_b=True)
            raw = ops.reshape(raw, (batch, sizes.heads, length, -1))
            raw = _capped(ops.cast(raw, "float32"), sizes.score_cap)
            scores.append(raw + ops.cast(hidden, "float32"))
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
        return {**super().get_config(), "sizes": dataclasses.asdict(self.sizes), "index": self.index}


@keras.saving.register_keras_serializable(package="kerasft")
class PositionTable(keras.layers.Layer):
    """Vectors of positions, learned.

    Args:
        positions: Number of positions.
        width: Length of a vector.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        segments: int32 [batch, length]. Positions count from the first token of each number.
    """

    def __init__(self, positions: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.positions, self.width = positions, width
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(name="table", shape=(positions, width), initializer=initializer)

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, segments: Any) -> Any:
        return self.at(ops.sum(ops.cast(_seen(segments), "int32"), axis=-1) - 1)

    def at(self, positions: Any) -> Any:
        """Returns float [batch or 1, length, width] of int32 [batch or 1, length]."""
        # Padding may reach behind the last one.
        vectors = tf.gather(ops.convert_to_tensor(self.table), tf.minimum(positions, self.positions - 1))
        return ops.cast(vectors, self.compute_dtype)

    def compute_output_spec(self, segments: Any) -> Any:
        return keras.KerasTensor((*segments.shape, self.width), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "positions": self.positions, "width": self.width}


@keras.saving.register_keras_serializable(package="kerasft")
class UntiedHead(keras.layers.Layer):
    """The last normalisation, and beside it the table that makes logits of what it returns.

    Args:
        sizes: A `CausalSizes`, or its fields as a dict.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
    """

    def __init__(self, sizes: CausalSizes | dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.sizes = sizes = CausalSizes(**sizes) if isinstance(sizes, dict) else sizes
        self.norm = _norm(sizes, "norm", self.dtype_policy)
        self.output_table = TiedEmbedding(
            sizes.vocabulary, sizes.width, scaled=False, name="output_table", dtype=self.dtype_policy
        )

    def build(self, input_shape: Any) -> None:
        self.norm.build(input_shape)
        self.output_table.build(input_shape)
        self.built = True

    def call(self, vectors: Any) -> Any:
        return self.norm(vectors)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": dataclasses.asdict(self.sizes)}


class CausalLM:
    """A language model that reads tokens and says which may follow.

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
        self.blocks = [CausalBlock(sizes, index=i, name=f"block_{i}") for i in range(sizes.layers)]
        ids, segments = (keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "segments"))
        vectors = self.embedding(ids)
        self.groups: dict[str, list[keras.layers.Layer]] = {"embeddings": [self.embedding]}
        if sizes.embedding_norm:
            self.embedding_norm = _norm(sizes, "embedding_norm", None)
            vectors = self.embedding_norm(vectors)
            self.groups["embeddings"].append(self.embedding_norm)
        if sizes.positions:
            self.places = PositionTable(sizes.positions, sizes.width, name="positions")
            vectors = keras.layers.Add(name="placed")([vectors, self.places(segments)])
            self.groups["embeddings"].append(self.places)
        vectors = keras.layers.Dropout(sizes.dropout, name="embedding_dropout")(vectors)
        for block in self.blocks:
            vectors = block(vectors, segments)
        if sizes.tied:
            last = self.norm = _norm(sizes, "final_norm", None)
            self.output_table = self.embedding
        else:
            last = UntiedHead(sizes, name="head")
            self.norm, self.output_table = last.norm, last.output_table
        self.model = keras.Model([ids, segments], last(vectors), name="causal_lm")
        self.groups |= {block.name: [block] for block in self.blocks}
        self.groups["head"] = [last]

    def logits(self, vectors: Any) -> tf.Tensor:
        """Returns float32 [..., vocabulary] of vectors that the model gave, [..., width]."""
        return _capped(self.output_table(vectors, reverse=True), self.sizes.logit_cap)

    def read(self, ids: Any, positions: Any, past: Sequence[Past], hidden: Any) -> tuple[Any, Past]:
        """Reads tokens after others.

        Args:
            ids: int32 [batch, length].
            positions: int32 [batch or 1, length].
            past: What was read before, in parts of any length, in the order in which it was.
            hidden: float32 [batch, length], 0 where a token is one, else very negative (see `hide`).

        Returns:
            Vectors, float [batch, length, width], and what to keep of these tokens.
        """
        length = tf.shape(ids)[1]
        later = tf.range(length)[None, :] > tf.range(length)[:, None]
        *added, own = _leant(self.sizes, positions, [*(part.hidden for part in past), hidden])
        among = tf.where(later, _HIDDEN, 0.0)[None, None] + own
        vectors = self.embedding(ids)
        if self.sizes.embedding_norm:
            vectors = self.embedding_norm(vectors)
        if self.sizes.positions:
            vectors += self.places.at(positions)
        turns = turned(self.sizes, positions)
        keys, values = [], []
        for index, block in enumerate(self.blocks):
            kept = [
                (part.keys[index], part.values[index], more) for part, more in zip(past, added, strict=True)
            ]
            vectors, key, value = block.read(vectors, turns[index], kept, among, training=False)
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
