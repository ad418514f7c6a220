"""Large catalogues: lists of neighbours, and how many of them are probed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import ConfigError
from kerasft_recommender.answering import NEVER
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.clustering import clusters
from kerasft_recommender.index import Index
from kerasft_recommender.inverted import InvertedFile
from kerasft_recommender.scorers import GMF

from .conftest import PER_TASTE, TASTES, USERS, choices, make


def blobs(count, per, *, width=6, seed=0):
    """Points around centres that are far apart, shuffled, and the centre of each."""
    random = np.random.default_rng(seed)
    centres = np.repeat(np.arange(count), per)
    random.shuffle(centres)
    middles = 10 * np.eye(count, width)
    return (middles[centres] + random.standard_normal((count * per, width))).astype(np.float32), centres


def test_lists_have_all_points_once_and_are_never_long():
    points, centres = blobs(4, 50)
    lists = clusters(points, 4, seed=0)
    assert sorted(np.concatenate(lists).tolist()) == list(range(200))
    assert all(len(set(centres[rows])) == 1 for rows in lists)
    same = clusters(np.ones((100, 3), np.float32), 10, seed=0)
    assert max(map(len, same)) <= 20
    assert sorted(np.concatenate(same).tolist()) == list(range(100))
    assert len(clusters(points[:3], 50, seed=0)) == 3


@pytest.fixture(scope="module")
def file():
    points, _ = blobs(4, 50)
    points = np.concatenate([np.zeros((1, 6), np.float32), points])
    lists = [rows + 1 for rows in clusters(points[1:], 8, seed=0)]
    return points, InvertedFile(points, lists, biased=True)


@pytest.mark.parametrize("alike", [False, True])
def test_probing_all_lists_scores_all_items(file, alike):
    points, lists = file
    queries = np.random.default_rng(1).standard_normal((3, 5 if alike else 6)).astype(np.float32)
    found = lists.search(tf.constant(queries), probes=lists.count, alike=alike)
    vectors = points[:, :-1] / np.maximum(np.linalg.norm(points[:, :-1], axis=1), 1e-9)[:, None]
    expected = queries @ (vectors if alike else points).T
    for row in range(3):
        there = found.rows[row].numpy() > 0
        assert sorted(found.rows[row].numpy()[there].tolist()) == list(range(1, 201))
        np.testing.assert_allclose(
            found.scores[row].numpy()[there], expected[row, found.rows[row].numpy()[there]], atol=1e-4
        )
        assert (found.scores[row].numpy()[~there] == NEVER).all()


def test_what_is_left_out_is_left_out_wherever_it_is(file):
    points, lists = file
    found = lists.search(tf.constant(points[[1, 2]]), probes=2)
    inside, outside = found.rows[1].numpy()[found.rows[1].numpy() > 0], found.rows[0].numpy()
    gone = [*inside[:3].tolist(), next(row for row in range(1, 201) if row not in outside), 0]
    queries = [1, 1, 1, 0, 1]
    after = lists.without(found, tf.constant(queries), tf.constant(gone))
    assert np.array_equal(after.scores[0], found.scores[0])
    hidden = (after.scores[1].numpy() == NEVER) & (found.scores[1].numpy() > NEVER)
    assert sorted(found.rows[1].numpy()[hidden].tolist()) == sorted(inside[:3].tolist())


def a_scorer():
    """A GMF of clustered vectors, with users who chose ten items each."""
    points, _ = blobs(6, 100, seed=3)
    random = np.random.default_rng(0)
    users = random.integers(0, 600, (80, 10))
    names = [f"i{item}" for item in range(600)]
    catalogue = Catalogue.learn(
        [f"u{user}" for user in range(80) for _ in range(10)],
        [names[item] for item in users.ravel()],
        spare=0.0,
        others=([], names),
    )
    scorer = GMF(user_rows=97, item_rows=catalogue.items.capacity, factors=5, deviation=1.0)
    table = scorer.item_table.table.numpy()
    table[1:601] = points
    scorer.item_table.table.assign(table)
    scorer.user_table.table.assign(points[: scorer.user_table.rows, :5])
    return scorer, catalogue


def test_as_many_lists_are_probed_as_a_recall_takes():
    scorer, catalogue = a_scorer()
    few, all_lists = (Index.build(scorer, catalogue, recall=recall, k=10, seed=0) for recall in (0.8, 1.0))
    assert few.users.probes < all_lists.users.probes <= few.file.count
    assert 0.8 <= few.users.recall < 1 == all_lists.users.recall
    rows = np.arange(1, 81)
    queries = scorer.queries(scorer.user(tf.constant(rows)))
    positions, items = catalogue.histories.pairs_of(rows)
    scores = queries.numpy() @ scorer.points(stop=601).numpy().T
    scores[positions, items] = NEVER
    scores[:, 0] = NEVER
    best = np.argsort(-scores, 1)[:, :10]
    found = few.search(queries, tf.ones([80], tf.bool))
    reached = np.mean([np.isin(best[row], found.rows[row]).mean() for row in range(80)])
    assert reached == pytest.approx(few.users.recall)
    facts = few.facts()
    assert facts["recall@10"] == round(few.users.recall, 4)
    assert facts["users_measured"] == 80
    assert facts["similar_items_recall@10"] >= 0.8


SIGNATURES = {
    "serving_default": {
        "user_id": ["u0", "u5", "nobody"],
        "k": [3, 20, 2],
        "exclude_seen": [True, False, True],
    },
    "recommend_from_history": {"item_ids": [["i3-0", "i3-1"], ["what"], ["i1-5", "?"]], "k": [4, 2, 24]},
    "similar_items": {"item_id": ["i2-3", "?", "i0-1"], "k": [3, 3, 24]},
    "score": {"user_id": ["u0"], "item_ids": [["i0-0", "i1-1"]]},
}


@pytest.mark.parametrize("scorer", ["gmf", "two_tower", "sasrec"])
def test_an_index_that_finds_all_answers_as_all_scores_do(scorer, tmp_path):
    task = make(scorer=scorer, training={"epochs": 3})
    task.finetune(choices(), run_dir=tmp_path / "run", verbose="quiet")
    indexed = kerasft.load(tmp_path / "run", config={"index": "ivf", "recall": 1.0, "metrics": {"k": 24}})
    for signature, request in SIGNATURES.items():
        expected, found = (
            one.predict(request, signature=signature, verbose="quiet") for one in (task, indexed)
        )
        for name, values in expected.items():
            if values.dtype == object:
                assert np.array_equal(values, found[name]), (signature, name)
            else:
                np.testing.assert_allclose(values, found[name], atol=1e-4)


def test_an_export_says_what_its_index_reaches(trained, tmp_path):
    task = make(index="ivf", recall=0.6, training={"epochs": 3})
    task.finetune(choices(), verbose="quiet")
    report = task.export(tmp_path / "items")
    facts = json.loads((report.path / "assets.extra" / "kerasft" / "manifest.json").read_text())["facts"][
        "index"
    ]
    assert facts["recall@10"] >= 0.6
    assert facts["lists"] > 1
    assert f"recall@10 {facts['recall@10']}" in str(report)
    assert report.to_dict()["facts"]["index"] == facts


def test_a_list_is_never_short_for_want_of_probing():
    task = make(index="ivf", recall=0.1)
    task.finetune(choices(), verbose="quiet")
    answer = task.predict({"user_id": ["u0"], "k": [100], "exclude_seen": [False]}, verbose="quiet")
    assert len(set(answer["item_ids"][0])) == TASTES * PER_TASTE
    mine = {i for u, i in zip(choices()["user_id"], choices()["item_id"], strict=True) if u == "u7"}
    answer = task.predict({"user_id": ["u7"], "k": [100]}, verbose="quiet")
    left = {name.decode() for name in answer["item_ids"][0] if name}
    assert len(left) == TASTES * PER_TASTE - len(mine)
    assert not left & mine


def test_an_index_is_made_anew_after_training():
    task = make(index="ivf", recall=1.0, training={"epochs": 1})
    task.finetune(choices(), verbose="quiet")
    request = {"user_id": [f"u{user}" for user in range(USERS)], "k": [1] * USERS}
    task.predict(request, verbose="quiet")
    task.finetune(choices(), epochs=30, verbose="quiet")
    best = task.predict(request, verbose="quiet")["item_ids"][:, 0]
    assert np.mean([name.decode()[1] == str(user % TASTES) for user, name in enumerate(best)]) > 0.9


def test_scorers_of_pairs_have_no_index():
    with pytest.raises(ConfigError, match="index=ivf looks near the vector of a user, and scorer=wide_deep"):
        make(scorer="wide_deep", index="ivf")
