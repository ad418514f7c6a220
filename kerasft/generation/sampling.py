"""Sampling as a graph loop: a seed gives a row the same sequence alone and in any batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasft.generation.search import Found, Step, forbidden
from kerasft.generation.subwords import END, START


def sample(
    step: Step,
    state: Any,
    shapes: Any,
    *,
    limit: Any,
    seed: Any,
    temperature: Any,
    top_k: Any,
    top_p: Any,
) -> Found:
    """Draws a sequence for each row, token by token.

    Source: Holtzman et al., 2020, "The Curious Case of Neural Text Degeneration", for `top_p`.

    Args:
        step: As for `beam_search`, with a width of 1.
        state: As for `beam_search`, [rows, 1, ...].
        shapes: As for `beam_search`.
        limit: int32 [rows]. Most tokens of a sequence.
        seed: int64 [rows].
        temperature: float32 [rows]. Below 1 the probable becomes more so; 0 takes the most probable token.
        top_k: int32 [rows]. Only so many of the most probable tokens take part; 0 is all.
        top_p: float32 [rows]. Only the most probable tokens that together have this probability take part.

    Returns:
        The sequences, and the log probability that the model gives them at temperature 1, per token, the end
        included.

    Example:
        >>> def step(tokens, position, state):
        ...     return tf.one_hot(tf.fill(tf.shape(tokens), 4), 8, 9.0), state
        >>> ones = tf.ones([1])
        >>> found = sample(step, (), (), limit=tf.constant([3]), seed=tf.constant([7], tf.int64),
        ...                temperature=0 * ones, top_k=tf.constant([0]), top_p=ones)
        >>> found.tokens.numpy().tolist()
        [[4, 4, 4]]
    """
    rows = tf.shape(limit)[0]
    limit = tf.maximum(limit, 1)

    def body(position: Any, said: Any, state: Any, total: Any, count: Any, done: Any) -> tuple:
        logits, state = step(said[:, -1:], position, state)
        logits = tf.cast(logits[:, 0], tf.float32)
        logits += forbidden(tf.shape(logits)[-1])
        token = draw(logits, seed=seed, position=position, temperature=temperature, top_k=top_k, top_p=top_p)
        gained = tf.gather(tf.nn.log_softmax(logits), token[:, None], batch_dims=1)[:, 0]
        total += tf.where(done, 0.0, gained)
        count += tf.where(done, 0.0, 1.0)
        done |= token == END
        said = tf.concat([said, tf.where(done, 0, token)[:, None]], axis=1)
        done |= position + 1 >= limit
        return position + 1, said, state, total, count, done

    row = tf.TensorShape([None])
    zeros = tf.zeros([rows])
    loop = (tf.constant(0), tf.fill([rows, 1], START), state, zeros, zeros, tf.zeros([rows], tf.bool))
    invariants = (tf.TensorShape([]), tf.TensorShape([None, None]), shapes, row, row, row)
    _, said, _, total, count, _ = tf.while_loop(
        lambda *values: tf.reduce_any(~values[-1]),
        body,
        loop,
        shape_invariants=invariants,
        parallel_iterations=1,
    )
    return Found(said[:, 1:], total / tf.maximum(count, 1.0))


def draw(logits: Any, *, seed: Any, position: Any, temperature: Any, top_k: Any, top_p: Any) -> tf.Tensor:
    """Draws a token for each row; a row gets the same one alone and in any batch.

    Args:
        logits: float32 [rows, vocabulary].
        seed: int64 [rows].
        position: Where the token will stand, a scalar; with the seed it decides what is drawn.
        temperature: As for `sample`, like the others.
        top_k: int32 [rows].
        top_p: float32 [rows].

    Returns:
        int32 [rows].

    Example:
        >>> settings = {"seed": tf.constant([7], tf.int64), "top_k": tf.constant([2]), "top_p": tf.ones([1])}
        >>> token = draw(tf.constant([[0.0, 5.0, 9.0]]), position=0, temperature=tf.zeros([1]), **settings)
        >>> token.numpy().tolist()
        [2]
    """

    def freely() -> tf.Tensor:
        uniform = _uniform(seed, position)
        return _draw(logits, uniform, temperature=temperature, top_k=top_k, top_p=top_p)

    # Sorting a large vocabulary takes as long as a small network.
    greedy = tf.reduce_all(temperature <= 0.0)
    return tf.cond(greedy, lambda: tf.argmax(logits, axis=-1, output_type=tf.int32), freely)


def _uniform(seed: Any, position: Any) -> tf.Tensor:
    def one(number: Any) -> tf.Tensor:
        # A fixed algorithm, because the default depends on the device.
        return tf.random.stateless_uniform([], [number, tf.cast(position, tf.int64)], alg="philox")

    return tf.map_fn(one, seed, fn_output_signature=tf.TensorSpec([], tf.float32))


def _draw(logits: Any, uniform: Any, *, temperature: Any, top_k: Any, top_p: Any) -> tf.Tensor:
    vocabulary = tf.shape(logits)[-1]
    ordered, tokens = tf.math.top_k(logits, vocabulary)
    probable = tf.nn.softmax(ordered / tf.maximum(temperature, 1e-4)[:, None])
    rank = tf.range(vocabulary)[None]
    most = tf.where((top_k < 1) | (temperature <= 0.0), vocabulary, top_k)
    most = tf.where(temperature <= 0.0, 1, most)
    before = tf.cumsum(probable, axis=1, exclusive=True)
    # The first one stays whatever top_p says.
    inside = (rank < most[:, None]) & ((before < top_p[:, None]) | (rank == 0))
    kept = tf.where(inside, probable, 0.0)
    reached = tf.cumsum(kept, axis=1)
    wanted = uniform[:, None] * reached[:, -1:]
    chosen = tf.reduce_sum(tf.cast(reached <= wanted, tf.int32), axis=1)
    chosen = tf.minimum(chosen, tf.reduce_sum(tf.cast(inside, tf.int32), axis=1) - 1)
    return tf.gather(tokens, chosen[:, None], batch_dims=1)[:, 0]
