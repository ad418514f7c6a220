"""Fields: what they accept, and that describing data needs no TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from kerasft.data import Field, open_source
from kerasft.errors import ConfigError, DataError


def test_lists_become_tuples_so_that_fields_are_hashable():
    field = Field(name="label", kind="label", aliases=["y"], classes=["a", "b"])
    assert field.aliases == ("y",)
    assert field in {field}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "word"}, "kind 'word' is not one of text, label"),
        ({"kind": "text", "classes": ("a",)}, "a text has no classes"),
        ({"kind": "label", "classes": ("a", "a")}, "repeat a name"),
        ({"kind": "label", "classes": "ab"}, "classes is the string 'ab'"),
        ({"kind": "label", "aliases": "y"}, "aliases is the string 'y'"),
        ({"kind": "label", "over": "text"}, "`over` is for tags and spans"),
    ],
)
def test_contradictions_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Field(name="x", **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "there are none"),
        ([Field(name="a"), Field(name="a")], "more than one is called a"),
        ([Field(name="tags", kind="tags")], "tags lie over exactly one tokens field, found 0"),
        (
            [Field(name="a"), Field(name="b"), Field(name="s", kind="spans")],
            "exactly one text field, found 2",
        ),
    ],
)
def test_fields_that_do_not_fit_together_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        open_source({"a": ["x"]}, fields=fields)


def test_over_says_which_text_the_spans_lie_over():
    fields = [Field(name="a"), Field(name="b"), Field(name="s", kind="spans", over="b")]
    rows = {"a": ["x"], "b": ["long enough"], "s": [[[0, 4, "t"]]]}
    assert open_source(rows, fields=fields).take([0])["s"] == [[(0, 4, "t")]]


def test_data_imports_neither_tensorflow_nor_pandas():
    code = (
        "import sys, kerasft.data as d\n"
        "d.open_source({'text': ['a']}, fields=[d.Field(name='text')]).take([0])\n"
        "names = ('tensorflow', 'keras', 'pandas', 'tensorflow_datasets', 'rich')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_field_is_a_target_or_of_requests():
    with pytest.raises(ConfigError, match="either a target or of requests only"):
        Field(name="k", kind="integer", target=True, request=True)


def test_fields_of_requests_are_read_for_requests_only():
    fields = [Field(name="text"), Field(name="k", kind="integer", request=True)]
    data = {"text": ["a", "b"], "k": [3, 4]}
    assert open_source(data, fields=fields).columns == ("text",)
    assert open_source(data, fields=fields, requests=True).take([1])["k"].tolist() == [4]


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7 ", b"7", np.int32(7), np.float64(7), np.array(7)])
def test_whole_numbers_come_in_many_forms(value):
    source = open_source([{"k": value}], fields=[Field(name="k", kind="integer")])
    assert source.take([0])["k"].tolist() == [7]
    assert source.take([0])["k"].dtype == np.int64


@pytest.mark.parametrize("value", [0.5, "7.0", "x", True, 2**63, [1], "1_000", float("inf")])
def test_what_is_no_whole_number_is_a_bad_row(value):
    with pytest.raises(DataError, match="which is not a whole number of 64 bits"):
        open_source([{"k": 1}, {"k": value}], fields=[Field(name="k", kind="integer")])


def test_large_whole_numbers_stay_exact():
    source = open_source({"k": [2**62 + 1]}, fields=[Field(name="k", kind="integer")])
    assert source.take([0])["k"].tolist() == [2**62 + 1]
