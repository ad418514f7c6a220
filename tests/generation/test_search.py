"""Beam search and sampling against searches written out in Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from kerasft.generation import END, START, beam_search, sample

VOCABULARY = 7


def chain(seed: int, rows: int = 1, sharpness: float = 2.0) -> np.ndarray:
    """Returns logits of the next token after two others, for each row: [rows, last but one, last, next]."""
    draw = np.random.default_rng(seed).normal(size=(rows, VOCABULARY, VOCABULARY, VOCABULARY))
    return (sharpness * draw).astype(np.float32)


def network(table: np.ndarray):
    """Returns a step and its first state: it remembers the last but one token, and counts its steps."""
    logits = tf.constant(table)
    rows = table.shape[0]

    def step(tokens, position, state):
        before, history = state
        row = tf.broadcast_to(tf.range(rows)[:, None], tf.shape(tokens))
        following = tf.gather_nd(logits, tf.stack([row, before, tokens], axis=-1))
        return following, (tokens, tf.concat([history, tokens[:, :, None]], axis=2))

    def start(width):
        zeros = tf.zeros([rows, width], tf.int32)
        return (zeros, zeros[:, :, None][:, :, :0]), (
            tf.TensorShape([None, None]),
            tf.TensorShape([None] * 3),
        )

    return step, start


def log_probabilities(table: np.ndarray, before: int, last: int) -> np.ndarray:
    logits = table[before, last].astype(np.float64)
    logits = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    return np.where(np.arange(VOCABULARY) < END, -np.inf, logits)


def expected(table: np.ndarray, beam: int, limit: int, alpha: float) -> tuple[list[int], float]:
    """Beam search with lists."""
    living, ended = [(0.0, [0, START])], []
    for position in range(limit):
        found = [
            (score + gain, said, token)
            for score, said in living
            for token, gain in enumerate(log_probabilities(table, said[-2], said[-1]))
            if np.isfinite(gain)
        ]
        found.sort(key=lambda one: -one[0])
        penalty = ((5 + position + 1) / 6) ** alpha
        ended += [(score / penalty, said[2:]) for score, said, token in found[:beam] if token == END]
        living = [(score, [*said, token]) for score, said, token in found[: 2 * beam] if token != END][:beam]
        best = max((score for score, _ in ended), default=-math.inf)
        if len(ended) >= beam and best >= living[0][0] / penalty:
            break
        if best >= living[0][0] / ((5 + limit + 1) / 6) ** alpha:
            break
    if not ended:
        return living[0][1][2:], living[0][0] / ((5 + limit) / 6) ** alpha
    return max(ended, key=lambda one: one[0])[1], max(ended, key=lambda one: one[0])[0]


def search(table: np.ndarray, beams: list[int], limits: list[int], alpha: float):
    step, start = network(table)

    @tf.function(autograph=False)
    def run(beam, limit):
        state, shapes = start(tf.reduce_max(beam))
        return beam_search(step, state, shapes, beam=beam, limit=limit, length_penalty=alpha)

    found = run(tf.constant(beams), tf.constant(limits))
    return [[t for t in row if t] for row in found.tokens.numpy().tolist()], found.scores.numpy()


@pytest.mark.parametrize("seed", range(12))
def test_the_search_is_the_one_written_out(seed: int) -> None:
    beam, limit, alpha = 1 + seed % 4, 2 + seed, (0.0, 0.6, 1.0)[seed % 3]
    table = chain(seed, sharpness=1.0)
    tokens, scores = search(table, [beam], [limit], alpha)
    wanted, score = expected(table[0], beam, limit, alpha)
    assert tokens == [wanted]
    assert scores[0] == pytest.approx(score, rel=1e-5)


def test_rows_of_other_beams_and_limits_do_not_touch_each_other() -> None:
    table, beams, limits = chain(5, rows=6, sharpness=1.0), [1, 4, 2, 3, 1, 4], [9, 3, 20, 1, 2, 12]
    tokens, scores = search(table, beams, limits, 0.6)
    for row in range(6):
        alone, score = search(table[row : row + 1], [beams[row]], [limits[row]], 0.6)
        assert alone == [tokens[row]]
        assert score[0] == pytest.approx(scores[row], rel=1e-6)
        assert tokens[row] == expected(table[row], beams[row], limits[row], 0.6)[0]


def test_a_wide_beam_finds_what_a_greedy_search_misses() -> None:
    table = np.full((1, VOCABULARY, VOCABULARY, VOCABULARY), -9.0, np.float32)
    table[0, :, START, 4], table[0, :, START, 5] = 1.0, 0.9
    table[0, :, 5, END] = 9.0  # 4 leads anywhere, 5 surely ends
    table[0, :, 4, 4:] = 0.0
    assert search(table, [1], [1], 0.0)[0] == [[4]]
    assert search(table, [3], [4], 0.0)[0] == [[5]]


def test_the_memory_follows_its_hypothesis() -> None:
    """The step only sees what it remembers, so a wrong memory would give another sequence than the tokens."""
    table = chain(3, sharpness=1.0)
    step, start = network(table)
    seen = []

    def watched(tokens, position, state):
        logits, (last, history) = step(tokens, position, state)
        seen.append((history.numpy().tolist(), state[0].numpy().tolist()))
        return logits, (last, history)

    beam_search(watched, *start(3), beam=tf.constant([3]), limit=tf.constant([6]))
    for (history, _), (_, before) in itertools.pairwise(seen):
        assert {row[-1] for row in history[0]} >= set(before[0])
    assert len(seen) > 2


def test_no_rows_are_no_sequences() -> None:
    step, start = network(chain(0, rows=1))
    none = tf.zeros([0], tf.int32)
    state, shapes = start(1)
    state = tf.nest.map_structure(lambda part: part[:0], state)
    found = beam_search(step, state, shapes, beam=none, limit=none)
    assert found.tokens.shape[0] == 0
    assert found.scores.shape == (0,)


def draw(table: np.ndarray, **options):
    step, start = network(table)
    rows = table.shape[0]
    given = {"limit": 8, "seed": 0, "temperature": 1.0, "top_k": 0, "top_p": 1.0, **options}
    types = {"limit": tf.int32, "seed": tf.int64, "top_k": tf.int32}
    values = {
        name: tf.constant(np.broadcast_to(value, [rows]), types.get(name, tf.float32))
        for name, value in given.items()
    }

    @tf.function(autograph=False)
    def run(values):
        return sample(step, *start(1), **values)

    found = run(values)
    return [[t for t in row if t] for row in found.tokens.numpy().tolist()], found.scores.numpy()


def repeated(table: np.ndarray, rows: int) -> np.ndarray:
    return np.repeat(table, rows, axis=0)


def test_a_temperature_of_zero_is_greedy() -> None:
    table = chain(1, rows=8)
    assert draw(table, temperature=0.0, seed=range(8))[0] == search(table, [1] * 8, [8] * 8, 0.0)[0]
    assert draw(table, top_k=1, seed=range(8))[0] == search(table, [1] * 8, [8] * 8, 0.0)[0]
    assert draw(table, top_p=1e-6, seed=range(8))[0] == search(table, [1] * 8, [8] * 8, 0.0)[0]


def test_tokens_come_as_often_as_their_probability_says() -> None:
    table = chain(2, sharpness=1.0)
    first = [row[0] if row else END for row in draw(repeated(table, 4000), limit=1, seed=range(4000))[0]]
    shares = np.bincount(first, minlength=VOCABULARY) / 4000
    logits = table[0, 0, START, END:].astype(np.float64)
    assert shares[END:] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=0.03)


def test_only_the_most_probable_take_part() -> None:
    table = chain(2, sharpness=0.5)
    order = (np.argsort(-table[0, 0, START, END:]) + END).tolist()
    probable = np.sort(np.exp(table[0, 0, START, END:]))[::-1]
    probable = np.cumsum(probable / probable.sum())
    for options, count in (
        ({"top_k": 2}, 2),
        ({"top_p": float(probable[1]) - 0.01}, 2),
        ({"top_p": 0.01}, 1),
    ):
        said = draw(repeated(table, 300), limit=1, seed=range(300), **options)[0]
        assert {row[0] if row else END for row in said} == set(order[:count])


def test_a_seed_gives_the_same_alone_and_beside_others() -> None:
    table = chain(4, rows=5, sharpness=1.0)
    options = {
        "temperature": [0.5, 1.0, 2.0, 1.0, 0.0],
        "top_k": [0, 3, 0, 2, 0],
        "top_p": [0.9, 1, 1, 0.8, 1],
    }
    together, scores = draw(table, seed=[7, 8, 7, 2**40, -3], limit=[8, 3, 5, 8, 2], **options)
    for row, (seed, limit) in enumerate(zip([7, 8, 7, 2**40, -3], [8, 3, 5, 8, 2], strict=True)):
        alone, score = draw(
            table[row : row + 1], seed=seed, limit=limit, **{name: v[row] for name, v in options.items()}
        )
        assert alone == [together[row]]
        assert score[0] == pytest.approx(scores[row], rel=1e-6)


def test_other_seeds_give_other_sequences() -> None:
    said = draw(repeated(chain(4, sharpness=0.5), 50), seed=range(50))[0]
    assert len({tuple(row) for row in said}) > 25


def test_the_score_is_the_mean_log_probability() -> None:
    table = chain(6, sharpness=1.0)
    tokens, scores = draw(table, seed=5, limit=30, temperature=1.5)
    said, gains = [0, START], []
    for token in [*tokens[0], END]:
        logits = log_probabilities(table[0], said[-2], said[-1])
        gains.append(logits[token] - np.log(np.exp(logits).sum()))
        said.append(token)
    assert len(tokens[0]) < 30
    assert scores[0] == pytest.approx(np.mean(gains), rel=1e-5)
