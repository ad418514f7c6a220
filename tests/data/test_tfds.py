"""TensorFlow Datasets, against their own mock data: nothing is downloaded."""

from __future__ import annotations

import sys

import pytest

import kerasft
from kerasft.data import Field, open_source
from kerasft.errors import DataError

FIELDS = (Field(name="text"), Field(name="label", kind="label", target=True))


@pytest.fixture(scope="module")
def tfds():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=9):
        yield tfds


def test_the_first_default_split_that_there_is_is_taken(monkeypatch, tmp_path):
    # Comes first in this file: mock data has every split.
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.testing.DummyDataset(data_dir=tmp_path)
    monkeypatch.setattr(tfds, "builder", lambda name: builder)
    fields = [Field(name="id", kind="number")]
    for splits in (("validation", "train"), ("train", "validation")):
        assert open_source("tfds:dummy", fields=fields, default_splits=splits).name == "tfds:dummy[train]"


def test_classes_come_under_their_names(tfds):
    source = open_source("tfds:imdb_reviews[test]", fields=FIELDS)
    assert source.name == "tfds:imdb_reviews[test]"
    assert len(source) == 9
    assert set(source.class_counts("label")) <= {"neg", "pos"}
    taken = source.take([8, 0])
    assert all(isinstance(text, str) and text.strip() for text in taken["text"])
    assert source.where(4) == "tfds:imdb_reviews[test], example 4"
    numbers = [int(row["label"]) for row in tfds.as_numpy(tfds.load("imdb_reviews", split="test"))]
    assert source.take(range(9))["label"] == [("neg", "pos")[number] for number in numbers]


def test_the_split_may_be_left_out_or_cut(tfds):
    assert open_source("tfds:imdb_reviews", fields=FIELDS).name == "tfds:imdb_reviews[train]"
    assert open_source("tfds:imdb_reviews/plain_text:1.0.0[train[:50%]]", fields=FIELDS).columns == (
        "text",
        "label",
    )


def test_sequences_of_classes_are_named_too(tfds):
    tags = Field(name="tags", kind="any", aliases=("ner",))
    source = open_source(
        "tfds:conll2003", fields=(Field(name="tokens", kind="tokens"), tags), on_error="skip"
    )
    assert {tag for row in source.iterate("tags") for tag in row} <= {
        "O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"
    }  # fmt: skip


def test_an_unknown_dataset_names_near_ones(tfds):
    with pytest.raises(DataError, match="there is no dataset 'imdb_review'; did you mean imdb_reviews"):
        open_source("tfds:imdb_review", fields=FIELDS)


def test_a_column_that_is_missing_is_named(tfds):
    with pytest.raises(DataError, match=r"tfds:mnist\[train\] has no column for 'text'.*'image', 'label'"):
        open_source("tfds:mnist", fields=FIELDS)


def test_without_tensorflow_datasets_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"needs tensorflow-datasets.*pip install 'kerasft\[data\]'"):
        open_source("tfds:imdb_reviews", fields=FIELDS)


@pytest.mark.parametrize("address", ["tfds:", "tfds:imdb[", "tfds:imdb reviews"])
def test_a_wrong_address_is_named(address):
    with pytest.raises(DataError, match=r"is no tfds address; write tfds:name or tfds:name\[split\]"):
        open_source(address, fields=FIELDS)


def test_a_dataset_that_cannot_be_prepared_is_named(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def fail(self):
        raise OSError("no network")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match=r"tfds:imdb_reviews\[train\] cannot be opened \(no network\)"):
        open_source("tfds:imdb_reviews", fields=FIELDS)


def test_validation_is_not_the_training_split(tfds):
    task = kerasft.create("text", encoder="mlp", labels=["neg", "pos"], training={"epochs": 1})
    with pytest.raises(DataError, match=r"tfds:mnist\[validation\] has no column for 'text'"):
        task.finetune("tfds:imdb_reviews", validation_data="tfds:mnist", verbose="quiet")
    with pytest.raises(DataError, match=r"tfds:mnist\[train\] has no column for 'text'"):
        task.finetune("tfds:mnist", verbose="quiet")
