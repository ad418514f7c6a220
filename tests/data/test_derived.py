"""Sources made from another's rows: everything not overridden is the other's, parts of them too."""

from __future__ import annotations

import numpy as np
import pytest

from kerasft.data import Derived, Field, open_source

FIELDS = (Field(name="text"), Field(name="label", kind="label", target=True))


class Shouted(Derived):
    def take(self, indices, columns=None):
        found = self.parent.take(indices, columns)
        return {**found, "text": [text.upper() for text in found["text"]]} if "text" in found else found


@pytest.fixture
def rows():
    data = {"text": ["good", "bad", "fine", "poor", ""], "label": ["+", "-", "+", "-", "+"]}
    return open_source(data, fields=FIELDS, on_error="skip")


def test_values_change_and_the_rest_is_as_it_was(rows):
    source = Shouted(rows)
    assert source.take([3, 0]) == {"text": ["POOR", "GOOD"], "label": ["-", "+"]}
    assert list(source.iterate("text")) == ["GOOD", "BAD", "FINE", "POOR"]
    for name in ("name", "fields", "notes", "skipped", "skip_examples", "columns"):
        assert getattr(source, name) == getattr(rows, name)
    assert source.skipped == 1
    assert source.where(2) == rows.where(2)
    assert source.fingerprint() == rows.fingerprint()
    assert source.class_counts("label") == {"+": 2, "-": 2}


def test_a_part_reads_through_it(rows):
    part = Shouted(rows).subset([3, 1, 0]).subset([0, 1])
    assert part.take([1, 0]) == {"text": ["BAD", "POOR"], "label": ["-", "-"]}
    assert (len(part), part.where(0)) == (2, rows.where(3))
    assert part.class_counts("label") == {"-": 2}
    assert part.classes("label") == ("+", "-")
    np.testing.assert_array_equal(part.codes("label")[0], [1, 1])
    assert part.fingerprint() != rows.fingerprint()
    assert part.fingerprint() == Shouted(rows).subset([3, 1, 0]).subset([0, 1]).fingerprint()
    with pytest.raises(IndexError):
        part.take([2])
