"""Files: how they are found, recognised, decoded and cut into rows."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from kerasft.data import Field, open_source
from kerasft.errors import ConfigError, DataError

FIELDS = (Field(name="text"), Field(name="label", kind="label", target=True))


def read(path, **options):
    source = open_source(path, fields=FIELDS, **options)
    return source.take(range(len(source)))


def test_a_missing_file_names_the_nearest(write, tmp_path):
    write("reviews.tsv", "text\tlabel\na\tx\n")
    write("notes.md", "")
    with pytest.raises(DataError, match=r"reviews\.tvs does not exist; near it is reviews\.tsv"):
        read(tmp_path / "reviews.tvs")
    with pytest.raises(DataError, match=r"does not exist; near it is reviews\.tsv$"):
        read(str(tmp_path / "zzzzzz"))
    with pytest.raises(DataError, match=r"the folder .*nowhere/deep is missing; the part that exists is "):
        read(tmp_path / "nowhere" / "deep" / "a.csv")


def test_a_folder_names_its_files(write, tmp_path):
    write("b.csv", "text,label\na,x\n")
    write("a.jsonl.gz", b"")
    with pytest.raises(DataError, match=r"is a folder; name one of its files: a\.jsonl\.gz, b\.csv"):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"is a folder; it holds no \.jsonl, \.tsv, \.csv"):
        read(tmp_path / "empty")


def test_an_unknown_extension_names_the_known_ones(write):
    with pytest.raises(DataError, match=r"extension '\.json'; the known ones are \.jsonl, \.tsv, \.csv"):
        read(write("d.json", "[]"))
    with pytest.raises(DataError, match=r"extension '\(none\)'"):
        read(write("data", "x"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", "", "d.csv is empty"),
        ("d.jsonl", "", "d.jsonl is empty"),
        ("d.tsv", "\n \n", "d.tsv is empty"),
        ("d.csv", "text,label\n", "d.csv has no rows"),
        ("d.tsv", "text\tlabel", "d.tsv has no rows"),
        ("d.csv", "text,label\n\n \n\n", "d.csv has no rows"),
        ("d.csv", "text,label,text\na,b,c\n", "the header repeats the column 'text'"),
        ("d.tsv", "text\tlabel\tlabel\na\tb\tc\n", "the header repeats the column 'label'"),
        ("d.csv", '"text,label\na,b\n', "line 1: the header cannot be read"),
        ("d.csv", b"\xff\xfet\0e\0x\0t\0", "d.csv is UTF-16; save the file as UTF-8"),
        ("d.csv", b"text,label\ra,x\rb,y\r", "d.csv ends its lines with carriage returns alone"),
        ("d.tsv", b"text\tlabel\ra\tx\r", "d.tsv ends its lines with carriage returns alone"),
        ("d.tsv", "text\tlabel\na\tx\n".encode("utf-16"), "d.tsv is UTF-16"),
        ("d.jsonl", '[{"text": "a", "label": 1}]', "line 1: .* is no JSON object; write rows as"),
        ("d.jsonl", "\n\n  \n", "d.jsonl is empty"),
        ("d.jsonl", "\ntext\n", "d.jsonl, line 2: invalid JSON"),
        ("d.csv.gz", b"no gzip", "is damaged"),
        ("d.csv.gz", gzip.compress(b"text,label\na,b\n" * 99, mtime=0)[:-9], "is damaged"),
    ],
)
def test_files_that_cannot_be_read(write, name, content, message):
    with pytest.raises(DataError, match=message):
        read(write(name, content))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(write):
    path = write("d.csv", "text,label\na,b\n")
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl"])
def test_bom_line_ends_and_blank_lines(write, name, bom, end, last):
    rows = [("é 中 🎬", "x"), ("b\u2028c\x0bd", "y")]
    if name == "d.jsonl":
        lines = ['{"text": "é 中 🎬", "label": "x"}', "", ' {"text": "b\u2028c\\u000bd", "label": "y"} ']
    else:
        mark = "," if name == "d.csv" else "\t"
        lines = [mark.join(("text", "label")), *[mark.join(row) for row in rows]]
        lines.insert(2, "")
    got = read(write(name, bom + end.join(lines) + end * last))
    assert got == {"text": [text for text, _ in rows], "label": ["x", "y"]}


@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_a_row_of_empty_cells_is_a_row(write, name, quoting):
    mark = "," if name == "d.csv" else "\t"
    path = write(name, f"text{mark}note\na{mark}x\n\n{mark}\nb{mark}y\n{mark}\n")
    with pytest.raises(DataError, match=rf"{name}, line 4: column 'text' is empty; fill it in"):
        open_source(path, fields=FIELDS[:1], quoting=quoting)
    source = open_source(path, fields=FIELDS[:1], quoting=quoting, on_error="skip")
    assert (source.skipped, source.take([0, 1])["text"]) == (2, ["a", "b"])
    fields = (Field(name="text", default="nothing"),)
    source = open_source(path, fields=fields, quoting=quoting)
    assert source.take(range(4))["text"] == ["a", "nothing", "b", "nothing"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", ["csv", "none"])
def test_a_blank_line_between_the_rows_of_one_column_is_an_empty_text(write, quoting, end):
    path = write("d.csv", end.join(["text", "a", "", "b", "", ""]))
    with pytest.raises(DataError, match=r"d\.csv, line 3: column 'text' is empty; fill it in"):
        open_source(path, fields=FIELDS[:1], quoting=quoting)
    source = open_source(path, fields=FIELDS[:1], quoting=quoting, on_error="skip")
    assert (source.skipped, source.take([1, 0])["text"], source.where(1)) == (1, ["b", "a"], "d.csv, line 4")
    source = open_source(path, fields=(Field(name="text", default="nothing"),), quoting=quoting)
    assert source.take([2, 1, 0])["text"] == ["b", "nothing", "a"]


@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
def test_blank_lines_at_the_end_are_no_rows(write, name):
    with pytest.raises(DataError, match=f"{name} has no rows"):
        open_source(write(name, "text\n\n \r\n"), fields=FIELDS[:1])
    assert len(open_source(write(name, "text\na\n\n\n"), fields=FIELDS[:1])) == 1


def test_csv_cells_with_quotes_delimiters_and_line_breaks(write):
    path = write("d.csv", 'label,text\r\nx,"a ""b"", c\r\nd"\r\ny,"e\n\n\nf"\r\nz,plain "quote" inside\r\n')
    source = open_source(path, fields=FIELDS)
    assert source.take([2, 0, 1])["text"] == ['plain "quote" inside', 'a "b", c\r\nd', "e\n\n\nf"]
    assert [source.where(row) for row in range(3)] == ["d.csv, line 2", "d.csv, line 4", "d.csv, line 8"]


@pytest.mark.parametrize(
    ("name", "header"), [("d.csv", "text;label"), ("d.csv", "text\tlabel"), ("d.tsv", "text,label")]
)
def test_the_delimiter_is_seen_in_the_header(write, name, header):
    row = header.replace("text", "what a film").replace("label", "good")
    assert read(write(name, f"{header}\n{row}\n")) == {"text": ["what a film"], "label": ["good"]}


def test_the_delimiter_can_be_given(write):
    path = write("d.csv", "text~label\na, b~good\n")
    assert read(path, delimiter="~") == {"text": ["a, b"], "label": ["good"]}
    with pytest.raises(DataError, match="the delimiter '~~' is not one character"):
        read(path, delimiter="~~")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ('"Hello" she said\tx\n', '"Hello" she said'),
        ('"Hello"\tx\n', '"Hello"'),
        ('an "open quote\tx\n', 'an "open quote'),
        ('"an open quote\tx\nb\ty\n', '"an open quote'),
        ('"a ""b"" c"\tx\n', 'a "b" c'),
        ('"a\nb"\tx\n', "a\nb"),
        ('"a\tb"\tx\n', "a\tb"),
        ('""""\tx\n', '"'),
        ('c\tx\n"a\tb\n', "c"),
    ],
)
def test_quotes_of_a_tsv_are_text_unless_the_file_shows_otherwise(write, rows, text):
    got = read(write("d.tsv", "text\tlabel\n" + rows))
    assert got["text"][0] == text


def test_quoting_can_be_given(write):
    path = write("d.tsv", 'text\tlabel\n"a"\tx\n')
    assert read(path, quoting="csv")["text"] == ["a"]
    assert read(path, quoting="none")["text"] == ['"a"']
    header = write("e.tsv", '"text"\t"label"\n"a"\t"x"\n')
    assert read(header) == {"text": ["a"], "label": ["x"]}
    path = write("d.csv", 'text,label\n"a",x\n')
    assert read(path, quoting="none")["text"] == ['"a"']


def test_a_document_longer_than_the_limit_of_the_csv_module(write):
    long = "word " * 60_000
    assert read(write("d.csv", f'text,label\n"{long}",x\n'))["text"] == [long]


def test_columns_without_a_name_get_one(write):
    fields = (Field(name="text"), Field(name="row", kind="id"))
    source = open_source(write("d.csv", ",text\n0,a\n"), fields=fields, columns={"row": "column 1"})
    assert source.take([0]) == {"text": ["a"], "row": ["0"]}


def test_a_file_replaced_after_opening_does_no_harm(write):
    path = write("d.csv", "text,label\n" + "old,x\n" * 100)
    source = open_source(path, fields=FIELDS)
    os.replace(write("new.csv", "other\n" * 100), path)
    assert source.take([50, 99]) == {"text": ["old", "old"], "label": ["x", "x"]}


def test_a_file_changed_in_place_is_noticed(write):
    path = write("d.jsonl", '{"text": "a", "label": "x"}\n' * 3)
    source = open_source(path, fields=FIELDS)
    write("d.jsonl", "-" * 100)
    with pytest.raises(DataError, match=r"d\.jsonl changed after it had been opened .* open it again"):
        source.take([1])


def test_wrong_options_are_named(write):
    path = write("d.csv", "text,label\na,x\n")
    with pytest.raises(ConfigError, match="on_error is 'ignore'"):
        read(path, on_error="ignore")


def test_reads_from_several_threads_do_not_mix(write):
    path = write("d.csv", "text,label\n" + "".join(f"text {row},{row % 7}\n" for row in range(5000)))
    source = open_source(path, fields=FIELDS)
    wrong: list[int] = []

    def work(seed):
        generator = np.random.default_rng(seed)
        for _ in range(60):
            rows = generator.integers(0, 5000, 32)
            if source.take(rows)["text"] != [f"text {row}" for row in rows]:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


MEMORY = """
import resource, sys
import numpy as np
from kerasft.data import Field, open_source
fields = (Field(name="text"), Field(name="label", kind="label", target=True))
open_source(sys.argv[1], fields=fields)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = open_source(sys.argv[2], fields=fields)
for first in range(0, len(source), 50_000):
    source.take(np.arange(first, first + 100))
sum(1 for _ in source.iterate("label"))
source.fingerprint()
unit = 1 if sys.platform == "darwin" else 1024
print(len(source), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * unit)
"""


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl"])
def test_memory_stays_flat(write, name):
    text = "a film of some length, with words " * 5
    if name == "d.jsonl":
        header, row = "", f'{{"text": "{text}", "label": 1}}\n'
    elif name == "d.csv":
        header, row = "text,label\n", f'"{text}",1\n'
    else:
        header, row = "text\tlabel\n", f"{text}\t1\n"
    small = write(f"small-{name}", header + row * 100)
    large = write(name, header + row * 150_000)
    assert large.stat().st_size > 25e6
    code = [sys.executable, "-c", MEMORY, str(small), str(large)]
    rows, grown = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    assert int(rows) == 150_000
    # The index takes 16 bytes a row: 2.4 MB, and as much again while arrays grow.
    assert int(grown) < 10e6
