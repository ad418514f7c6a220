"""Fields: what they accept, and that describing data needs no TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kerasft.data import Field, open_source
from kerasft.errors import ConfigError


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
