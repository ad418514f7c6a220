"""What is written in any format comes back equal, whatever characters it holds."""

from __future__ import annotations

import csv
import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kerasft.data import Field, open_source

FIELDS = (
    Field(name="text"),
    Field(name="label", kind="label", target=True),
    Field(name="score", kind="number", target=True),
)
TOKEN_FIELDS = (Field(name="tokens", kind="tokens"), Field(name="tags", kind="tags", target=True))

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, min_size=1).filter(lambda text: not text.isspace())
# NUL is refused by the csv module of Python 3.10.
csv_texts = texts.filter(lambda text: "\0" not in text)
plain_texts = texts.filter(lambda text: not set(text) & set("\t\n\r"))
names = st.text(st.characters(categories=["L", "N"]), min_size=1)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


def rows_of(text):
    return st.lists(
        st.fixed_dictionaries({"text": text, "label": names, "score": numbers}), min_size=1, max_size=12
    )


def check(source, rows):
    got = source.take(np.arange(len(source)))
    assert got["text"] == [row["text"] for row in rows]
    assert got["label"] == [row["label"] for row in rows]
    assert got["score"].dtype == np.float32
    assert got["score"].tolist() == [row["score"] for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    assert source.take(order)["text"] == [rows[at]["text"] for at in order]
    assert source.take([0, 0, len(rows) - 1])["label"] == [rows[0]["label"]] * 2 + [rows[-1]["label"]]


def table(rows, columns, **dialect):
    out = io.StringIO(newline="")
    writer = csv.writer(out, **dialect)
    writer.writerow(columns)
    writer.writerows([[row[column] for column in columns] for row in rows])
    return out.getvalue()


@same_folder
@given(
    rows=rows_of(texts), ascii=st.booleans(), bom=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\n\n"])
)
def test_jsonl(write, rows, ascii, bom, end):
    content = end.join(json.dumps(row, ensure_ascii=ascii) for row in rows)
    check(open_source(write("d.jsonl", "\ufeff" * bom + content), fields=FIELDS), rows)


@same_folder
@given(
    rows=rows_of(csv_texts),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    bom=st.booleans(),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
def test_csv_with_any_characters_in_its_cells(write, rows, end, quoting, bom, delimiter):
    # Older versions of the csv module do not quote a lone carriage return unless told to quote all.
    assume(quoting != csv.QUOTE_MINIMAL or not any("\r" in row["text"] for row in rows))
    content = table(
        rows, ["label", "text", "score"], lineterminator=end, quoting=quoting, delimiter=delimiter
    )
    path = write("d.csv", "\ufeff" * bom + content)
    check(open_source(path, fields=FIELDS, quoting="csv"), rows)


@same_folder
@given(rows=rows_of(plain_texts), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_tsv_where_quotes_are_text(write, rows, end, bom):
    lines = ["text\tlabel\tscore", *(f"{row['text']}\t{row['label']}\t{row['score']}" for row in rows)]
    path = write("d.tsv", "\ufeff" * bom + end.join(lines))
    check(open_source(path, fields=FIELDS, quoting="none"), rows)


@same_folder
@given(rows=rows_of(csv_texts), end=st.sampled_from(["\n", "\r\n"]))
def test_tsv_with_quoted_cells_is_recognised(write, rows, end):
    content = table(
        rows, ["text", "label", "score"], lineterminator=end, quoting=csv.QUOTE_ALL, delimiter="\t"
    )
    check(open_source(write("d.tsv", content), fields=FIELDS), rows)


token = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda text: " " not in text
)
sentences = st.lists(st.lists(st.tuples(token, names), min_size=1, max_size=8), min_size=1, max_size=8)


@same_folder
@given(sentences=sentences, kind=st.sampled_from(["jsonl", "csv", "list"]))
def test_tokens_and_tags(write, sentences, kind):
    rows = [{"tokens": [t for t, _ in row], "tags": [g for _, g in row]} for row in sentences]
    if kind == "jsonl":
        data = write("d.jsonl", "\n".join(json.dumps(row) for row in rows))
    elif kind == "csv":
        cells = [{name: json.dumps(value) for name, value in row.items()} for row in rows]
        data = write("d.csv", table(cells, ["tokens", "tags"]))
    else:
        data = rows
    got = open_source(data, fields=TOKEN_FIELDS).take(range(len(rows)))
    assert got == {"tokens": [row["tokens"] for row in rows], "tags": [row["tags"] for row in rows]}


def test_tokens_of_a_table_are_cut_at_spaces_only(write):
    path = write("d.tsv", "tokens\ttags\nNew\u00a0York  is big\tB-loc O O\n")
    got = open_source(path, fields=TOKEN_FIELDS).take([0])
    assert got == {"tokens": [["New\u00a0York", "is", "big"]], "tags": [["B-loc", "O", "O"]]}


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.csv.gz", "d.tsv.gz"])
def test_gz_is_read_like_the_plain_file(write, name, tmp_path):
    rows = [{"text": f"text {at} é中", "label": str(at % 3), "score": at / 2} for at in range(500)]
    if "jsonl" in name:
        content = "\n".join(json.dumps(row) for row in rows)
    else:
        content = table(rows, ["text", "label", "score"], delimiter="," if "csv" in name else "\t")
    source = open_source(write(name, gzip.compress(content.encode())), fields=FIELDS)
    check(source, rows)
    assert source.where(3).startswith(f"{name}, line ")
    plain = open_source(write(name.removesuffix(".gz"), content), fields=FIELDS)
    assert plain.fingerprint() == source.fingerprint()


@same_folder
@given(rows=rows_of(texts), kind=st.sampled_from(["columns", "arrays", "rows", "frame"]))
def test_memory(rows, kind):
    columns = {name: [row[name] for row in rows] for name in ("text", "label", "score")}
    if kind == "columns":
        data = columns
    elif kind == "arrays":
        data = {
            "text": np.array(columns["text"], object),
            "label": np.array(columns["label"], object),
            "score": np.array(columns["score"], np.float32),
        }
    elif kind == "rows":
        data = rows
    else:
        data = pytest.importorskip("pandas").DataFrame(columns)
    check(open_source(data, fields=FIELDS), rows)


def test_many_labels_from_lists_and_from_strings(write):
    fields = [Field(name="text"), Field(name="genres", kind="labels", target=True)]
    path = write("d.csv", 'text,genres\na,drama|crime\nb,"drama, war"\nc,\nd,war|war\n')
    source = open_source(path, fields=fields)
    assert source.take([0, 1, 2, 3])["genres"] == [["drama", "crime"], ["drama", "war"], [], ["war"]]
    assert source.class_counts("genres") == {"crime": 1, "drama": 2, "war": 2}
    path = write(
        "d.jsonl",
        '{"text": "a", "genres": ["x", 1]}\n{"text": "b", "genres": "x"}\n{"text": "c", "genres": []}',
    )
    assert open_source(path, fields=fields).take([0, 1, 2])["genres"] == [["x", "1"], ["x"], []]
    semicolon = [fields[0], Field(name="genres", kind="labels", separators=(";",))]
    path = write("d.csv", "text,genres\na,x|y;z\n")
    assert open_source(path, fields=semicolon).take([0])["genres"] == [["x|y", "z"]]
    known = [fields[0], Field(name="genres", kind="labels", classes=("rock, hard", "pop"))]
    path = write("d.csv", 'text,genres\na,"rock, hard"\nb,"rock, hard|pop"\n')
    assert open_source(path, fields=known).take([0, 1])["genres"] == [["rock, hard"], ["rock, hard", "pop"]]


def test_spans_from_json_from_a_cell_and_from_dicts(write):
    fields = [Field(name="text"), Field(name="spans", kind="spans", aliases=("entities",), target=True)]
    wanted = [[(0, 5, "artist")], []]
    path = write(
        "d.jsonl", '{"text": "Ciáo x", "entities": [[0, 5, "artist"]]}\n{"text": "b", "entities": []}'
    )
    source = open_source(path, fields=fields)
    assert source.take([0, 1])["spans"] == wanted
    assert source.class_counts("spans") == {"artist": 1}
    path = write("d.csv", 'text,entities\nCiáo x,"[[0, 5, ""artist""]]"\nb,\n')
    assert open_source(path, fields=fields).take([0, 1])["spans"] == wanted
    rows = [
        {"text": "Ciáo x", "entities": [{"start": 0, "end": 5, "label": "artist"}]},
        {"text": "b", "entities": []},
    ]
    assert open_source(rows, fields=fields).take([0, 1])["spans"] == wanted


def test_labels_are_spelled_alike_in_every_source(write):
    fields = [Field(name="text"), Field(name="label", kind="label")]
    values = [1, "1", " 1 ", 1.0, np.int64(1), np.float32(1), b"1", np.array(1)]
    assert open_source({"text": ["x"] * 8, "label": values}, fields=fields).class_counts("label") == {"1": 8}
    flags = {"text": ["x", "y"], "label": [True, np.False_]}
    assert open_source(flags, fields=fields).take([0, 1])["label"] == ["True", "False"]
    path = write(
        "d.jsonl", '{"text": "a", "label": 0}\n{"text": "b", "label": "0"}\n{"text": "c", "label": 10}'
    )
    assert open_source(path, fields=fields).class_counts("label") == {"0": 2, "10": 1}
    ids = open_source({"user": [7, "x7"]}, fields=[Field(name="user", kind="id")])
    assert ids.take([0, 1])["user"] == ["7", "x7"]
