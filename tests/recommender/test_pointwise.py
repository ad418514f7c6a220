"""Single ratings: squared error and log loss, and what is measured of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

import kerasft
from kerasft import ConfigError, DataError
from kerasft.testing import check_task
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.pointwise import Scale, make_pointwise

from .conftest import make, ratings


def parted(rows):
    """Every seventh row apart."""
    apart = np.arange(len(rows["user_id"])) % 7 == 0
    return [
        {
            name: [value for value, out in zip(column, apart, strict=True) if out == wanted]
            for name, column in rows.items()
        }
        for wanted in (False, True)
    ]


@pytest.mark.parametrize(
    "values",
    [{"objective": "rating", "scorer": "neumf"}, {"objective": "click", "ordinal": 0.5}],
    ids=lambda values: values["objective"],
)
def test_it_conforms(values):
    check_task("recommender", **values).raise_if_failed()


def objective(name, low=1.0, high=5.0, ordinal=0.0):
    catalogue = Catalogue.learn(list("aab"), list("xyx"), spare=0.0)
    scale = Scale(mean=3.5, low=low, high=high, liked=0.25, levels=((3.0, 0.5), (4.0, 0.25), (5.0, 0.1)))
    made = make_pointwise(name, catalogue, scale=scale, threshold=4.0, ordinal=ordinal, penalty=0.0)
    made.user_bias.table.assign(np.linspace(-1, 1, catalogue.users.capacity)[:, None])
    return made, made.user_bias.table.numpy()[[1, 2], 0]


def test_losses_are_those_of_the_formulas():
    scores, given = np.array([[0.3], [-1.0]]), np.array([4.0, 2.0])
    features = {"user": tf.constant([1, 2]), "rating": tf.constant(given, tf.float32)}
    made, bias = objective("rating")
    found = made.loss(tf.constant(scores, tf.float32), features)
    np.testing.assert_allclose(found, (3.5 + bias + scores[:, 0] - given) ** 2, rtol=1e-5)
    made, bias = objective("click")
    chance = 1 / (1 + np.exp(-(np.log(0.25 / 0.75) + bias + scores[:, 0])))
    found = made.loss(tf.constant(scores, tf.float32), features)
    np.testing.assert_allclose(found, -np.log([chance[0], 1 - chance[1]]), rtol=1e-5)


def test_the_other_levels_count_as_much_as_they_shall():
    scores, given = np.array([[0.3], [-1.0], [2.0]]), np.array([4.0, 2.0, 5.0])
    features = {"user": tf.constant([1, 2, 1]), "rating": tf.constant(given, tf.float32)}
    made, bias = objective("click", ordinal=0.6)

    def loss(level, share):
        chance = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + bias[[0, 1, 0]] + scores[:, 0])))
        return -np.log(np.where(given >= level, chance, 1 - chance))

    wanted = 0.4 * loss(4, 0.25) + 0.6 * (loss(3, 0.5) + loss(5, 0.1)) / 2
    np.testing.assert_allclose(made.loss(tf.constant(scores, tf.float32), features), wanted, rtol=1e-5)
    plain, _ = objective("click")
    shown = [task.shown(tf.constant([[0.3, -1.0]]), tf.constant([1])).numpy() for task in (made, plain)]
    np.testing.assert_array_equal(*shown)


def test_levels_are_those_of_the_data_and_at_most_twenty():
    some = Scale.learn(np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [1, 2, 3, 3, 1]), threshold=4.0)
    assert some.levels == [(2.0, 0.9), (3.0, 0.7), (4.0, 0.4), (5.0, 0.1)]
    many = Scale.learn(np.random.default_rng(0).normal(size=500), threshold=0.0)
    assert len(many.levels) == 20
    assert all(0 < share < 1 for _, share in many.levels)
    assert Scale.learn(np.array([0.0, 1.0, 1.0]), threshold=1.0).levels == [(1.0, 2 / 3)]


def test_levels_that_there_are_not_are_refused():
    with pytest.raises(ConfigError, match="ordinal does nothing with objective=rating"):
        make(objective="rating", ordinal=0.5)
    rows = ratings()
    rows["rating"] = [float(rating >= 4) for rating in rows["rating"]]
    task = make(objective="click", threshold=1.0, ordinal=0.5)
    with pytest.raises(DataError, match=r"threshold of 1, and the ratings \(0 to 1\) have none"):
        task.finetune(rows, verbose="quiet")


def test_answers_stay_in_the_range_of_ratings():
    made, _ = objective("rating")
    shown = made.shown(tf.constant([[9.0, -9.0, 0.0]]), tf.constant([1])).numpy()[0]
    assert shown[:2].tolist() == [5.0, 1.0]
    assert 1.0 < shown[2] < 5.0


def test_what_is_measured_is_what_it_says():
    random = np.random.default_rng(0)
    shown, given = random.random(60).astype("float32"), random.integers(1, 6, 60).astype("float32")
    users = random.integers(1, 5, 60)
    found = objective("click")[0].measure(shown, given, users)
    each = [users == user for user in np.unique(users)]
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(given >= 4, shown))
    assert found["logloss"] == pytest.approx(metrics.log_loss(given >= 4, shown.astype(float)))
    assert found["user_auc"] == pytest.approx(
        np.mean([metrics.roc_auc_score(given[mine] >= 4, shown[mine]) for mine in each])
    )
    assert found["user_logloss"] == pytest.approx(
        np.mean([metrics.log_loss(given[mine] >= 4, shown[mine].astype(float)) for mine in each])
    )
    found = objective("rating")[0].measure(shown, given, users)
    assert found["rmse"] == pytest.approx(metrics.mean_squared_error(given, shown) ** 0.5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(given, shown))


@pytest.mark.parametrize("scorer", ["gmf", "mlp", "neumf"])
def test_ratings_are_learned(scorer, tmp_path):
    train, test = parted(ratings())
    task = make(scorer=scorer, objective="rating", training={"epochs": 15, "batch_size": 32})
    task.finetune(train, run_dir=tmp_path / "run", verbose="quiet")
    task = kerasft.load(tmp_path / "run")
    assert task.evaluate(test, verbose="quiet")["rmse"] < 0.9
    answer = task.predict(
        {"user_id": ["u0", "u0", "nobody"], "item_ids": [["i0-1"], ["i1-1"], ["i0-1"]]}, signature="score"
    )
    assert answer["scores"][0, 0] > 3.5 > 3.0 > answer["scores"][1, 0]
    assert answer["scores"][2, 0] == pytest.approx(np.mean(train["rating"]), abs=1e-4)
    best = task.predict({"user_id": ["u2"], "k": [3], "exclude_seen": [False]}, verbose="quiet")
    assert {name[:2] for name in best["item_ids"][0]} == {b"i2"}
    assert (best["scores"] > 3.5).all()
    assert (best["scores"] <= 5).all()


def test_clicks_are_learned():
    train, test = parted(ratings())
    task = make(objective="click", training={"epochs": 8, "batch_size": 32})
    history = task.finetune(train, validation_data=test, verbose="quiet")
    assert history.history["val_auc"][-1] > 0.95
    assert task.monitor == "val_auc"
    found = task.evaluate(test, verbose="quiet")
    assert found["user_auc"] > 0.95
    assert found["logloss"] < 0.3


def test_ratings_that_cannot_be_used_are_named():
    rows = {"user_id": ["a", "b"], "item_id": ["x", "y"], "rating": [1, 2]}
    with pytest.raises(DataError, match=r"None of the ratings \(1 to 2\) reach the threshold of 4"):
        make(objective="click").finetune(rows, verbose="quiet")
    with pytest.raises(DataError, match="no column for 'rating'"):
        make(objective="rating").finetune({"user_id": ["a", "b"], "item_id": ["x", "y"]}, verbose="quiet")
    with pytest.raises(ConfigError, match="ncf99 ranks lists, and objective=click measures single ratings"):
        make(objective="click", metrics={"protocol": "ncf99"})
