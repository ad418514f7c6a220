"""Charts and confusion matrices as drawings."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.reports.curves import line_chart
from kerasft.reports.heatmap import confusion_picture
from kerasft.reports.ticks import nice_ticks, shorten, tick_label, width_of


def drawn(html: str) -> ET.Element:
    """Parses a picture as XML, which is stricter than HTML."""
    return ET.fromstring(html)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_ticks_enclose_the_values_and_tell_them_apart(low, span):
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * (ticks[1] - ticks[0])
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(("low", "high"), [(0.12, 0.94), (0.9971, 0.9989), (3, 12000), (1e-6, 8e-6)])
def test_tick_labels_differ(low, high):
    ticks = nice_ticks(low, high)
    labels = [tick_label(tick, ticks[1] - ticks[0]) for tick in ticks]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 8  # what fits beside the axis
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(ticks, rel=1e-2, abs=1e-9)


def test_higher_values_are_drawn_higher_and_later_ones_further_right():
    values = [0.2, 0.5, 0.4, 0.9]
    svg = drawn(line_chart({"training": list(enumerate(values, start=1))}, title="x"))
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in svg.iter("circle")]
    assert dots == sorted(dots)
    assert np.argsort([-y for _, y in dots]).tolist() == np.argsort(values).tolist()
    width, height = map(float, svg.get("viewBox").split()[2:])
    assert all(0 < x < width and 0 < y < height for x, y in dots)


@pytest.mark.parametrize("epochs", [2, 3, 7, 8, 9, 25, 61, 1000])
def test_epochs_on_the_axis_are_whole_few_and_apart(epochs):
    points = [(epoch, 1 / epoch) for epoch in range(1, epochs + 1)]
    svg = drawn(line_chart({"training": points}, title="x"))
    middle = [
        text for text in svg.iter("text") if text.get("text-anchor") == "middle" and text.text != "epoch"
    ]
    places = [(float(text.get("x")), int(text.text)) for text in middle]
    assert places[0][1] == 1
    assert 2 <= len(places) <= 9
    gaps = [right - left for (left, _), (right, _) in pairwise(places)]
    assert min(gaps) > 20


def test_best_epoch_is_marked_where_its_dot_is():
    points = [(1, 0.5), (2, 0.25), (3, 0.4)]
    svg = drawn(line_chart({"validation": points}, title="x", mark=2))
    (mark,) = [path for path in svg.iter("path") if path.get("class") == "best"]
    dots = [dot.get("cx") for dot in svg.iter("circle")]
    assert mark.get("d").startswith(f"M{dots[1]} ")


def test_constant_and_infinite_curves():
    flat = drawn(line_chart({"training": [(1, 1.0), (2, 1.0)]}, title="x"))
    assert len(list(flat.iter("circle"))) == 2
    assert "no finite value" in line_chart({"training": [(1, math.nan)]}, title="x")


def cells_of(svg: ET.Element) -> dict[str, float]:
    return {group.find("text").text: float(group.find("rect").get("fill-opacity")) for group in svg.iter("g")}


def test_cells_show_counts_and_shares():
    svg = drawn(confusion_picture(np.array([[9.0, 3.0], [0.0, 40.0]]), ["bad", "good"])).find("svg")
    cells = cells_of(svg)
    assert set(cells) == {"9", "3", "40"}  # an empty cell stays empty
    assert cells["40"] > cells["9"] > cells["3"]
    kinds = [rect.get("class") for rect in svg.iter("rect")]
    assert kinds == ["hit", "miss", "hit"]


def test_counts_stay_short():
    svg = drawn(confusion_picture(np.array([[123456.0, 0.25], [2.5, 9999.0]]), ["a", "b"])).find("svg")
    assert set(cells_of(svg)) == {"123k", "0.25", "2.5", "9999"}


@pytest.mark.parametrize(
    "name", ["ok", "a-rather-long-label-of-many-letters", "早餐很好房间也很干净服务态度也好"]
)
def test_labels_stay_inside_the_picture(name):
    svg = drawn(confusion_picture(np.eye(5), [f"{name}{i}" for i in range(5)])).find("svg")
    width = float(svg.get("viewBox").split()[2])
    for text in svg.iter("text"):
        if text.get("text-anchor") == "end":
            assert float(text.get("x")) >= 6 * width_of(text.text)
    turned = [text for text in svg.iter("text") if "rotate(-45)" in (text.get("transform") or "")]
    for text in turned:
        x, y = map(float, re.search(r"translate\((\S+) (\S+)\)", text.get("transform")).groups())
        reach = 6 * width_of(text.text) / math.sqrt(2)
        assert x + reach <= width
        assert y - reach >= 0


def test_full_label_is_in_the_hint():
    name = "a-rather-long-label-of-many-letters"
    html = confusion_picture(np.eye(2), [name, "b"])
    assert f"<title>{name}</title>" in html
    assert f"{shorten(name, 20)}<" in html


def test_a_thousand_classes_stay_a_small_picture():
    generator = np.random.default_rng(0)
    matrix = np.diag(np.full(1000, 45.0))
    matrix[generator.integers(0, 1000, 5000), generator.integers(0, 1000, 5000)] += 1
    html = confusion_picture(matrix, [str(i) for i in range(1000)])
    svg = drawn(html).find("svg")
    assert len(list(svg.iter("path"))) < 20
    assert not list(svg.iter("rect"))
    assert len(html) < 300_000
    squares = sum(path.get("d").count("M") for path in svg.iter("path") if path.get("class") != "grid")
    assert squares == np.count_nonzero(matrix)
