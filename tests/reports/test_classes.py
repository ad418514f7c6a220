"""Scores of each class from a metric."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kerasft.reports import ClassScores, class_scores

MATRIX = [[8, 2, 0], [1, 3, 0], [0, 0, 0]]


def test_scores_of_a_matrix():
    scores = ClassScores.of_matrix("abc", MATRIX)
    assert scores.precision == pytest.approx((8 / 9, 3 / 5, 0))
    assert scores.recall == pytest.approx((0.8, 0.75, 0))
    assert scores.f1 == pytest.approx((16 / 19, 6 / 9, 0))
    assert scores.support == (10, 4, 0)


def test_confusions_come_most_frequent_first():
    scores = ClassScores.of_matrix("abc", MATRIX)
    assert [tuple(pair) for pair in scores.confused(limit=9)] == [("a", "b", 2, 0.2), ("b", "a", 1, 0.25)]
    assert len(scores.confused(limit=1)) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.integers(0, 9), min_size=n * n, max_size=n * n)))
def test_json_round_trip(cells):
    count = round(len(cells) ** 0.5)
    scores = ClassScores.of_matrix([f"c{i}" for i in range(count)], np.reshape(cells, (count, count)))
    again = ClassScores.from_json(json.loads(json.dumps(scores.to_json())))
    np.testing.assert_array_equal(again.confusion, scores.confusion)
    for mine, theirs in zip(scores.rows(), again.rows(), strict=True):
        assert mine[0] == theirs[0]
        assert mine[1:] == pytest.approx(theirs[1:], abs=1e-6)


class ByClass:
    """A metric that scores classes without a matrix."""

    def by_class(self):
        return np.array([[0.5, 1], [0.25, 1], [0.3, 1], [4, 2]], np.float32)


def test_metric_with_scores_by_class(make_run):
    task, _ = make_run()
    scores = class_scores({"other": object(), "m": ByClass()}, task)
    assert scores is not None
    assert scores.names == ("bad", "good")
    assert scores.recall == (0.25, 1)
    assert scores.confused(limit=5) == []
    again = ClassScores.from_json(json.loads(json.dumps(scores.to_json())))
    assert again.confusion is None


def test_names_come_from_the_metric_then_the_task_then_numbers(make_run, counted):
    task, _ = make_run()
    two, three = [[1, 0], [0, 1]], np.eye(3)

    def names(metric, task=task):
        return class_scores({"m": metric}, task).names

    assert names(counted(two, ["x", "y"])) == ("x", "y")
    assert names(counted(two)) == ("bad", "good")
    assert names(counted(three)) == ("0", "1", "2")
    assert names(counted(two), None) == ("0", "1")


def test_metrics_without_classes():
    assert class_scores({}) is None
    assert class_scores({"plain": object()}) is None


def test_prints_as_a_table(capsys):
    Console(width=80).print(ClassScores.of_matrix(("[bold]a", "b"), [[1000, 0], [1, 1]]))
    printed = capsys.readouterr().out
    assert "[bold]a" in printed
    assert "1,000" in printed
    assert "0.667" in printed
