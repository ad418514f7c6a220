"""Held-out rows, class balance and class weights."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console

from kerasft.data import Field, balanced_weights, describe_balance, open_source, split
from kerasft.errors import DataError

FIELDS = (Field(name="text"), Field(name="label", kind="label", target=True))


def labelled(labels):
    return open_source({"text": [f"t{row}" for row in range(len(labels))], "label": labels}, fields=FIELDS)


def texts(source):
    return source.take(range(len(source)))["text"]


counts_of_classes = st.lists(st.integers(1, 30), min_size=1, max_size=6)


@given(counts=counts_of_classes, fraction=st.floats(0.02, 0.6), seed=st.integers(0, 99), data=st.data())
def test_stratified_splits_keep_the_shares(counts, fraction, seed, data):
    labels = [f"c{name}" for name, count in enumerate(counts) for _ in range(count)]
    labels = data.draw(st.permutations(labels))
    size = max(1, round(len(labels) * fraction))
    assume(size <= sum(count - 1 for count in counts))
    source = labelled(labels)
    train, held_out = split(source, fraction, seed=seed, stratify="label")
    assert sorted(texts(train) + texts(held_out)) == sorted(texts(source))
    assert len(held_out) == size
    left, held = train.class_counts("label"), held_out.class_counts("label")
    capped = False
    for name, count in enumerate(counts):
        assert left.get(f"c{name}", 0) >= 1
        capped |= count - 1 < count * size / len(labels)
    if not capped:
        exact = {f"c{name}": count * size / len(labels) for name, count in enumerate(counts)}
        assert all(abs(held.get(name, 0) - wanted) < 1 for name, wanted in exact.items())


def test_the_same_seed_gives_the_same_split_and_another_another():
    source = labelled([row % 3 for row in range(90)])
    for stratify in (None, "label"):
        first, again, other = (split(source, 0.2, seed=seed, stratify=stratify) for seed in (1, 1, 2))
        assert [texts(part) for part in first] == [texts(part) for part in again]
        assert texts(first[1]) != texts(other[1])
        assert len(first[1]) == 18


def test_parts_keep_the_order_of_the_source():
    for part in split(labelled([0, 1] * 50), 0.3, seed=0, stratify="label"):
        numbers = [int(text[1:]) for text in texts(part)]
        assert numbers == sorted(numbers)


def test_a_number_of_rows():
    train, held_out = split(labelled([0] * 10), 3, seed=0)
    assert (len(train), len(held_out)) == (7, 3)


def test_unstratified_splits_reach_every_row():
    source = labelled([0] * 20)
    seen = {text for seed in range(60) for text in texts(split(source, 2, seed=seed)[1])}
    assert len(seen) == 20


def test_single_rows_stay_in_training_while_there_is_room():
    source = labelled(["a"] * 10 + ["b"] + ["c"])
    for seed in range(10):
        assert set(split(source, 5, seed=seed, stratify="label")[1].class_counts("label")) == {"a"}
    assert len(split(source, 10, seed=0, stratify="label")[1]) == 10


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        ([0, 1], 0.0, "the share 0.0 to hold out is not between 0 and 1"),
        ([0, 1], 1.0, "the share 1.0"),
        ([0, 1], 2, "cannot hold out 2 of 2 rows; hold out 1 to 1"),
        ([0, 1], 0, "cannot hold out 0 of 2 rows"),
        ([0, 1], True, "cannot hold out True"),
        ([0, 1], "0.1", "cannot hold out '0.1'; give a share such as 0.1"),
        ([0], 0.5, "one row cannot be split"),
        ([0, 0, 1, 1], 3, "keep one of each of 2 classes for training; hold out at most 2"),
    ],
)
def test_impossible_splits_are_named(labels, fraction, message):
    with pytest.raises(DataError, match=message):
        split(labelled(labels), fraction, seed=0, stratify="label")


def test_only_labels_stratify():
    with pytest.raises(DataError, match="the field 'text' is a text and has no such classes; use label"):
        split(labelled([0, 1, 0, 1]), 0.5, seed=0, stratify="text")


def test_a_split_of_a_split():
    train, test = split(labelled([row % 2 for row in range(100)]), 0.2, seed=0, stratify="label")
    train, validation = split(train, 0.25, seed=0, stratify="label")
    assert [len(part) for part in (train, validation, test)] == [60, 20, 20]
    assert len(set(texts(train) + texts(validation) + texts(test))) == 100


def test_balance_is_printed_most_frequent_first():
    balance = describe_balance(labelled(["a", "b", "b", "b"]))
    assert (balance.field, balance.rows, balance.ratio) == ("label", 4, 3.0)
    lines = str(balance).splitlines()
    assert lines[0] == "the arrays: 4 rows, 2 classes of 'label'"
    assert [line.split()[:3] for line in lines[1:]] == [["b", "3", "75.0%"], ["a", "1", "25.0%"]]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(balance.table())
    assert "75.0%" in console.export_text()


def test_balance_of_many_classes_is_cut():
    text = str(describe_balance(labelled([row % 150 for row in range(400)])))
    assert len(text.splitlines()) == 22
    assert "... 130 more" in text


def test_balance_needs_classes():
    source = open_source(["a"], fields=FIELDS, targets=False)
    with pytest.raises(DataError, match="has no target with classes; its fields are text"):
        describe_balance(source)


def test_weights_give_every_class_the_same_total():
    counts = {"a": 10, "b": 30, "c": 60, "never": 0}
    weights = balanced_weights(counts)
    assert weights["never"] == 1.0
    assert weights["a"] == pytest.approx(100 / (3 * 10))
    totals = [weights[name] * counts[name] for name in "abc"]
    assert np.allclose(totals, totals[0])
