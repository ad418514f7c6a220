"""Beam search as a graph loop; a beam of 1 is greedy decoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from kerasft.generation.subwords import END, PAD, START, UNKNOWN

NEVER = -1e30  # a score that no hypothesis has; finite, for minus infinity times zero is NaN

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


class Found(NamedTuple):
    """The best sequence of each row.

    Attributes:
        tokens: int32 [rows, length], without start and end, padded with zeros.
        scores: float32 [rows], log probability over the length penalty, the end included.
    """

    tokens: tf.Tensor
    scores: tf.Tensor


def beam_search(
    step: Step,
    state: Any,
    shapes: Any,
    *,
    beam: Any,
    limit: Any,
    length_penalty: float = 0.6,
) -> Found:
    """Searches the most probable sequence of each row.

    Rows do not touch each other: a row gets the same sequence alone and beside others, whatever their beams
    and limits. A row ends when as many of its hypotheses have ended as its beam is wide and the best of them
    scores above the best living one, or when no living one can overtake it any more.

    Source: Wu et al., 2016, "Google's Neural Machine Translation System", for the length penalty
    ((5 + length) / 6) ** length_penalty.

    Args:
        step: Called as `step(tokens, position, state)` with the last token of each hypothesis, int32
            [rows, width], their position (from 0, a scalar) and the state; returns logits
            [rows, width, vocabulary] and the next state.
        state: Tensors [rows, width, ...], nested: what hypotheses remember of their past. The width is that
            of the widest beam.
        shapes: `tf.TensorShape` of each tensor of `state`, None where it grows from step to step.
        beam: int32 [rows]. Hypotheses of each row, at least 1.
        limit: int32 [rows]. Most tokens of a sequence, the end not counted; one without end stops there.
        length_penalty: Larger values favour longer sequences; 0 compares sums.

    Returns:
        The best sequence of each row.

    Example:
        >>> def step(tokens, position, state):            # says 5, 6, then ends
        ...     said = tf.gather([5, 6, 3], tf.minimum(position, 2))
        ...     return tf.one_hot(tf.fill(tf.shape(tokens), said), 8, 9.0), state
        >>> beam_search(step, (), (), beam=tf.constant([2]), limit=tf.constant([9])).tokens.numpy().tolist()
        [[5, 6, 0]]
    """
    rows, width = tf.shape(beam)[0], tf.reduce_max(tf.concat([beam, [1]], 0))
    limit = tf.maximum(limit, 1)
    ranks = tf.range(width)
    outside = ranks[None] >= beam[:, None]

    def penalty(length: Any) -> Any:
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty

    def body(
        position: Any, said: Any, scores: Any, state: Any, best: Any, best_score: Any, ended: Any, done: Any
    ) -> tuple:
        logits, state = step(said[:, :, -1], position, state)
        vocabulary = tf.shape(logits)[-1]
        probable = tf.nn.log_softmax(tf.cast(logits, tf.float32)) + forbidden(vocabulary)
        total = tf.reshape(scores[:, :, None] + probable, [rows, width * vocabulary])
        # Each hypothesis has one end, so among twice the width there are enough that go on.
        top, place = tf.math.top_k(total, 2 * width)
        parent, token = place // vocabulary, place % vocabulary
        is_end = token == END
        counts = is_end & (tf.range(2 * width)[None] < beam[:, None]) & (top > NEVER / 2) & ~done[:, None]
        final = tf.where(counts, top / penalty(position + 1), NEVER)
        winner = tf.argmax(final, axis=1, output_type=tf.int32)[:, None]
        score = tf.gather(final, winner, batch_dims=1)[:, 0]
        better = score > best_score
        winning = tf.gather(parent, winner, batch_dims=1)
        best = tf.where(better[:, None], tf.gather(said, winning, batch_dims=1)[:, 0], best)
        best_score = tf.where(better, score, best_score)
        ended += tf.reduce_sum(tf.cast(counts, tf.int32), axis=1)

        scores, chosen = tf.math.top_k(tf.where(is_end, NEVER, top), width)
        scores = tf.where(outside, NEVER, scores)
        parent, token = (tf.gather(part, chosen, batch_dims=1) for part in (parent, token))
        said = tf.concat([tf.gather(said, parent, batch_dims=1), token[:, :, None]], axis=2)
        state = _follow(state, parent, ranks)
        best = tf.pad(best, [[0, 0], [0, 1]])

        # Scores are negative, so the longest sequence has the smallest penalty of all that may follow.
        hopeless = best_score >= scores[:, 0] / penalty(limit + 1)
        ahead = (ended >= beam) & (best_score >= scores[:, 0] / penalty(position + 1))
        at_limit = position + 1 >= limit
        stuck = at_limit & ~done & (best_score <= NEVER / 2)
        best = tf.where(stuck[:, None], said[:, 0], best)
        best_score = tf.where(stuck, scores[:, 0] / penalty(position + 1), best_score)
        done |= at_limit | ahead | hopeless
        return position + 1, said, scores, state, best, best_score, ended, done

    start = tf.fill([rows, width, 1], START)
    first = tf.fill([rows, width], NEVER)
    first = tf.where(ranks[None] == 0, 0.0, first)
    loop = (
        tf.constant(0),
        start,
        first,
        state,
        tf.fill([rows, 1], START),
        tf.fill([rows], NEVER),
        tf.zeros([rows], tf.int32),
        tf.zeros([rows], tf.bool),
    )
    growing, row = tf.TensorShape([None, None, None]), tf.TensorShape([None])
    invariants = (
        tf.TensorShape([]),
        growing,
        tf.TensorShape([None, None]),
        shapes,
        tf.TensorShape([None, None]),
        row,
        row,
        row,
    )
    *_, best, best_score, _, _ = tf.while_loop(
        lambda *values: tf.reduce_any(~values[-1]),
        body,
        loop,
        shape_invariants=invariants,
        parallel_iterations=1,
    )
    # A row that ended early keeps zeros behind its end; the start is no part of the sequence.
    return Found(best[:, 1:], best_score)


def forbidden(vocabulary: Any) -> tf.Tensor:
    """What no sequence may hold: padding, the unknown and a second start."""
    never = tf.one_hot([PAD, UNKNOWN, START], vocabulary, on_value=NEVER, off_value=0.0)
    return tf.reduce_sum(never, axis=0)


def _follow(state: Any, parent: Any, ranks: Any) -> Any:
    """Gives each hypothesis the memory of the one that it continues."""
    if not tf.nest.flatten(state):
        return state
    unmoved = tf.reduce_all(parent == ranks[None])

    # Greedy decoding never moves, and moving copies all there is.
    def move() -> Any:
        return [tf.gather(part, parent, batch_dims=1) for part in tf.nest.flatten(state)]

    moved = tf.cond(unmoved, lambda: [tf.identity(part) for part in tf.nest.flatten(state)], move)
    return tf.nest.pack_sequence_as(state, moved)
