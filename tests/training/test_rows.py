"""Random access to encoded rows, and which steps go into one call."""

from __future__ import annotations

import itertools
import resource

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import Points, Words, words
from variants import Bags

from kerasft import DataError, TrainingError
from kerasft.data import open_source
from kerasft.training.examples import Examples
from kerasft.training.grouping import group_steps
from kerasft.training.rows import RowStore

DTYPES = (np.float32, np.int32, np.int64, np.bool_, np.float64, tf.bfloat16.as_numpy_dtype)


@st.composite
def tables(draw):
    """Columns of rows: name to (row arrays, whether their first axis varies)."""
    count = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    columns = {}
    for i in range(draw(st.integers(1, 3))):
        generator = np.random.default_rng([seed, i])
        dtype, tail = draw(st.sampled_from(DTYPES)), tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
        variable = draw(st.booleans())
        lengths = [draw(st.integers(0, 4)) for _ in range(count)] if variable else [0] * count
        shapes = [(length, *tail) if variable else tail for length in lengths]
        rows = [np.asarray(generator.integers(0, 100, shape)).astype(dtype) for shape in shapes]
        columns[f"column {i}"] = (rows, variable)
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
    return columns, [part for part in np.split(np.arange(count), cuts) if len(part)]


@given(tables(), st.sampled_from([0, 40, 1 << 30]), st.data())
@settings(max_examples=80, deadline=None)
def test_rows_come_back_as_they_went_in(table, memory_limit, data):
    columns, chunks = table
    store = RowStore(memory_limit=memory_limit)
    for chunk in chunks:
        values, lengths = {}, {}
        for name, (rows, variable) in columns.items():
            part = [rows[i] for i in chunk]
            values[name] = np.concatenate(part) if variable else np.stack(part)
            if variable:
                lengths[name] = np.array([len(row) for row in part])
        store.append(values, lengths)
    store.finish()
    total = sum(row.nbytes for rows, _ in columns.values() for row in rows)
    assert store.on_disk == (total > memory_limit)
    assert store.nbytes == total

    count = sum(map(len, chunks))
    indices = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8)), np.int64)
    taken = store.take(indices)
    assert set(taken) == set(columns)
    variable_lengths = []
    for name, (rows, variable) in columns.items():
        array = taken[name]
        shape, dtype = store.spec(name)
        assert array.dtype == dtype == rows[0].dtype
        assert len(array.shape) == len(shape)
        if not variable:
            np.testing.assert_array_equal(array, np.stack([rows[i] for i in indices]))
            continue
        variable_lengths.append([len(row) for row in rows])
        assert array.shape[1] == max(len(rows[i]) for i in indices)
        for row, i in zip(array, indices, strict=True):
            np.testing.assert_array_equal(row[: len(rows[i])], rows[i])
            assert not row[len(rows[i]) :].any()
    if variable_lengths:
        np.testing.assert_array_equal(store.lengths(), np.max(variable_lengths, axis=0))
    else:
        assert store.lengths() is None


def test_folder_on_disk_goes_with_the_store():
    store = RowStore(memory_limit=0)
    store.append({"x": np.ones(4)}, {})
    store.finish()
    folder = store._folder
    assert folder.is_dir()
    del store
    assert not folder.exists()


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2)), max_size=30), st.integers(1, 6), st.data()
)
def test_runs_of_steps_are_whole_alike_short_and_the_same_after_a_resume(steps, limit, data):
    kinds, sizes = [kind for kind, _ in steps], [size for _, size in steps]
    whole = list(group_steps(kinds, sizes, first=0, limit=limit))
    assert [step for run in whole for step in run] == list(range(len(steps)))
    assert all(0 < len(run) <= limit for run in whole)
    assert all(len({steps[i] for i in run}) == 1 for run in whole)
    # No run is cut without need.
    for run, following in itertools.pairwise(whole):
        assert steps[run[-1]] != steps[following[0]] or run.stop % limit == 0
    first = data.draw(st.integers(0, len(steps)))
    resumed = list(group_steps(kinds, sizes, first=first, limit=limit))
    assert [run.stop for run in resumed] == [run.stop for run in whole if run.stop > first]


def examples(task, rows, **options):
    return Examples(task=task, source=open_source(rows, fields=task.fields()), targets=True, **options)


def test_examples_are_padded_with_zeros_to_the_longest_of_the_batch():
    rows = {"text": ["a", "bcd", "ef"], "label": ["a", "b", "a"]}
    batch = examples(Bags(), rows).batch(np.array([1, 0]))
    assert batch.features["ids"].tolist() == [[99, 100, 101], [98, 0, 0]]
    assert batch.targets["label"].tolist() == [1, 0]
    assert batch.sample_weight is None


def test_examples_on_disk_are_those_in_memory():
    rows = words(20)
    here, there = (examples(Words(), rows, memory_limit=limit) for limit in (1 << 30, 0))
    assert (here.on_disk, there.on_disk) == (False, True)
    for indices in (np.arange(20), np.array([7, 3, 3])):
        for name in ("ids",):
            np.testing.assert_array_equal(
                here.batch(indices).features[name], there.batch(indices).features[name]
            )


class Wide(Words):
    def preprocess(self, raw):
        return {"wide": tf.zeros((tf.shape(raw["text"])[0], 1 << 18), tf.float32)}


def test_large_rows_are_encoded_a_few_at_once_and_small_ones_many():
    ends = {}
    for task in (Wide(), Words()):
        ends[task.__class__], rows = [], words(160 if isinstance(task, Wide) else 700)
        examples(task, rows, memory_limit=0, progress=ends[task.__class__].append)
    assert np.diff(ends[Wide]).tolist() == [63, 63, 2], "64 MiB of 1 MiB each, less the bytes of the targets"
    assert np.diff(ends[Words]).tolist() == [512, 156]


class Deep(Words):
    def preprocess(self, raw):
        return {"ids": tf.ragged.stack([super().preprocess(raw)["ids"]], axis=1)}


class Stringy(Words):
    def preprocess(self, raw):
        return {"text": raw["text"]}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Deep, r"'features ids' is ragged in 2 dimensions; only the first after the batch may be"),
        (Stringy, r"'features text' is a string tensor, which a model cannot take"),
    ],
)
def test_features_that_no_model_takes_are_refused(task, message):
    with pytest.raises(TrainingError, match=message):
        examples(task(), words(4))


def test_rows_are_padded_to_a_multiple_but_not_beyond_the_longest_of_all():
    store = RowStore(memory_limit=1 << 20)
    lengths = np.array([1, 5, 9, 2])
    store.append({"x": np.arange(1, 18), "fixed": np.arange(4)}, {"x": lengths})
    store.finish()
    for indices, expected in (([0], 4), ([0, 1], 8), ([2, 3], 9)):
        taken = store.take(np.array(indices), multiple=4)
        assert taken["x"].shape == (len(indices), expected)
        assert taken["fixed"].tolist() == indices
        assert (taken["x"] > 0).sum(axis=1).tolist() == lengths[indices].tolist()


@pytest.mark.parametrize("full", [False, True])
def test_a_disk_that_cannot_take_the_rows_is_one_clear_error(full, tmp_path, monkeypatch):
    place = tmp_path / "place"
    monkeypatch.setattr("tempfile.tempdir", str(place))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if full:
        place.mkdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(TrainingError, match=rf"{place}.* cannot take the encoded rows .*cache_memory_mb"):
            RowStore(memory_limit=1000).append({"x": np.ones(9999)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_rows_are_refused():
    with pytest.raises(DataError, match=r"no rows"):
        examples(Points(), {"x": [], "y": [], "label": []})
