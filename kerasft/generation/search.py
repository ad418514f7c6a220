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
    search = _Search(beam=beam, limit=tf.maximum(limit, 1), length_penalty=length_penalty)

    def body(position: Any, living: _Living, ended: _Ended) -> tuple[Any, _Living, _Ended]:
        logits, onward = step(living.said[:, :, -1], position, living.state)
        probable = tf.nn.log_softmax(tf.cast(logits, tf.float32)) + forbidden(tf.shape(logits)[-1])
        extended = search.extend(living, probable)
        ended = search.end(ended, living, extended, position)
        living = search.go_on(living._replace(state=onward), extended)
        return position + 1, living, search.judge(ended, living, position)

    matrix, row = tf.TensorShape([None, None]), tf.TensorShape([None])
    *_, ended = tf.while_loop(
        lambda position, living, ended: tf.reduce_any(~ended.done),
        body,
        (tf.constant(0), search.begin(state), search.none_ended()),
        shape_invariants=(
            tf.TensorShape([]),
            _Living(tf.TensorShape([None, None, None]), matrix, shapes),
            _Ended(matrix, row, row, row),
        ),
        parallel_iterations=1,
    )
    # A row that ended early keeps zeros behind its end; the start is no part of the sequence.
    return Found(ended.best[:, 1:], ended.score)


class _Living(NamedTuple):
    """Hypotheses that go on.

    Attributes:
        said: int32 [rows, width, length], the start included.
        scores: float32 [rows, width], log probabilities, the best first; `NEVER` where there is none.
        state: What they remember.
    """

    said: Any
    scores: Any
    state: Any


class _Ended(NamedTuple):
    """What has ended in each row.

    Attributes:
        best: int32 [rows, length], the best of them, the start included, padded with zeros.
        score: float32 [rows], its score; `NEVER` if none has ended.
        count: int32 [rows], how many have.
        done: bool [rows], whether the row is searched no further.
    """

    best: Any
    score: Any
    count: Any
    done: Any


class _Extended(NamedTuple):
    """The best hypotheses with a token more, twice the width of them, the best first; all [rows, 2 * width].

    Attributes:
        scores: float32, log probabilities.
        parent: int32, the hypothesis that each continues.
        token: int32, what it says now.
    """

    scores: Any
    parent: Any
    token: Any


class _Search:
    """The parts of a step of beam search."""

    def __init__(self, *, beam: Any, limit: Any, length_penalty: float) -> None:
        self._beam = beam
        self._limit = limit
        self._exponent = length_penalty
        self._width = tf.reduce_max(tf.concat([beam, [1]], 0))
        self._ranks = tf.range(self._width)

    def begin(self, state: Any) -> _Living:
        """One hypothesis a row, which has said nothing."""
        rows = tf.shape(self._beam)[0]
        none = tf.fill([rows, self._width], NEVER)
        first = tf.where(self._ranks[None] == 0, 0.0, none)
        return _Living(tf.fill([rows, self._width, 1], START), first, state)

    def none_ended(self) -> _Ended:
        rows = tf.shape(self._beam)[0]
        never, none = tf.fill([rows], NEVER), tf.zeros([rows], tf.int32)
        return _Ended(tf.fill([rows, 1], START), never, none, tf.zeros([rows], tf.bool))

    def extend(self, living: _Living, probable: Any) -> _Extended:
        """Each hypothesis has one end, so among twice the width there are enough that go on."""
        rows, vocabulary = tf.shape(self._beam)[0], tf.shape(probable)[-1]
        total = tf.reshape(living.scores[:, :, None] + probable, [rows, self._width * vocabulary])
        scores, place = tf.math.top_k(total, 2 * self._width)
        return _Extended(scores, place // vocabulary, place % vocabulary)

    def end(self, ended: _Ended, living: _Living, extended: _Extended, position: Any) -> _Ended:
        """Counts those that end now within the beam of their row, and keeps the best so far."""
        within = tf.range(2 * self._width)[None] < self._beam[:, None]
        counts = (extended.token == END) & within & (extended.scores > NEVER / 2) & ~ended.done[:, None]
        final = tf.where(counts, extended.scores / self._penalty(position + 1), NEVER)
        winner = tf.argmax(final, axis=1, output_type=tf.int32)[:, None]
        score = tf.gather(final, winner, batch_dims=1)[:, 0]
        better = score > ended.score
        said = tf.gather(living.said, tf.gather(extended.parent, winner, batch_dims=1), batch_dims=1)[:, 0]
        return ended._replace(
            best=tf.where(better[:, None], said, ended.best),
            score=tf.where(better, score, ended.score),
            count=ended.count + tf.reduce_sum(tf.cast(counts, tf.int32), axis=1),
        )

    def go_on(self, living: _Living, extended: _Extended) -> _Living:
        """The best that do not end now."""
        open_scores = tf.where(extended.token == END, NEVER, extended.scores)
        scores, chosen = tf.math.top_k(open_scores, self._width)
        parent, token = (tf.gather(part, chosen, batch_dims=1) for part in (extended.parent, extended.token))
        said = tf.concat([tf.gather(living.said, parent, batch_dims=1), token[:, :, None]], axis=2)
        outside = self._ranks[None] >= self._beam[:, None]
        return _Living(said, tf.where(outside, NEVER, scores), _follow(living.state, parent, self._ranks))

    def judge(self, ended: _Ended, living: _Living, position: Any) -> _Ended:
        """Says which rows are done; one that reaches its limit without an end takes the best living one."""
        now, most = living.scores[:, 0] / self._penalty(position + 1), self._penalty(self._limit + 1)
        # Scores are negative, so the longest sequence has the smallest penalty of all that may follow.
        hopeless = ended.score >= living.scores[:, 0] / most
        ahead = (ended.count >= self._beam) & (ended.score >= now)
        at_limit = position + 1 >= self._limit
        stuck = at_limit & ~ended.done & (ended.score <= NEVER / 2)
        best = tf.pad(ended.best, [[0, 0], [0, 1]])
        return ended._replace(
            best=tf.where(stuck[:, None], living.said[:, 0], best),
            score=tf.where(stuck, now, ended.score),
            done=ended.done | at_limit | ahead | hopeless,
        )

    def _penalty(self, length: Any) -> Any:
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** self._exponent


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
