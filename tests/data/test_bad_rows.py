"""Every planted bad row is named with file, line, value and remedy, and can be skipped and counted."""

from __future__ import annotations

import numpy as np
import pytest

from kerasft.data import Field, open_source
from kerasft.errors import DataError

TEXT = Field(name="text")
LABEL = Field(name="label", kind="label", target=True)
KNOWN = Field(name="label", kind="label", target=True, classes=("negative", "positive"))
NUMBER = Field(name="score", kind="number", target=True)
TOKENS = (Field(name="tokens", kind="tokens"), Field(name="tags", kind="tags", target=True))
LABELS = (TEXT, Field(name="label", kind="labels", classes=("x", "y")))
KNOWN_TAGS = (TOKENS[0], Field(name="tags", kind="tags", classes=("O", "B-y")))
SPANS = (TEXT, Field(name="spans", kind="spans", target=True))

JSONL = b'{"text": "good", "label": "positive"}\n'
CSV = b"text,label\ngood,positive\n"
TSV = b"text\tlabel\ngood\tpositive\n"

GROUPS = [
    (
        "d.jsonl",
        JSONL,
        (TEXT, LABEL),
        {
            "json-broken": (b'{"text": "a", "label": \n', "line 2: invalid JSON (Expecting value"),
            "json-two-objects": (b'{"text": "a"} {"text": "b"}\n', "line 2: invalid JSON (Extra data"),
            "json-list": (b'["a", "b"]\n', "line 2: ['a', 'b'] is no JSON object"),
            "json-repeated-key": (b'{"text": "a", "text": "b", "label": 1}\n', "the key 'text' occurs twice"),
            "json-no-key": (b'{"text": "a"}\n', "line 2: column 'label' is missing; fill it in"),
            "json-null": (b'{"text": null, "label": 1}\n', "line 2: column 'text' has no value"),
            "json-number-as-text": (
                b'{"text": 5, "label": 1}\n',
                "line 2: column 'text' holds 5 (int), but a text is a string",
            ),
            "json-list-as-label": (
                b'{"text": "a", "label": [1]}\n',
                "column 'label' holds [1] (list), but a class is one word",
            ),
            "json-fraction-as-label": (
                b'{"text": "a", "label": 0.5}\n',
                "column 'label' holds 0.5, but a class is a word or a whole number; name the classes",
            ),
            "json-nan-label": (b'{"text": "a", "label": NaN}\n', "column 'label' has no value"),
            "json-empty-label": (
                b'{"text": "a", "label": " "}\n',
                "column 'label' is empty; give the row a label",
            ),
            "json-half-character": (
                b'{"text": "a \\ud83d b", "label": 1}\n',
                "column 'text' holds half a character ('\\ud83d' at position 2)",
            ),
            "json-utf8": (
                b'{"text": "caf\xe9", "label": 1}\n',
                "line 2: broken UTF-8 (byte 0xe9 at position 13 of the line); save the file as UTF-8",
            ),
        },
    ),
    (
        "d.csv",
        CSV,
        (TEXT, LABEL),
        {
            "csv-utf8": (b"caf\xe9,positive\n", "line 3: broken UTF-8 (byte 0xe9 at position 3 of the line)"),
            "csv-empty-text": (b"  ,positive\n", "line 3: column 'text' is empty; fill it in"),
            "csv-one-cell": (
                b"a\n",
                "line 3: one cell where the header has 2; check for a missing or an extra comma",
            ),
            "csv-three-cells": (b"a, b,positive\n", "line 3: 3 cells where the header has 2"),
            "csv-text-after-quote": (b'"a"b,positive\n', "line 3: a cell that cannot be read"),
            "csv-carriage-return": (b"a\rb,positive\n", "line 3: a carriage return inside a cell"),
        },
    ),
    (
        "d.tsv",
        TSV,
        (TEXT, LABEL),
        {
            "tsv-utf8": (b"caf\xe9\tpositive\n", "line 3: broken UTF-8 (byte 0xe9"),
            "tsv-empty-text": (b"\tpositive\n", "line 3: column 'text' is empty; fill it in"),
            "tsv-three-cells": (
                b"a\tb\tpositive\n",
                "line 3: 3 cells where the header has 2; check for a missing or an extra tab",
            ),
        },
    ),
    (
        "d.csv",
        CSV,
        (TEXT, KNOWN),
        {
            "csv-unknown-label": (
                b"a,postive\n",
                "holds 'postive', which is not one of the 2 classes (did you mean 'positive'?)",
            ),
            "csv-far-label": (b"a,xyz\n", "'xyz', which is not one of the 2 classes (negative, positive)"),
        },
    ),
    (
        "d.csv",
        b"text,score\na,1\n",
        (TEXT, NUMBER),
        {
            "csv-number": (b"b,high\n", "line 3: column 'score' holds 'high', which is not a number"),
            "csv-number-empty": (b"b,\n", "line 3: column 'score' is empty"),
            "csv-number-infinite": (b"b,inf\n", "'inf', which is not a finite float32 number"),
        },
    ),
    (
        "d.jsonl",
        b'{"text": "a", "score": 1}\n',
        (TEXT, NUMBER),
        {
            "json-number-too-large": (
                b'{"text": "b", "score": 1e39}\n',
                "1e+39, which is not a finite float32 number",
            ),
            "json-number-bool": (
                b'{"text": "b", "score": true}\n',
                "holds True (bool), but a number is expected",
            ),
        },
    ),
    (
        "d.jsonl",
        b'{"tokens": ["a"], "tags": ["O"]}\n',
        TOKENS,
        {
            "tags-too-few": (
                b'{"tokens": ["a", "b"], "tags": ["O"]}\n',
                "line 2: columns 'tokens' and 'tags' hold 2 tokens and 1 tags; give each token one tag",
            ),
            "tokens-empty": (b'{"tokens": [], "tags": []}\n', "line 2: column 'tokens' is empty"),
            "tokens-empty-string": (
                b'{"tokens": ["a", ""], "tags": ["O", "O"]}\n',
                "column 'tokens' holds an empty token",
            ),
            "tokens-number": (
                b'{"tokens": ["a", 5], "tags": ["O", "O"]}\n',
                "column 'tokens' holds 5 (int), but a token is a string",
            ),
        },
    ),
    (
        "d.tsv",
        b"tokens\ttags\na b\tO O\n",
        TOKENS,
        {
            "tags-too-many-tsv": (
                b"a b\tO O O\n",
                "line 3: columns 'tokens' and 'tags' hold 2 tokens and 3 tags",
            ),
        },
    ),
    (
        "d.jsonl",
        b'{"text": "abc", "spans": []}\n',
        SPANS,
        {
            "spans-out-of-text": (
                b'{"text": "abc", "spans": [[1, 4, "x"]]}\n',
                "line 2: column 'spans' holds [1, 4, 'x'] over a text of 3 characters",
            ),
            "spans-reversed": (
                b'{"text": "abc", "spans": [[2, 1, "x"]]}\n',
                "give character offsets with 0 <= start < end <= length",
            ),
            "spans-two-parts": (
                b'{"text": "abc", "spans": [[0, 1]]}\n',
                "holds [0, 1], which is no span; write spans as [[start, end, type], ...]",
            ),
            "spans-fraction": (
                b'{"text": "abc", "spans": [[0, 1.5, "x"]]}\n',
                "whose offsets are no whole numbers",
            ),
            "spans-null": (
                b'{"text": "abc", "spans": null}\n',
                "column 'spans' has no value; give an empty list",
            ),
        },
    ),
    (
        "d.csv",
        b"text,spans\nabc,[]\n",
        SPANS,
        {
            "spans-no-json": (b"abc,0-1\n", "line 3: column 'spans' holds '0-1', which is not JSON"),
        },
    ),
    (
        "d.jsonl",
        b'{"text": "a", "label": ["x"]}\n',
        LABELS,
        {
            "labels-unknown": (
                b'{"text": "b", "label": ["x", "z"]}\n',
                "line 2: column 'label' holds 'z', which is not one of the 2 classes (x, y)",
            ),
        },
    ),
    (
        "d.jsonl",
        b'{"tokens": ["a"], "tags": ["O"]}\n',
        KNOWN_TAGS,
        {
            "tags-unknown": (
                b'{"tokens": ["a"], "tags": ["B-x"]}\n',
                "line 2: column 'tags' holds 'B-x', which is not one of",
            ),
        },
    ),
]
BAD = {
    case: (name, good, bad, fields, message)
    for name, good, fields, cases in GROUPS
    for case, (bad, message) in cases.items()
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_raises_with_place_and_remedy(write, case):
    name, good, bad, fields, message = BAD[case]
    with pytest.raises(DataError) as error:
        open_source(write(name, good + bad + good.splitlines(keepends=True)[-1]), fields=fields)
    assert str(error.value).startswith(f"{name}, line ")
    assert message in str(error.value)
    assert str(error.value).endswith('or leave bad rows out with on_error="skip"')
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_skipped_and_counted(write, case):
    name, good, bad, fields, message = BAD[case]
    last = good.splitlines(keepends=True)[-1]
    path = write(name, good + bad + last + bad + last)
    source = open_source(path, fields=fields, on_error="skip")
    assert (len(source), source.skipped, len(source.skip_examples)) == (3, 2, 2)
    assert all(message.split("; ")[0].split(": ", 1)[-1] in example for example in source.skip_examples)
    assert "skipped 2 of 5 rows, the first: " in source.notes[0]
    taken = source.take([0, 1, 2])
    assert all(np.array_equal(values[0], values[2]) for values in taken.values())
    first = good.count(b"\n")
    assert [source.where(row) for row in range(3)] == [f"{name}, line {first + step}" for step in (0, 2, 4)]


def test_memory_rows_are_named_by_number():
    rows = [{"text": "a", "label": "x"}, {"label": "x"}, "text", {"text": b"\xff", "label": "x"}]
    with pytest.raises(DataError, match="the list, row 1: column 'text' is missing"):
        open_source(rows, fields=(TEXT, LABEL))
    source = open_source(rows, fields=(TEXT, LABEL), on_error="skip")
    assert source.skipped == 3
    assert "the list, row 2: 'text' is no dict" in source.skip_examples[1]
    assert (
        "the list, row 3: column 'text' holds broken UTF-8 (byte 0xff at position 0)"
        in source.skip_examples[2]
    )


def test_only_the_first_few_skipped_rows_are_kept_as_sentences(write):
    path = write("d.csv", "text,label\n" + ",x\n" * 100 + "a,x\n")
    source = open_source(path, fields=(TEXT, LABEL), on_error="skip")
    assert (len(source), source.skipped, len(source.skip_examples)) == (1, 100, 5)


def test_all_rows_bad_is_an_error_even_when_skipping(write):
    with pytest.raises(
        DataError, match=r"all 2 rows are bad, the first: d\.csv, line 2: column 'text' is empty"
    ):
        open_source(write("d.csv", "text,label\n,x\n,y\n"), fields=(TEXT, LABEL), on_error="skip")


def test_targets_are_not_checked_when_they_are_not_read(write):
    path = write("d.csv", "text,label\na,\nb,unknown\n")
    source = open_source(path, fields=(TEXT, KNOWN), targets=False)
    assert source.columns == ("text",)
    assert source.take([0, 1]) == {"text": ["a", "b"]}


def test_a_record_over_several_lines_is_named_by_its_first(write):
    path = write("d.csv", 'text,label\n"one\ntwo\nthree",x\n"four\nfive",\n')
    with pytest.raises(DataError, match=r"d\.csv, line 5: column 'label' is empty"):
        open_source(path, fields=(TEXT, LABEL))


def test_a_stray_quote_costs_one_row_not_the_rest(write):
    path = write("d.csv", 'text,label\n"open,x\nb,y\nc,z\n')
    with pytest.raises(DataError, match=r"d\.csv, line 2: a quote that is never closed"):
        open_source(path, fields=(TEXT, LABEL))
    source = open_source(path, fields=(TEXT, LABEL), on_error="skip")
    assert source.take([0, 1])["text"] == ["b", "c"]
    assert source.skipped == 1


def test_default_replaces_a_missing_value(write):
    weight = Field(name="weight", kind="number", default=1.0, required=False)
    path = write("d.jsonl", '{"text": "a", "weight": 2}\n{"text": "b"}\n{"text": "c", "weight": null}')
    assert open_source(path, fields=(TEXT, weight)).take([0, 1, 2])["weight"].tolist() == [2.0, 1.0, 1.0]
    path = write("d.csv", "text,weight\na,2\nb,\n")
    assert open_source(path, fields=(TEXT, weight)).take([0, 1])["weight"].tolist() == [2.0, 1.0]
    assert open_source(write("e.csv", "text\na\n"), fields=(TEXT, weight)).columns == ("text",)


def test_numbers_and_words_mixed_as_classes_are_noted(write):
    path = write("d.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": "good"}')
    source = open_source(path, fields=(TEXT, LABEL))
    assert source.notes == ("d.jsonl: the column 'label' mixes numbers and words as classes",)
    assert open_source(write("e.csv", "text,label\na,1\nb,2\n"), fields=(TEXT, LABEL)).notes == ()
