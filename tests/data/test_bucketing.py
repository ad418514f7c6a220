"""The order of an epoch: a pure function, every row once, and less padding with lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasft.data import epoch_batches, padding_waste
from kerasft.errors import DataError

sizes = st.integers(0, 400)
batch_sizes = st.integers(1, 40)
seeds = st.integers(-5, 2**40)


def skewed(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).geometric(0.05, n)


@given(
    n=sizes,
    batch_size=batch_sizes,
    seed=seeds,
    epoch=st.integers(0, 9),
    bucketed=st.booleans(),
    shuffle=st.booleans(),
)
def test_every_row_comes_once_in_batches_of_exact_size(n, batch_size, seed, epoch, bucketed, shuffle):
    lengths = skewed(n) if bucketed else None
    batches = epoch_batches(n, batch_size, seed=seed, epoch=epoch, lengths=lengths, shuffle=shuffle)
    rows = np.concatenate([*batches, np.zeros(0, np.int64)])
    assert rows.dtype == np.int64
    assert sorted(rows.tolist()) == list(range(n))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert not batches or 0 < len(batches[-1]) <= batch_size


@given(n=sizes, batch_size=batch_sizes, seed=seeds, bucketed=st.booleans(), shuffle=st.booleans())
def test_same_arguments_give_the_same_batches(n, batch_size, seed, bucketed, shuffle):
    lengths = skewed(n) if bucketed else None
    first, second = (
        epoch_batches(n, batch_size, seed=seed, epoch=3, lengths=lengths, shuffle=shuffle) for _ in range(2)
    )
    assert len(first) == len(second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@given(n=sizes, batch_size=batch_sizes, bucketed=st.booleans(), shuffle=st.booleans())
def test_drop_remainder_leaves_full_batches_only(n, batch_size, bucketed, shuffle):
    lengths = skewed(n) if bucketed else None
    batches = epoch_batches(
        n, batch_size, seed=0, epoch=0, lengths=lengths, shuffle=shuffle, drop_remainder=True
    )
    assert [len(batch) for batch in batches] == [batch_size] * (n // batch_size)
    rows = np.concatenate([*batches, np.zeros(0, np.int64)])
    assert len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("bucketed", [False, True])
def test_epochs_and_seeds_differ(bucketed):
    lengths = skewed(500) if bucketed else None

    def order(seed, epoch):
        return np.concatenate(epoch_batches(500, 16, seed=seed, epoch=epoch, lengths=lengths)).tolist()

    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_without_lengths_the_order_is_plain():
    rows = np.concatenate(epoch_batches(10, 3, seed=0, epoch=0, shuffle=False))
    assert rows.tolist() == list(range(10))
    whole = epoch_batches(100, 100, seed=1, epoch=2)[0]
    parts = np.concatenate(epoch_batches(100, 7, seed=1, epoch=2))
    assert whole.tolist() == parts.tolist() != list(range(100))


@given(seed=st.integers(0, 1000), batch_size=st.integers(4, 64))
def test_lengths_reduce_padding(seed, batch_size):
    lengths = skewed(3000, seed)
    plain = padding_waste(epoch_batches(3000, batch_size, seed=seed, epoch=0), lengths)
    bucketed = epoch_batches(3000, batch_size, seed=seed, epoch=0, lengths=lengths)
    assert padding_waste(bucketed, lengths) < 0.5 * plain
    sorted_ = epoch_batches(3000, batch_size, seed=seed, epoch=0, lengths=lengths, shuffle=False)
    assert padding_waste(sorted_, lengths) < 0.5 * plain
    assert lengths[sorted_[0]].min() >= lengths[sorted_[-1]].max()


@pytest.mark.parametrize("rows", [1000, 20_000])
def test_short_and_long_batches_are_mixed_over_the_epoch(rows):
    lengths = skewed(rows)
    batches = epoch_batches(rows, 20, seed=0, epoch=0, lengths=lengths)
    means = np.array([lengths[batch].mean() for batch in batches])
    drift = np.corrcoef(np.arange(len(means)), means)[0, 1]
    neighbours = np.corrcoef(means[:-1], means[1:])[0, 1]
    assert abs(drift) < 0.4
    assert abs(neighbours) < 0.4


def test_the_last_small_batch_is_not_made_of_the_longest_rows():
    lengths = np.arange(1005)
    rests = [epoch_batches(1005, 10, seed=seed, epoch=0, lengths=lengths)[-1] for seed in range(40)]
    assert 300 < np.concatenate(rests).mean() < 700


def test_wrong_arguments_are_named():
    with pytest.raises(DataError, match="batch_size is 0"):
        epoch_batches(5, 0, seed=0, epoch=0)
    with pytest.raises(DataError, match=r"lengths has shape \(4,\) for 5 rows"):
        epoch_batches(5, 2, seed=0, epoch=0, lengths=np.ones(4))


def test_padding_waste_of_nothing_is_zero():
    assert padding_waste([], np.zeros(0)) == 0.0


@given(n=sizes, tokens=st.integers(1, 300), seed=seeds, epoch=st.integers(0, 9), shuffle=st.booleans())
def test_batches_by_tokens_hold_every_row_once_and_no_more_than_the_budget(n, tokens, seed, epoch, shuffle):
    lengths = skewed(n)
    batches = epoch_batches(n, 1, seed=seed, epoch=epoch, lengths=lengths, tokens=tokens, shuffle=shuffle)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(n))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens
    again = epoch_batches(n, 1, seed=seed + 1, epoch=epoch + 1, lengths=lengths, tokens=tokens)
    assert len(again) == len(batches)


def test_epochs_by_tokens_differ_in_which_rows_meet():
    lengths = np.full(40, 7)
    first, second = (epoch_batches(40, 1, seed=0, epoch=e, lengths=lengths, tokens=70) for e in (0, 1))
    assert {tuple(sorted(batch)) for batch in first} != {tuple(sorted(batch)) for batch in second}


def test_batches_by_tokens_of_rows_without_length_are_refused():
    with pytest.raises(DataError, match="variable length"):
        epoch_batches(4, 1, seed=0, epoch=0, tokens=8)
