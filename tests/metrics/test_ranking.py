"""Scores of rankings against scikit-learn and against their definitions, item by item."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, roc_auc_score

from kerasft.metrics import grouped_roc_auc, ranking_scores, ranks, roc_auc, variety_scores

ITEMS = 12


@st.composite
def rankings(draw):
    """Scores without ties, and who finds what relevant: at least one item a user."""
    users = draw(st.integers(1, 5))
    orders = [draw(st.permutations(range(ITEMS))) for _ in range(users)]
    relevant = draw(arrays.arrays(bool, (users, ITEMS)).filter(lambda chosen: chosen.any(1).all()))
    return np.array(orders, float), relevant


@settings(max_examples=50, deadline=None)
@given(rankings(), st.integers(1, ITEMS))
def test_scores_are_those_of_their_definitions(given_, k):
    scores, relevant = given_
    rows, columns = np.nonzero(relevant)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    rows, columns = rows[shuffled], columns[shuffled]
    found = ranking_scores(ranks(scores, rows, columns), rows * 3, k=k)
    expected: dict[str, list[float]] = {}
    for user, chosen in enumerate(relevant):
        top = np.argsort(-scores[user])[:k]
        hits = [bool(chosen[item]) for item in top]
        precisions = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits) if hit]
        first = next(at for at, item in enumerate(np.argsort(-scores[user])) if chosen[item])
        values = {
            f"hr@{k}": any(hits),
            f"map@{k}": sum(precisions) / min(k, chosen.sum()),
            f"recall@{k}": sum(hits) / chosen.sum(),
            f"precision@{k}": sum(hits) / k,
            "mrr": 1 / (first + 1),
        }
        for name, value in values.items():
            expected.setdefault(name, []).append(value)
    for name, users in expected.items():
        assert found[name] == pytest.approx(np.mean(users)), name
    assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k))
    whole = ranking_scores(ranks(scores, rows, columns), rows, k=ITEMS)
    assert whole[f"map@{ITEMS}"] == pytest.approx(label_ranking_average_precision_score(relevant, scores))


def test_a_constant_ranks_like_chance():
    places = ranks(np.zeros((4, 101)), np.arange(4), np.array([0, 50, 100, 7]))
    assert places.tolist() == [50.0] * 4


def test_what_is_left_out_takes_no_place():
    scores = np.array([[-np.inf, 3.0, 2.0, -np.inf]])
    assert ranks(scores, np.array([0, 0]), np.array([2, 0])).tolist() == [1.0, 2.0]


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="0 relevant items and k = 10"):
        ranking_scores(np.array([]), np.array([]), k=10)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40))
def test_area_under_the_curve_is_that_of_sklearn(rows):
    scores, labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    per_group = [
        roc_auc_score(labels[groups == group], scores[groups == group])
        for group in range(3)
        if len(set(labels[groups == group].tolist())) == 2
    ]
    found = grouped_roc_auc(scores, labels, groups)
    assert math.isnan(found) if not per_group else found == pytest.approx(np.mean(per_group))
    if len(set(labels.tolist())) == 2:
        assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_novelty_counts_what_nobody_chose_as_chosen_once():
    found = variety_scores(np.array([[3], [3]]), np.array([4, 2, 2, 0]), k=1)
    assert found == {"coverage@1": 0.25, "novelty@1": 3.0}
