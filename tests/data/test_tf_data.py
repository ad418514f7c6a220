"""`tf.data.Dataset`: spilled to disk and read by number."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from kerasft.data import Field, open_source
from kerasft.errors import DataError

tf = pytest.importorskip("tensorflow")

TEXT = Field(name="text")
LABEL = Field(name="label", kind="label", target=True)
FIELDS = (TEXT, LABEL)
TOKENS = (Field(name="tokens", kind="tokens"), Field(name="tags", kind="tags", target=True))
ROWS = {"text": ["é good", "bad", "fine"], "label": [1, 0, 1]}
WANTED = {"text": ["é good", "bad", "fine"], "label": ["1", "0", "1"]}


@pytest.mark.parametrize("batch", [None, 1, 2])
@pytest.mark.parametrize("form", ["dict", "tuple", "dict-tuple"])
def test_rows_of_dicts_and_tuples_batched_or_not(batch, form):
    data = ROWS if form == "dict" else (ROWS["text"], ROWS["label"])
    if form == "dict-tuple":
        data = ({"sentence": ROWS["text"]}, ROWS["label"])
    dataset = tf.data.Dataset.from_tensor_slices(data)
    source = open_source(dataset if batch is None else dataset.batch(batch), fields=FIELDS)
    assert source.take([0, 1, 2]) == WANTED
    assert source.take([2, 0])["text"] == ["fine", "é good"]
    assert source.class_counts("label") == {"0": 1, "1": 2}
    assert source.where(1) == "the tf.data.Dataset, example 1"


def test_inputs_alone():
    dataset = tf.data.Dataset.from_tensor_slices(["a", "b"])
    assert open_source(dataset, fields=FIELDS, targets=False).take([1]) == {"text": ["b"]}
    assert open_source(dataset.batch(2), fields=FIELDS, targets=False).take([1]) == {"text": ["b"]}


@pytest.mark.parametrize("batched", [False, True])
def test_ragged_tokens(batched):
    rows = {
        "tokens": tf.ragged.constant([["a", "b"], ["c"]]),
        "tags": tf.ragged.constant([["O", "B"], ["O"]]),
    }
    dataset = tf.data.Dataset.from_tensor_slices(rows)
    source = open_source(dataset.ragged_batch(2) if batched else dataset, fields=TOKENS)
    assert source.take([1, 0]) == {"tokens": [["c"], ["a", "b"]], "tags": [["O"], ["O", "B"]]}


def test_images_need_a_word_when_the_shapes_do_not_tell():
    images = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)
    fields = (Field(name="image", kind="any"),)
    dataset = tf.data.Dataset.from_tensor_slices({"image": images}).batch(2)
    with pytest.raises(DataError, match="say batched=True or False"):
        open_source(dataset, fields=fields)
    source = open_source(dataset, fields=fields, batched=True)
    assert np.array_equal(source.take([3, 0])["image"], images[[3, 0]])
    labelled = tf.data.Dataset.from_tensor_slices({"image": images, "label": [0, 1, 0, 1]}).batch(2)
    assert np.array_equal(open_source(labelled, fields=(*fields, LABEL)).take([2])["image"], images[[2]])


def test_infinite_failing_and_empty_datasets_are_named():
    dataset = tf.data.Dataset.from_tensor_slices(ROWS)
    with pytest.raises(DataError, match=r"is infinite; cut it with \.take\(n\)"):
        open_source(dataset.repeat(), fields=FIELDS)
    assert len(open_source(dataset.repeat().take(7), fields=FIELDS)) == 7
    with pytest.raises(DataError, match="has no rows"):
        open_source(dataset.take(0), fields=FIELDS)

    def fail(row):
        with tf.control_dependencies(
            [tf.debugging.assert_none_equal(row["text"], "fine", message="no fine")]
        ):
            return {name: tf.identity(value) for name, value in row.items()}

    with pytest.raises(DataError, match=r"the tf\.data\.Dataset failed after 2 examples: .*no fine"):
        open_source(dataset.map(fail), fields=FIELDS)


def test_bad_examples_are_named_by_number():
    dataset = tf.data.Dataset.from_tensor_slices({"text": ["a", b"\xff", " "], "label": [0, 1, 1]})
    with pytest.raises(DataError, match="example 1: column 'text' holds broken UTF-8"):
        open_source(dataset, fields=FIELDS)
    source = open_source(dataset, fields=FIELDS, on_error="skip")
    assert (len(source), source.skipped) == (1, 2)


def test_equal_datasets_have_equal_fingerprints():
    def opened(labels):
        dataset = tf.data.Dataset.from_tensor_slices({"text": ROWS["text"], "label": labels})
        return open_source(dataset, fields=FIELDS).fingerprint()

    assert opened([1, 0, 1]) == opened([1, 0, 1]) != opened([1, 1, 1])


def test_only_the_columns_that_are_read_are_spilled(monkeypatch):
    make, files = tempfile.TemporaryFile, []
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda **options: files.append(make(**options)) or files[-1]
    )
    rows = {"text": ["a"] * 50, "label": [0] * 50, "image": np.zeros((50, 64, 64, 3), np.float32)}
    source = open_source(tf.data.Dataset.from_tensor_slices(rows), fields=FIELDS)
    assert len(source) == 50
    assert [0 < os.fstat(file.fileno()).st_size < 10_000 for file in files] == [True]
