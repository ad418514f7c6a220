"""Vocabularies, histories, splits, generated data, and negatives."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft import DataError, Field
from kerasft.data import open_source
from kerasft_recommender import films, histories, ratings
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.drawing import draw
from kerasft_recommender.histories import Histories
from kerasft_recommender.objectives import make_objective
from kerasft_recommender.splitting import last_of_each
from kerasft_recommender.vocabulary import Vocabulary

pairs = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
def test_ids_of_any_characters_come_back(names):
    ids = Vocabulary("items", names, capacity=20)
    rows = ids.rows(tf.constant([*names, "\x00 not there"]))
    assert rows.numpy().tolist() == [*range(1, len(names) + 1), 0]
    assert [name.decode() for name in ids.names(rows).numpy()] == [*names, ""]
    assert ids.numbers(names).tolist() == rows.numpy()[:-1].tolist()


def test_new_ids_take_spare_rows_until_there_are_none():
    ids = Vocabulary("users", ["a", "b"], capacity=4)
    assert ids.extend(["b", "c", "c"]) == 1
    with pytest.raises(DataError, match=r"There are 1 new users \(such as 'd'\) but 0 spare"):
        ids.extend(["a", "d"])
    assert ids.rows(tf.constant(["a", "b", "c", "d"])).numpy().tolist() == [1, 2, 3, 0]


@settings(max_examples=50, deadline=None)
@given(pairs, pairs)
def test_histories_hold_each_pair_once(first, second):
    def made(rows):
        users, items = (np.array(column) for column in zip(*rows, strict=True))
        return Histories(users, items, user_rows=6, item_rows=10)

    for seen, rows in ((made(first), first), (made(first).joined(*np.array(second).T), first + second)):
        assert {(u, i) for u in range(6) for i in seen.of(u)} == set(rows)
        assert len(seen) == len(set(rows))
        assert seen.popularity.tolist() == [sum(i == item for _, i in set(rows)) for item in range(10)]
        grid = np.tile(np.arange(10), (6, 1))
        found = seen.contains(tf.range(6), tf.constant(grid, tf.int32)).numpy()
        assert {(int(u), int(i)) for u, i in zip(*np.nonzero(found), strict=True)} == set(rows)
        positions, items = (part.numpy().tolist() for part in seen.seen_by(tf.constant([3, 0, 5])))
        wanted = [(at, item) for at, user in enumerate([3, 0, 5]) for item in seen.of(user)]
        assert list(zip(positions, items, strict=True)) == wanted


def test_pairs_that_fill_no_table_of_bits_are_searched_for(monkeypatch):
    monkeypatch.setattr(histories, "_MOST_BITS", 0)
    seen = Histories(np.array([1, 2, 2]), np.array([3, 0, 4]), user_rows=3, item_rows=5)
    found = seen.contains(tf.constant([0, 1, 2]), tf.constant([[3, 4]] * 3)).numpy()
    assert found.tolist() == [[False, False], [True, False], [False, True]]


def test_histories_are_kept_in_order(tmp_path):
    seen = Histories(np.array([1, 1, 2]), np.array([4, 3, 3]), user_rows=3, item_rows=5)
    seen.save(tmp_path / "seen.npz")
    again = Histories.load(tmp_path / "seen.npz")
    assert again.items.tolist() == seen.items.tolist() == [4, 3, 3]
    assert again.offsets.tolist() == seen.offsets.tolist()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=2, max_size=30),
    st.one_of(st.integers(1, 3), st.floats(0.05, 0.9)),
)
def test_the_last_choices_of_each_user_are_held_out(rows, share):
    fields = [Field(name="user_id", kind="id"), Field(name="timestamp", kind="integer")]
    users, times = ([row[i] for row in rows] for i in (0, 1))
    source = open_source({"user_id": users, "timestamp": times}, fields=fields)
    if max(users.count(user) for user in users) == 1:
        with pytest.raises(DataError, match="no user has two choices"):
            last_of_each(source, share)
        return
    rest, last = (part.take(np.arange(len(part))) for part in last_of_each(source, share))
    for user in set(users):
        kept = [t for u, t in zip(rest["user_id"], rest["timestamp"], strict=True) if u == str(user)]
        held = [t for u, t in zip(last["user_id"], last["timestamp"], strict=True) if u == str(user)]
        count = users.count(user)
        wanted = share if isinstance(share, int) else round(share * count)
        assert len(held) == min(max(1, wanted), count - 1)
        assert not held or max(kept) <= min(held)


def test_without_timestamps_nothing_is_last():
    source = open_source({"user_id": ["a", "a"]}, fields=[Field(name="user_id", kind="id")])
    with pytest.raises(DataError, match='has no timestamp for hold_out="last" to go by'):
        last_of_each(source, 0.1)


def test_made_up_ratings_are_always_the_same_and_split_by_time():
    train, test = ratings("train"), ratings("test")
    assert train == ratings("train")
    assert len(set(train["user_id"])) == len(test["user_id"])
    assert not set(zip(train["user_id"], train["item_id"], strict=True)) & set(
        zip(test["user_id"], test["item_id"], strict=True)
    )
    assert min(test["timestamp"]) > max(train["timestamp"])
    assert {*train["item_id"], *test["item_id"]} <= set(films()["item_id"])
    assert set(train["rating"]) == {1, 2, 3, 4, 5}


def test_drawn_items_are_known_and_hardly_ever_chosen():
    users = [f"u{i}" for i in range(4) for _ in range(3)]
    items = [f"i{(3 * i + j) % 12}" for i in range(4) for j in range(3)]
    catalogue = Catalogue.learn(users, items, spare=1.0)
    objective = make_objective("bce", catalogue, negatives=500)
    drawn = objective.draw(tf.constant([1, 2, 3, 4]), training=True).numpy()
    again = objective.draw(tf.constant([1, 2, 3, 4]), training=True).numpy()
    assert drawn.min() == 1
    assert drawn.max() == 12
    assert (drawn != again).any()
    chosen = catalogue.histories.contains(tf.constant([1, 2, 3, 4]), tf.constant(drawn)).numpy()
    assert chosen.mean() < 1.5 * 0.25**2
    same = [objective.draw(tf.constant([1, 2]), training=False).numpy() for _ in range(2)]
    assert np.array_equal(*same)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_drawn_numbers_are_uniform_and_of_the_seed(jit_compile):
    drawing = tf.function(lambda seed: draw(60_000, 30, seed=seed), jit_compile=jit_compile, autograph=False)
    drawn = [
        drawing(tf.constant([seed, step])).numpy() for seed, step in ((0, 0), (0, 1), (1, 0), (0, 2**31 - 1))
    ]
    for numbers in drawn:
        assert (numbers.min(), numbers.max()) == (0, 29)
        chi = np.sum((np.bincount(numbers) - 2000.0) ** 2 / 2000.0)
        assert chi < 70  # of 29 degrees of freedom, exceeded once in 30,000
        pairs = np.bincount(numbers[:-1] * 30 + numbers[1:], minlength=900) - 60_000 / 900
        assert np.sum(pairs**2) / (60_000 / 900) < 1100
    for i, one in enumerate(drawn):
        assert np.array_equal(
            one, draw(60_000, 30, seed=tf.constant([(0, 0), (0, 1), (1, 0), (0, 2**31 - 1)][i]))
        )
        for other in drawn[:i]:
            assert abs(np.mean(one == other) - 1 / 30) < 0.004
