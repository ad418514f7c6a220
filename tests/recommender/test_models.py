"""Scorers and objectives against their formulas, pair by pair."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerasft.training.sparse_adam import DENSE_ROWS
from kerasft_recommender import answering
from kerasft_recommender.baselines import ease
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.folding import Alike
from kerasft_recommender.histories import Histories
from kerasft_recommender.layers import Table
from kerasft_recommender.likeness import mean_of_alike
from kerasft_recommender.objectives import make_objective
from kerasft_recommender.ranker import Ranker
from kerasft_recommender.scorers import GMF, MLP, NeuMF, SASRec, Scorer

USERS, ITEMS = 5, 7


def scorers():
    keras.utils.set_random_seed(0)
    sizes = {"user_rows": USERS, "item_rows": ITEMS, "deviation": 1.0}
    return {
        "gmf": GMF(factors=3, **sizes),
        "mlp": MLP(layers=(8, 5, 2), **sizes),
        "neumf": NeuMF(factors=3, layers=(8, 5, 2), **sizes),
    }


def dense(layer, x):
    kernel, bias = (w.numpy() for w in layer.weights)
    return np.maximum(x @ kernel + bias, 0)


def by_hand(name, scorer, user, item):
    """The score of one pair, as the papers write it."""
    p, q = scorer.user_table.table.numpy()[user], scorer.item_table.table.numpy()[item]
    if name == "gmf":
        return np.sum(scorer.importance.weight.numpy() * p * q[:-1]) + q[-1]
    split = scorer.factors if name == "neumf" else 0
    tower = scorer.tower
    first = np.concatenate([tower.of_user.kernel.numpy(), tower.of_item.kernel.numpy()])
    x = np.maximum(np.concatenate([p[split:], q[split : split + 4]]) @ first + tower.of_item.bias.numpy(), 0)
    for layer in tower.others:
        x = dense(layer, x)
    x = np.concatenate([p[:split] * q[:split], x])
    kernel, bias = (w.numpy() for w in scorer.head.weights)
    return (x @ kernel + bias)[0] + (q[-1] if name == "neumf" else 0.0)


@pytest.mark.parametrize("name", ["gmf", "mlp", "neumf"])
def test_scores_are_those_of_the_formula(name):
    scorer = scorers()[name]
    if name == "gmf":
        scorer.importance.weight.assign([0.5, -2.0, 1.0])
    users, items = np.array([4, 0, 2]), np.array([[1, 1], [6, 3], [0, 2]])
    expected = [[by_hand(name, scorer, u, i) for i in row] for u, row in zip(users, items, strict=True)]
    np.testing.assert_allclose(scorer(tf.constant(users), tf.constant(items)), expected, rtol=1e-5)
    every = scorer.every(scorer.user(tf.constant(users)), stop=4).numpy()
    expected = [[by_hand(name, scorer, u, i) for i in range(4)] for u in users]
    np.testing.assert_allclose(every, expected, rtol=1e-5)


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(["mlp", "neumf"]),
    rows=arrays(np.int32, (USERS, ITEMS), elements=st.integers(0, ITEMS - 1)),
)
def test_what_is_computed_for_all_items_is_what_is_computed_for_each(name, rows):
    # More rows are asked for than there are, so that the first layer takes the whole table.
    scorer, users, rows = scorers()[name], tf.range(USERS), tf.constant(rows)

    def scored(how):
        with tf.GradientTape() as tape:
            scores = how(scorer.user(users), rows, training=True)
            loss = tf.reduce_sum(tf.square(scores - 1.0))
        weights = [weight.value for weight in scorer.trainable_weights]
        return [scores, *map(tf.convert_to_tensor, tape.gradient(loss, weights))]

    one_by_one = partial(Scorer.of_rows, scorer)
    for actual, expected in zip(scored(scorer.of_rows), scored(one_by_one), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_a_table_computes_for_each_row_once_where_more_are_asked_for():
    table, sizes = Table(3, 2, deviation=1.0), []

    def doubled(vectors):
        sizes.append(vectors.shape)
        return 2.0 * vectors, vectors[..., 0]

    for rows in ([[0, 1, 2]], [[0, 2], [2, 2]]):
        twice, first = table.each(doubled, tf.constant(rows))
        np.testing.assert_array_equal(twice, 2.0 * table.table.numpy()[rows])
        np.testing.assert_array_equal(first, table.table.numpy()[rows, 0])
    tf.function(partial(table.each, doubled)).get_concrete_function(tf.TensorSpec((None, 4), tf.int32))
    # Rows of a large table move only where they are touched.
    Table(DENSE_ROWS + 1, 2, deviation=1.0).each(doubled, tf.zeros(DENSE_ROWS + 2, tf.int32))
    assert [size.as_list() for size in sizes] == [[1, 3, 2], [3, 2], [None, 4, 2], [DENSE_ROWS + 2, 2]]


def test_a_history_is_encoded_as_far_as_it_goes():
    users, items = zip(*[("a", item) for item in "vwxyz"], ("b", "y"), ("b", "v"), strict=True)
    catalogue = Catalogue.learn(list(users), list(items), spare=0.0)
    keras.utils.set_random_seed(0)
    scorer = SASRec(catalogue, width=8, blocks=2, heads=2, length=3, dropout=0.0, deviation=1.0)
    v, w, x, y, z = range(1, 6)
    alone = [scorer.encode(tf.constant([rows]), training=False).numpy()[0] for rows in ([x, y, z], [y, v])]
    found = scorer.user(tf.constant([1, 2, 0])).numpy()
    np.testing.assert_allclose(found, [alone[0][-1], alone[1][-1], np.zeros(8)], atol=1e-5)
    # Causal: what comes later changes nothing.
    np.testing.assert_allclose(
        scorer.encode(tf.constant([[y, v, w]]), training=False)[0, :2], alone[1], atol=1e-5
    )
    history = scorer.of_history(
        tf.constant([[0, y, 0, v], [w, x, y, z]]),
        tf.constant([[False, True, False, True], [True] * 4]),
        None,
        stop=6,
    )
    np.testing.assert_allclose(history, scorer.every(tf.constant(found[[1, 0]]), stop=6), atol=1e-5)


def test_next_items_are_predicted_from_those_before(catalogue):
    keras.utils.set_random_seed(0)
    scorer = SASRec(catalogue, width=4, blocks=1, heads=1, length=3, dropout=0.0, deviation=1.0)
    objective = make_objective("next_item", catalogue, negatives=1)
    features = {"user": tf.constant([1, 2]), "items": tf.constant([[1, 2, 3], [2, 3, 0]])}
    losses = objective.loss(objective.scores(scorer, features, training=True), features).numpy()
    encoded = scorer.encode(features["items"], training=False).numpy()
    logits = encoded @ scorer.items().numpy()[1:4].T
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.array([-logs[0, 0, 1] - logs[0, 1, 2], -logs[1, 0, 2]]) / 1.5
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.fixture
def catalogue():
    return Catalogue.learn(list("aaabbc"), ["x", "y", "z", "y", "z", "z"], spare=0.0)


def outcome(objective, catalogue, users, items):
    keras.utils.set_random_seed(0)
    scorer = GMF(
        user_rows=catalogue.users.capacity, item_rows=catalogue.items.capacity, factors=3, deviation=1.0
    )
    features = {"user": tf.constant(users), "items": tf.constant(items)}
    scores = objective.scores(scorer, features, training=True)
    table = scorer(tf.range(4), tf.tile(tf.range(4)[None], [4, 1])).numpy()
    return objective.loss(scores, features).numpy(), table


def test_full_softmax_is_the_cross_entropy_of_every_choice(catalogue):
    objective = make_objective("full_softmax", catalogue, negatives=1)
    losses, table = outcome(objective, catalogue, [1, 3], [[1, 2, 3], [3, 0, 0]])
    logs = table[:, 1:] - np.log(np.exp(table[:, 1:]).sum(1, keepdims=True))
    expected = np.array([-logs[1].sum(), -logs[3, 2]]) / 2  # two choices a user in the mean
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_in_batch_softmax_corrects_popularity_and_leaves_out_the_same_item(catalogue):
    objective = make_objective("in_batch_softmax", catalogue, negatives=1)
    users, items = [1, 2, 3], [[1], [3], [3]]
    losses, table = outcome(objective, catalogue, users, items)
    share = {1: 1 / 6, 2: 2 / 6, 3: 3 / 6}
    corrected = np.array([[table[u, i[0]] - np.log(share[i[0]]) for i in items] for u in users])
    for row, columns in enumerate([(0, 1, 2), (0, 1), (0, 2)]):
        expected = np.log(np.exp(corrected[row, list(columns)]).sum()) - corrected[row, row]
        np.testing.assert_allclose(losses[row], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["bce", "bpr"])
def test_sampled_losses_are_those_of_the_formula(name, catalogue):
    objective = make_objective(name, catalogue, negatives=2)
    scores = np.array([[1.0, 0.5, -2.0], [-1.0, 3.0, 0.0]])
    found = objective.loss(tf.constant(scores), {}).numpy()
    sigmoid = 1 / (1 + np.exp(-scores))
    if name == "bce":
        expected = -(np.log(sigmoid[:, 0]) + np.log(1 - sigmoid[:, 1:]).sum(1)) / 3
    else:
        expected = -np.log(1 / (1 + np.exp(scores[:, 1:] - scores[:, :1]))).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_ease_is_the_best_linear_model_without_a_diagonal():
    random = np.random.default_rng(0)
    matrix = (random.random((30, 6)) < 0.4).astype(float)
    matrix[:, 0] = 1
    users, items = np.nonzero(matrix)
    scores = ease(Histories(users, items + 1, user_rows=30, item_rows=8), penalty=2.0)(np.arange(30))
    for item in range(6):
        others = np.delete(np.arange(6), item)
        x, y = matrix[:, others], matrix[:, item]
        weights = np.linalg.solve(x.T @ x + 2.0 * np.eye(5), x.T @ y)
        np.testing.assert_allclose(scores[:, item + 1], x @ weights, atol=1e-4)


def test_folding_in_solves_the_normal_equations():
    random = np.random.default_rng(0)
    every = random.standard_normal((9, 3)).astype("float32")
    rows = np.array([[1, 4, 0], [2, 2, 5]])
    chosen = np.array([[True, True, False], [True, False, True]])
    found = answering.ridge(
        tf.constant(every[rows]), tf.constant(chosen), tf.constant(every.T @ every)
    ).numpy()
    for user in range(2):
        mine = every[rows[user][chosen[user]]]
        matrix = 0.1 * every.T @ every + 0.9 * mine.T @ mine + np.eye(3)
        np.testing.assert_allclose(found[user], np.linalg.solve(matrix, mine.sum(0)), rtol=1e-4)


@pytest.mark.parametrize("name", ["gmf", "neumf", "mlp"])
def test_the_penalty_is_of_vectors_and_leaves_biases_free(name, catalogue):
    scorer = scorers()[name]
    model = Ranker(
        scorer=scorer, objective=make_objective("full_softmax", catalogue, negatives=1), penalty=0.5
    )
    users = scorer.user(tf.constant([1, 2])).numpy()
    items = scorer.items().numpy()
    items = items if name == "mlp" else items[:, :-1]
    model({"user": tf.constant([1, 2]), "items": tf.constant([[1], [2]])}, training=True)
    known = len(catalogue.items)
    assert known < len(items)
    expected = 0.5 * (np.mean(np.sum(users**2, 1)) + np.sum(items**2) / known)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def chances(scores):
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


@pytest.fixture
def extended():
    """Users a and b (rows 1, 2) of items x to z (1 to 3); then c, who chose x and as the first w; and d."""
    catalogue = Catalogue.learn(list("aabb"), list("xyyz"), spare=1.0)
    catalogue.extend(list("cc"), list("xw"), others=(["d"], []))
    return catalogue


@pytest.mark.parametrize("name", ["gmf", "neumf", "mlp"])
def test_new_users_are_pulled_to_those_who_would_have_chosen_the_same(name, extended):
    scorer = scorers()[name]
    objective = make_objective("full_softmax", extended, negatives=1)
    model = Ranker(scorer=scorer, objective=objective, penalty=0.5)
    model.apart = True
    if name == "gmf":
        scorer.importance.weight.assign([0.5, -2.0, 1.0])
    vectors = scorer.user(tf.range(USERS)).numpy()
    x = chances([[by_hand(name, scorer, user, item) for item in (1, 2, 3)] for user in (1, 2)])[:, 0]
    near = np.stack([(x / x.sum()) @ vectors[1:3], vectors[1:3].mean(0)])
    apart = np.sum((vectors[3:] - near) ** 2, 1)
    items = scorer.items().numpy()
    of_items = np.sum((items if name == "mlp" else items[:, :-1]) ** 2) / len(extended.items)
    features = {"user": tf.constant([4, 3, 1]), "items": tf.constant([[1, 0], [1, 4], [1, 2]])}
    model(features, training=True)
    expected = 0.5 * ((apart.sum() + np.sum(vectors[1] ** 2)) / 3 + of_items)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    table = scorer.user_table.table.numpy()
    model.welcome()
    np.testing.assert_allclose(scorer.user(tf.constant([3, 4])), near, rtol=1e-4, atol=1e-5)
    assert np.array_equal(scorer.user_table.table.numpy()[:3], table[:3])


def test_where_scores_are_no_chances_a_history_is_folded_in_by_the_ridge_solution(catalogue):
    scorer = scorers()["gmf"]
    model = Ranker(scorer=scorer, objective=make_objective("bce", catalogue, negatives=1), penalty=0.5)
    items, chosen = tf.constant([[1, 2]]), tf.constant([[True, False]])
    points = scorer.items()[1:4, :-1]
    expected = answering.ridge(points[None, :2], chosen, tf.matmul(points, points, transpose_a=True))
    found = scorer.fold(items, chosen, model.folding())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("pull", [(0.0, 3.0), (0.5, 0.0)], ids=["a user", "a choice"])
def test_a_history_is_folded_in_by_a_newton_step_from_those_alike(pull):
    scorer = scorers()["gmf"]
    fold = Alike(scorer, np.array([1, 2, 4], np.int32), stop=ITEMS, pull=pull)
    items = np.array([[3, 1, 5], [0, 6, 0]])
    users, points = scorer.user(tf.constant([1, 2, 4])).numpy(), scorer.items().numpy()[1:]
    p = chances(users @ points[:, :-1].T + points[:, -1])
    middle = chances(users.mean(0) @ points[:, :-1].T + points[:, -1])
    points = points[:, :-1]
    apart = points - middle @ points
    curvature = (apart * middle[:, None]).T @ apart
    expected = []
    for row in items:
        chosen = row[row > 0] - 1
        weights = p[:, chosen].prod(1) / p[:, chosen].prod(1).sum()
        uphill = points[chosen].sum(0) - len(chosen) * weights @ p @ points
        matrix = len(chosen) * curvature + (len(chosen) * pull[0] + pull[1]) * np.eye(3)
        expected.append(weights @ users + np.linalg.solve(matrix, uphill))
    found = scorer.fold(tf.constant(items), tf.constant(items > 0), fold)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_choices_beyond_ten_tell_no_more_whom_a_user_is_like():
    names = [f"i{item}" for item in range(12)]
    catalogue = Catalogue.learn([*"a" * 12, "b"], [*names, "i0"], spare=1.0)
    catalogue.extend(["c"] * 12, names)
    keras.utils.set_random_seed(0)
    scorer = GMF(user_rows=4, item_rows=13, factors=3, deviation=0.7)
    found = mean_of_alike(
        scorer, catalogue.histories, new=catalogue.last, others=catalogue.first, stop=13, read=scorer.user
    )
    scores = scorer.every(scorer.user(tf.constant([1, 2])), stop=13).numpy()[:, 1:]
    weights = np.exp(np.log(chances(scores)).sum(1) * 10 / 12)
    expected = weights / weights.sum() @ scorer.user(tf.constant([1, 2])).numpy()
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


@pytest.mark.parametrize("objective", ["bce", "bpr"])
def test_where_scores_are_no_chances_new_users_are_pulled_to_the_mean(objective, extended):
    scorer = scorers()["gmf"]
    model = Ranker(scorer=scorer, objective=make_objective(objective, extended, negatives=1), penalty=0.5)
    model.apart = True
    vectors = scorer.user(tf.range(USERS)).numpy()
    apart = np.sum((vectors[3] - vectors[1:3].mean(0)) ** 2)
    of_item = np.sum(scorer.item(tf.constant([1])).numpy()[:, :-1] ** 2)
    model({"user": tf.constant([3]), "items": tf.constant([[1]])}, training=True)
    assert float(sum(model.losses)) == pytest.approx(0.5 * (apart + of_item), rel=1e-5)
