"""What every source offers, whatever it was opened from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kerasft.data import Field, open_records, open_source
from kerasft.errors import DataError

TEXT = Field(name="text")
LABEL = Field(name="label", kind="label", target=True)
FIELDS = (TEXT, LABEL)
SIZE = 300


@pytest.fixture(params=["csv", "jsonl", "arrays", "subset"])
def source(request, write):
    text, label = [f"text {row}" for row in range(SIZE)], [row % 11 for row in range(SIZE)]
    if request.param == "csv":
        lines = [f"{a},{b}" for a, b in zip(text, label, strict=True)]
        return open_source(write("d.csv", "text,label\n" + "\n".join(lines)), fields=FIELDS)
    if request.param == "jsonl":
        rows = [json.dumps({"text": a, "label": b}) for a, b in zip(text, label, strict=True)]
        return open_source(write("d.jsonl", "\n".join(rows)), fields=FIELDS)
    if request.param == "arrays":
        return open_source({"text": text, "label": np.array(label)}, fields=FIELDS)
    doubled = {"text": text + ["other"] * 5, "label": [*label, *[12] * 5]}
    return open_source(doubled, fields=FIELDS).subset(np.arange(SIZE))


def test_size_columns_and_repr(source):
    assert len(source) == SIZE
    assert source.columns == ("text", "label")
    assert repr(source).endswith(": 300 rows of text, label>")


def test_take_keeps_the_order_and_repeats(source):
    rows = [299, 0, 7, 7, 150]
    assert source.take(np.array(rows))["text"] == [f"text {row}" for row in rows]
    assert source.take(rows, ["label"]) == {"label": [str(row % 11) for row in rows]}
    assert source.take([]) == {"text": [], "label": []}


@pytest.mark.parametrize("rows", [[-1], [300], [0, 1000]])
def test_rows_that_do_not_exist(source, rows):
    with pytest.raises(IndexError, match=r"there is no row .* numbered 0 to 299"):
        source.take(rows)
    with pytest.raises(IndexError, match="there is no row"):
        source.where(rows[-1])


def test_row_numbers_must_be_whole(source):
    with pytest.raises(TypeError):
        source.take([0.5])
    with pytest.raises(IndexError, match=r"must have shape \[n\]"):
        source.take([[0]])


def test_counts_sort_numbers_as_numbers(source):
    counts = source.class_counts("label")
    assert list(counts) == [str(number) for number in range(11)]
    assert counts["0"] == 28
    assert counts["10"] == 27
    assert all(type(count) is int for count in counts.values())


def test_codes_point_into_the_classes(source):
    codes, classes = source.codes("label")
    assert codes.dtype == np.int32
    assert [classes[code] for code in codes] == [str(row % 11) for row in range(SIZE)]


def test_iterate_streams_in_order(source):
    assert list(source.iterate("text")) == [f"text {row}" for row in range(SIZE)]


def test_unknown_fields_are_named(source):
    for ask in (source.class_counts, source.codes, lambda name: list(source.iterate(name))):
        with pytest.raises(DataError, match="has no field 'lable'; it has text, label"):
            ask("lable")
    with pytest.raises(DataError, match="the field 'text' is a text and has no such classes; use label"):
        source.class_counts("text")


def test_a_subset_is_a_view(source):
    part = source.subset([10, 5, 250])
    assert part.take([0, 2]) == {"text": ["text 10", "text 250"], "label": ["10", "8"]}
    assert part.class_counts("label") == {"5": 1, "8": 1, "10": 1}
    assert part.where(1) == source.where(5)
    inner = part.subset([2])
    assert inner.take([0])["text"] == ["text 250"]
    with pytest.raises(IndexError):
        part.take([3])
    assert len({source.fingerprint(), part.fingerprint(), source.subset([5, 10, 250]).fingerprint()}) == 3
    assert source.subset([10, 5, 250]).fingerprint() == part.fingerprint()


def test_known_classes_keep_their_order_and_their_zeros():
    label = Field(name="label", kind="label", classes=("c", "a", "b"))
    source = open_source({"text": ["x", "y"], "label": ["b", "c"]}, fields=(TEXT, label))
    assert list(source.class_counts("label").items()) == [("c", 1), ("a", 0), ("b", 1)]
    assert source.codes("label")[0].tolist() == [2, 0]
    assert source.subset([0]).class_counts("label") == {"c": 0, "a": 0, "b": 1}


def test_subsets_count_list_valued_classes():
    fields = (
        TEXT,
        Field(name="genres", kind="labels"),
        Field(name="spans", kind="spans"),
        Field(name="tokens", kind="tokens"),
        Field(name="tags", kind="tags"),
    )
    rows = [
        {
            "text": "abc",
            "genres": ["x", "y"],
            "spans": [[0, 1, "s"]],
            "tokens": ["a", "b"],
            "tags": ["O", "B"],
        },
        {"text": "def", "genres": ["y"], "spans": [], "tokens": ["c"], "tags": ["O"]},
    ]
    source = open_source(rows, fields=fields)
    assert source.class_counts("genres") == {"x": 1, "y": 2}
    part = source.subset([1])
    assert part.class_counts("genres") == {"y": 1}
    assert part.class_counts("spans") == {}
    assert part.class_counts("tags") == {"O": 1}
    assert part.classes("genres") == source.classes("genres") == ("x", "y")
    assert part.subset([0]).classes("tags") == ("B", "O")
    with pytest.raises(DataError, match="'genres' is a labels and has no such classes"):
        source.codes("genres")


class TestFingerprint:
    CONTENT = "text,label,x\n" + "".join(f"text {row},{row % 3},{row % 5}\n" for row in range(200))

    def opened(self, write, content=CONTENT, name="d.csv", **options):
        return open_source(write(name, content), fields=FIELDS, **options).fingerprint()

    def test_it_does_not_depend_on_name_or_time(self, write):
        assert self.opened(write) == self.opened(write, name="other.csv")

    @pytest.mark.parametrize(
        ("old", "new"), [("text 100,", "next 100,"), ("text 100,1", "text 100,2"), ("text 199,1,4\n", "")]
    )
    def test_any_change_shows(self, write, old, new):
        assert old in self.CONTENT
        assert self.opened(write) != self.opened(write, self.CONTENT.replace(old, new))

    def test_other_columns_and_other_skips_show(self, write):
        assert self.opened(write) != self.opened(write, columns={"label": "x"})
        prints = {self.opened(write)}
        for classes in (("0", "2"), ("1", "2")):
            known = (TEXT, Field(name="label", kind="label", target=True, classes=classes))
            source = open_source(write("d.csv", self.CONTENT), fields=known, on_error="skip")
            assert len(source) == 133
            prints.add(source.fingerprint())
        assert len(prints) == 3

    def test_memory(self):
        def opened(text, label):
            return open_source({"text": text, "label": label}, fields=FIELDS).fingerprint()

        assert opened(["a", "b"], [0, 1]) == opened(["a", "b"], np.array([0, 1]))
        assert (
            len(
                {
                    opened(["a", "b"], [0, 1]),
                    opened(["ab", ""] * 0 + ["ab", "x"], [0, 1]),
                    opened(["a", "b"], [0, 0]),
                }
            )
            == 3
        )
        images = np.zeros((2, 40, 40), np.float32)
        changed = images.copy()
        changed[1, 20, 20] = 1e-3
        fields = (Field(name="image", kind="any"), LABEL)
        prints = {open_source((data, [0, 1]), fields=fields).fingerprint() for data in (images, changed)}
        assert len(prints) == 2


def test_strings_may_be_anything_and_any_number() -> None:
    fields = (Field(name="stop", kind="strings"),)
    rows = {"stop": [["", "\n", "a b"], [], "one", '["x", ""]']}
    assert open_source(rows, fields=fields).take([0, 1, 2, 3]) == {
        "stop": [["", "\n", "a b"], [], ["one"], ["x", ""]]
    }
    with pytest.raises(DataError, match="row 0: column 'stop' holds 3"):
        open_source({"stop": [3]}, fields=fields)
    with pytest.raises(DataError, match="has no value; give an empty list"):
        open_source({"stop": [None]}, fields=fields)


def test_records_can_be_opened_without_fields() -> None:
    records = open_records({"a": [1, 2], "b": [3, 4]})
    assert records.columns == ("a", "b")
    assert list(records.scan(["b"])) == [(3,), (4,)]
