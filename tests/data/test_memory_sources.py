"""Arrays, lists, rows, pandas and a plugin's own records."""

from __future__ import annotations

import numpy as np
import pytest

from kerasft.data import Broken, Field, open_source
from kerasft.errors import DataError

TEXT = Field(name="text")
LABEL = Field(name="label", kind="label", target=True)
FIELDS = (TEXT, LABEL)
WANTED = {"text": ["good", "bad"], "label": ["1", "0"]}


@pytest.mark.parametrize(
    "data",
    [
        {"text": ["good", "bad"], "label": [1, 0]},
        {"text": np.array(["good", "bad"]), "label": np.array([1, 0], np.int8), "other": np.zeros((2, 3))},
        {"text": np.array([b"good", b"bad"]), "label": ("1", "0")},
        (["good", "bad"], [1, 0]),
        (np.array(["good", "bad"], object), np.array([1.0, 0.0])),
        ({"sentence": ["good", "bad"]}, [1, 0]),
        (["good", "bad"], {"sentiment": [1, 0]}),
        [{"text": "good", "label": 1}, {"text": "bad", "label": "0", "extra": None}],
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_sort_of_array_gives_the_same(data):
    source = open_source(data, fields=FIELDS)
    assert source.take([0, 1]) == WANTED
    assert all(type(value) is str for values in source.take([0, 1]).values() for value in values)


@pytest.mark.parametrize("data", [["good", "bad"], np.array(["good", "bad"]), (["good", "bad"],)])
def test_plain_values_are_the_only_input(data):
    assert open_source(data, fields=FIELDS, targets=False).take([1]) == {"text": ["bad"]}


def test_sample_weights_are_the_third_part():
    weight = Field(name="sample_weight", kind="number", required=False)
    source = open_source((["a", "b"], [0, 1], [0.5, 2.0]), fields=(*FIELDS, weight))
    assert source.take([0, 1])["sample_weight"].tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text": ["a"], "label": [1, 2]}, "columns have different lengths \\('text' 1, 'label' 2\\)"),
        ({"text": "a", "label": "b"}, "the column 'text' holds 'a'; give a list or an array"),
        ({"text": [], "label": []}, "the arrays has no rows"),
        ([], "the list has no "),
        ((1, 2, 3, 4), "a tuple of 4 parts"),
        ({"text": {0: "a"}, "label": [1]}, "the column 'text' holds {0: 'a'}; give a list or an array"),
        (5, r"5 \(int\) is no data that can be opened; give a path"),
        ([{"text": "a"}, {"text": "b"}], "the list has no column for 'label'"),
    ],
)
def test_what_cannot_be_opened_is_named(data, message):
    with pytest.raises(DataError, match=message):
        open_source(data, fields=FIELDS)


def test_two_inputs_need_a_dict():
    fields = (Field(name="question"), Field(name="answer"), LABEL)
    with pytest.raises(DataError, match="the inputs are question, answer, so the first part must be a dict"):
        open_source((["a"], [1]), fields=fields)
    source = open_source(({"question": ["a"], "answer": ["b"]}, [1]), fields=fields)
    assert source.take([0]) == {"question": ["a"], "answer": ["b"], "label": ["1"]}


def test_arrays_of_any_kind_come_back_stacked():
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype(np.float32)
    fields = (Field(name="image", kind="any"), LABEL)
    got = open_source((images, [0, 1, 2, 1, 0]), fields=fields).take([3, 1])["image"]
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float32
    assert np.array_equal(got, images[[3, 1]])
    ragged = open_source(([np.zeros(2), np.zeros(3)], [0, 1]), fields=fields).take([0, 1])["image"]
    assert [value.shape for value in ragged] == [(2,), (3,)]


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": pandas.array(["good", "bad", None, "fine"], dtype="string"),
            "label": [1, 0, 1, None],
            "group": pandas.Categorical(["a", "b", "a", "b"]),
        },
        index=list("wxyz"),
    )
    group = Field(name="group", kind="label")
    source = open_source(frame[:2], fields=(*FIELDS, group))
    assert source.take([0, 1]) == {**WANTED, "group": ["a", "b"]}
    with pytest.raises(DataError, match="the DataFrame, row 2: column 'text' has no value"):
        open_source(frame, fields=FIELDS)
    source = open_source(frame, fields=FIELDS, on_error="skip")
    assert (len(source), source.skipped) == (2, 2)
    assert "row 3: column 'label' has no value" in source.skip_examples[1]
    frame.columns = ["text", "label", "text"]
    with pytest.raises(DataError, match="repeats the column 'text'"):
        open_source(frame, fields=FIELDS)


@pytest.mark.parametrize("index", [[5, 3, 0, 1], [1, 0, 3, 2], list("dbca"), [7, 7, 7, 7]], ids=str)
@pytest.mark.parametrize(
    "pick",
    [
        lambda frame: {"text": frame["text"], "label": frame["label"]},
        lambda frame: (frame["text"], frame["label"]),
        lambda frame: (frame["text"], frame["label"].to_numpy()),
        lambda frame: (frame["text"].tolist(), frame["label"]),
        lambda frame: (frame[["text"]], frame["label"]),
    ],
    ids=["dict", "two Series", "Series and array", "list and Series", "frame and Series"],
)
def test_series_are_read_by_position_whatever_their_index(pick, index):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": list("abcd"), "label": [3, 1, 3, 2]}, index=index)
    source = open_source(pick(frame), fields=FIELDS)
    assert source.take([3, 0, 1]) == {"text": ["d", "a", "b"], "label": ["2", "3", "1"]}
    codes, classes = source.codes("label")
    assert [classes[code] for code in codes] == source.take(range(4))["label"] == ["3", "1", "3", "2"]
    assert source.subset([2, 3]).take([0])["text"] == ["c"]


def test_a_series_alone_is_the_only_input():
    pandas = pytest.importorskip("pandas")
    texts = pandas.Series(["good", "bad", None], index=[2, 0, 1])
    assert open_source(texts[:2], fields=FIELDS, targets=False).take([1]) == {"text": ["bad"]}
    with pytest.raises(DataError, match="the list, row 2: column 'text' has no value"):
        open_source(texts, fields=FIELDS, targets=False)


def test_pandas_integers_that_became_floats_keep_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b", "c"], "label": [1, None, 2]})
    assert open_source(frame, fields=FIELDS, on_error="skip").class_counts("label") == {"1": 1, "2": 1}


class Squares:
    """Records as a plugin may bring them."""

    name = "squares"
    columns = ("text", "label")

    def head(self):
        return [{"text": "0", "label": 0}]

    def scan(self, columns):
        for number in range(5):
            yield Broken("an odd one", "take it out") if number == 3 else self._row(number, columns)

    def read(self, numbers, columns):
        return [self._row(number, columns) for number in numbers.tolist()]

    def where(self, number):
        return f"square {number}"

    def digest(self, columns):
        return b"squares"

    def _row(self, number, columns):
        return [{"text": str(number**2), "label": number % 2}[column] for column in columns]


def test_records_of_a_plugin():
    with pytest.raises(DataError, match="square 3: an odd one; take it out, or leave bad rows out"):
        open_source(Squares(), fields=FIELDS)
    source = open_source(Squares(), fields=FIELDS, on_error="skip")
    assert source.take([3, 1]) == {"text": ["16", "1"], "label": ["0", "1"]}
    assert source.where(3) == "square 4"


def test_a_source_passes_through():
    source = open_source((["a"], [1]), fields=FIELDS)
    assert open_source(source, fields=FIELDS) is source
    assert open_source(source, fields=FIELDS, targets=False) is source
    unlabelled = open_source(["a"], fields=FIELDS, targets=False)
    with pytest.raises(DataError, match="was opened with the fields text; needed: text, label"):
        open_source(unlabelled, fields=FIELDS)
