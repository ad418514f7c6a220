"""Side tables, what is read from them, and the scorers that read it."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import ConfigError, DataError
from kerasft.data import open_source
from kerasft.metrics import roc_auc
from kerasft.testing import check_task
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.config import FeatureConfig, NetworkConfig
from kerasft_recommender.features import Feature
from kerasft_recommender.scorers import MLP, NeuMF, base, make_scorer
from kerasft_recommender.sides import Sides, SideTable

from .conftest import PER_TASTE, TASTES, USERS, choices, make

ITEMS = [f"i{taste}-{item}" for taste in range(TASTES) for item in range(PER_TASTE)]
TASTE = {"name": "taste", "kind": "categorical"}
BOTH_SIDES = [
    {"name": "age", "kind": "numeric", "side": "user"},
    {"name": "town", "kind": "categorical", "side": "user"},
    {"name": "tags", "kind": "multi"},
    {"name": "past films / books", "kind": "sequence", "length": 2},
    {"name": "look", "kind": "embedding"},
]
CONTEXT = [
    {"name": "hour", "kind": "numeric", "side": "context"},
    {"name": "device", "kind": "categorical", "side": "context"},
    {"name": "words", "kind": "multi", "side": "context"},
    {"name": "clicks", "kind": "sequence", "side": "context", "length": 2},
    {"name": "mood", "kind": "embedding", "side": "context", "width": 2},
]


def where(row):
    return f"row {row}"


def learned(values, **config):
    feature = Feature.learn(FeatureConfig(name="f", **config), values, where, 0.0)
    return feature, feature.encode(values, where).tolist()


def test_features_become_numbers():
    assert learned(["red", "blue", "(missing)", "red"], kind="categorical")[1] == [1, 2, 0, 1]
    assert learned([["a", "b"], [], ["b"]], kind="multi")[1] == [[1, 2], [0, 0], [2, 0]]
    _, latest = learned(["a|b|c", ["c", "c"], ""], kind="sequence", length=2)
    assert latest == [[3, 2], [3, 3], [0, 0]]
    _, numbers = learned(["1", 3, ""], kind="numeric")
    assert numbers == [-1.0, 1.0, 0.0]
    _, vectors = learned([[1, 2], "", "[3, 4]", "0.5 0"], kind="embedding")
    assert vectors == [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [0.5, 0.0]]
    assert learned(["7", "7"], kind="numeric")[1] == [0.0, 0.0]


def test_a_graph_reads_the_context_as_a_table_is_read():
    words, _ = learned([["a", "b"], ["c"]], kind="multi")
    assert words.in_graph(tf.constant(["b|?| a", "c", "", "(missing)"])).to_list() == [[2, 1], [3], [], []]
    clicks, _ = learned([["a", "b", "c"], ["c"]], kind="sequence", length=2)
    assert clicks.in_graph(tf.constant(["a|b|c", "b"])).to_list() == [[3, 2], [2]]
    hour, numbers = learned([1.0, 3.0, 8.0], kind="numeric")
    np.testing.assert_allclose(hour.in_graph(tf.constant([1.0, 3.0, 8.0])), numbers, rtol=1e-6)


def test_values_that_are_new_take_spare_rows():
    feature, _ = learned(["red"], kind="categorical")
    feature.extend(["red", "green"])
    assert feature.encode(["green", "blue"], where).tolist() == [2, 0]
    with pytest.raises(DataError, match="There are 40 new values of 'f'"):
        feature.extend([str(number) for number in range(40)])
    again = Feature.from_json(feature.config, json.loads(json.dumps(feature.to_json())))
    assert again.encode(["green", "red"], where).tolist() == [2, 1]
    assert again.rows == feature.rows


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        ({"kind": "numeric"}, ["1", "much"], "row 1: column 'f' holds 'much', which is not a finite number"),
        ({"kind": "numeric"}, ["", ""], "The feature 'f' has no value in any row"),
        (
            {"kind": "embedding"},
            [[1.0], [1.0, 2.0]],
            "row 1: the embedding 'f' has 2 numbers, and others have 1",
        ),
        ({"kind": "embedding", "width": 3}, [[1.0]], "has 1 numbers, and others have 3"),
        ({"kind": "embedding"}, [["x"]], "row 0: column 'f' must hold a list of finite numbers"),
        ({"kind": "multi"}, [[], []], "The feature 'f' has no value in any row"),
    ],
)
def test_values_of_another_kind_are_named(config, values, message):
    with pytest.raises(DataError, match=message):
        learned(values, **config)


def some(name, **network):
    """A scorer of three users and three items with features of most kinds, and its parts."""
    keras.utils.set_random_seed(0)
    users = {"user_id": list("abc"), "age": [1, 5, 2], "town": ["x", "y", "x"]}
    items = {
        "item_id": ["p", "q", "r"],
        "tags": ["s|t", "t", ""],
        "past films / books": ["m|n", "n", ""],
        "look": [[1.0, 2.0], [0.5, 0.1], [0.0, 0.0]],
    }
    configs = [FeatureConfig(**config) for config in BOTH_SIDES]
    tables = {
        side: SideTable(rows, side=side, features=[c for c in configs if c.side == side])
        for side, rows in (("user", users), ("item", items))
    }
    catalogue = Catalogue.learn(list("abc"), ["p", "q", "p"], spare=0.0, others=([], ["r"]))
    sides = Sides.learn(
        configs,
        tables=tables,
        choices=open_source({"x": [1]}, fields=[kerasft.Field(name="x", kind="number")]),
        users=catalogue.users,
        items=catalogue.items,
        spare=0.0,
    )
    settings = NetworkConfig(width=3, factors=3, hidden=(4, 2), deviation=1.0, **network)
    return make_scorer(name, settings, catalogue, sides)


def vectors(scorer, users, items):
    """All vectors and weights of a pair, `[features, width]` and their sum."""
    of_users = scorer.user(tf.constant(users)).numpy()[:, : 3 * 4].reshape(len(users), 3, 4)
    of_items = scorer.item(tf.constant(items)).numpy()[:, : 4 * 4].reshape(len(items), 4, 4)
    both = np.concatenate([of_users, of_items], 1)
    return both[..., :-1], both[..., -1].sum(1)


def network(scorer, x):
    first = np.concatenate([scorer.tower.of_user.kernel.numpy(), scorer.tower.of_item.kernel.numpy()])
    x = np.maximum(x @ first + scorer.tower.of_item.bias.numpy(), 0)
    for layer in scorer.tower.others:
        kernel, bias = (weight.numpy() for weight in layer.weights)
        x = np.maximum(x @ kernel + bias, 0)
    return x


@pytest.mark.parametrize("name", ["wide_deep", "deepfm", "dcn"])
def test_scores_are_those_of_the_formula(name):
    scorer = some(name)
    users, items = np.array([1, 2, 3, 2]), np.array([1, 2, 3, 1])
    found = scorer(tf.constant(users), tf.constant(items)[:, None]).numpy()[:, 0]
    every = scorer.every(scorer.user(tf.constant(users)), stop=4).numpy()
    np.testing.assert_allclose(every[np.arange(4), items], found, rtol=1e-4)
    v, expected = vectors(scorer, users, items)
    x0 = v.reshape(4, -1)
    deep = network(scorer, x0)
    kernel, bias = (weight.numpy() for weight in scorer.head.weights)
    if name == "deepfm":
        for i in range(7):
            for j in range(i):
                expected = expected + np.sum(v[:, i] * v[:, j], -1)
    if name == "dcn":
        x = x0
        for layer in scorer.crosses:
            x = x0 * (x @ layer.kernel.numpy() + layer.bias.numpy()) + x
        deep = np.concatenate([x, deep], 1)
    np.testing.assert_allclose(found, expected + (deep @ kernel + bias)[:, 0], rtol=1e-4)


def in_parts(scorer, monkeypatch, users, *, stop, most):
    """All scores with at most so many pairs at once, and how many there were."""
    monkeypatch.setattr(base, "PAIRS", most)
    counts, pairs = [], scorer.pairs

    def counting(users, items):
        counts.append(int(users.shape[0] * items.shape[1]))
        return pairs(users, items)

    monkeypatch.setattr(scorer, "pairs", counting)
    return scorer.every(scorer.user(tf.constant(users)), stop=stop).numpy(), counts


@pytest.mark.parametrize("name", ["wide_deep", "deepfm", "dcn", "mlp", "neumf"])
def test_all_items_are_scored_some_at_a_time(name, monkeypatch):
    keras.utils.set_random_seed(0)
    if name in ("mlp", "neumf"):
        sizes = {"factors": 3} if name == "neumf" else {}
        kind = {"mlp": MLP, "neumf": NeuMF}[name]
        scorer = kind(user_rows=4, item_rows=5, layers=(8, 5, 2), deviation=1.0, **sizes)
    else:
        scorer = some(name)
    for users, most, expected in (([1, 2, 3], 7, [6, 6]), ([2], 3, [3, 1]), ([1, 2, 3], 1, [3] * 4)):
        rows = tf.constant(users)
        whole = scorer(rows, tf.tile(tf.range(4)[None], [len(users), 1])).numpy()
        with monkeypatch.context() as patch:
            found, counts = in_parts(scorer, patch, users, stop=4, most=most)
        np.testing.assert_allclose(found, whole, rtol=1e-4)
        assert counts == expected
    assert scorer.every(scorer.user(tf.constant([], tf.int32)), stop=4).shape == (0, 4)


def test_each_pair_of_values_has_its_weight():
    scorer = some("wide_deep")
    (pairs,) = scorer.crosses
    assert scorer.crossed == [("town", "tags")]
    users, items = tf.constant([1, 2]), tf.constant([[1, 2, 3], [1, 2, 3]])
    before = scorer(users, items).numpy()
    weight = np.random.default_rng(0).standard_normal(pairs.weight.shape)
    pairs.weight.assign(weight)
    # Towns of the users are rows 1 and 2; the tags of the items rows (1, 2), 2, and none.
    expected = [[(weight[t, 1] + weight[t, 2]) / 2, weight[t, 2], 0] for t in (1, 2)]
    np.testing.assert_allclose(scorer(users, items).numpy() - before, expected, atol=1e-5)


def test_vectors_of_features_are_what_they_say():
    scorer = some("two_tower")
    of_items = scorer.fields["item"]
    fields = dict(zip(of_items.names, of_items.parts, strict=True))
    own = scorer.item_table.table.numpy()
    tags = fields["tags"].table.table.numpy()
    sequence, look = fields["past films / books"], fields["look"]
    sequence.place.assign([1.0, 0.0])
    past = sequence.table.table.numpy()
    first = np.exp(1) / (np.exp(1) + 1)
    seen = look.dense(look.normalize(tf.constant([[1.0, 2.0], [0.5, 0.1]]))).numpy()
    found = scorer.item(tf.constant([1, 2, 3])).numpy()
    mixed = first * past[2] + (1 - first) * past[1]  # "n" came last
    np.testing.assert_allclose(found[0], own[1] + (tags[1] + tags[2]) / 2 + mixed + seen[0], rtol=1e-4)
    np.testing.assert_allclose(found[1], own[2] + tags[2] + past[2] + seen[1], rtol=1e-4)
    assert found[2].tolist() == [0.0] * 4  # nobody chose it, and nothing is known of it
    age, town = scorer.fields["user"].parts
    standard = (5 - np.mean([1, 5, 2])) / np.std([1, 5, 2])
    expected = scorer.user_table.table.numpy()[2] + standard * age.vector.numpy() + town.table.numpy()[2]
    np.testing.assert_allclose(scorer.user(tf.constant([2])).numpy()[0], expected, rtol=1e-4)


def test_ids_are_left_out_in_training_alone():
    scorer = some("two_tower", id_dropout=0.5)
    rows = tf.fill([200], 1)
    whole = scorer.item(rows).numpy()
    dropped = (scorer.items_for(rows, training=True).numpy() != whole).any(1)
    assert 0.3 < dropped.mean() < 0.7
    assert np.array_equal(scorer.items_for(rows, training=False), whole)


def side_files(folder):
    users = {"user_id": ["ann", "bob", "cy"], "age": [20, "", 40], "town": ["x", "y", ""]}
    items = {
        "item_id": ["tea", "milk", "rice", "oat"],
        "tags": ["hot|drink", "drink", "", "dry"],
        "past films / books": [["a", "b"], ["b"], [], ["a"]],
        "look": [[1.0, 0.5], [0.3, 0.1], [0.2, 0.9], [0.1, 0.4]],
    }
    for name, columns in (("users", users), ("items", items)):
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
    return {name: str(folder / f"{name}.jsonl") for name in ("users", "items")}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            {"scorer": "deepfm", "objective": "click", "features": BOTH_SIDES + CONTEXT},
            marks=pytest.mark.slow,
        ),
        {"scorer": "two_tower", "features": BOTH_SIDES},
        pytest.param(
            {"scorer": "wide_deep", "objective": "rating", "features": BOTH_SIDES + CONTEXT},
            marks=pytest.mark.slow,
        ),
        pytest.param({"scorer": "dcn", "features": BOTH_SIDES}, marks=pytest.mark.slow),
    ],
    ids=lambda values: values["scorer"],
)
def test_it_conforms(values, tmp_path):
    check_task("recommender", **values, **side_files(tmp_path)).raise_if_failed()


def tastes(items):
    return {"item_id": items, "taste": [item[1] for item in items]}


def test_new_items_need_their_features_alone(tmp_path):
    task = make(scorer="two_tower", objective="full_softmax", features=[TASTE], training={"epochs": 60})
    data = {"interactions": choices(), "items": tastes([*ITEMS, "i2-cold"])}
    task.finetune(data, run_dir=tmp_path / "run", verbose="quiet")
    task = kerasft.load(tmp_path / "run")
    assert task.add_items(tastes(["i1-new", "i3-new"])) == 2
    users = [f"u{user}" for user in range(USERS)]
    answer = task.predict(
        {"user_id": users, "item_ids": [["i1-new", "i2-cold", "i3-new", "i9-none"]] * USERS},
        signature="score",
    )
    assert answer["known"].tolist() == [[True, True, True, False]] * USERS
    scores = answer["scores"]
    for column, taste in enumerate((1, 2, 3)):
        mine = np.arange(USERS) % TASTES == taste
        assert scores[mine, column].min() > scores[~mine, column].max()
    similar = task.predict({"item_id": ["i1-new"], "k": [3]}, signature="similar_items", verbose="quiet")
    assert {name[:2] for name in similar["item_ids"][0]} == {b"i1"}


@pytest.mark.parametrize("scorer", ["wide_deep", "deepfm", "dcn"])
def test_features_are_ranked_by(scorer):
    task = make(
        scorer=scorer, features=[TASTE], network={"width": 8, "hidden": (16,)}, training={"epochs": 25}
    )
    history = task.finetune(
        {"interactions": choices(), "items": tastes(ITEMS)}, validation_data=0.1, verbose="quiet"
    )
    assert history.history["val_ndcg@10"][-1] > 0.6
    users = [f"u{user}" for user in range(USERS)]
    best = task.predict({"user_id": users, "k": [1] * USERS}, verbose="quiet")["item_ids"][:, 0]
    assert np.mean([int(name[1:2]) == user % TASTES for user, name in enumerate(best)]) > 0.8


def test_the_context_counts():
    task = make(
        scorer="deepfm",
        objective="click",
        features=[{"name": "hour", "kind": "categorical", "side": "context"}],
        training={"epochs": 10},
    )
    rows = choices()
    rows["hour"] = [("noon", "night")[row % 2] for row in range(len(rows["user_id"]))]
    rows["rating"] = [5 if hour == "noon" else 1 for hour in rows["hour"]]
    task.finetune(rows, verbose="quiet")
    scores = task.predict(
        {"user_id": ["u0", "u0"], "item_ids": [["i0-1"]] * 2, "hour": ["noon", "night"]}, signature="score"
    )["scores"]
    assert scores[0, 0] > 0.8 > 0.2 > scores[1, 0]
    with pytest.raises(DataError, match="hour"):
        task.predict({"user_id": ["u0"], "item_ids": [["i0-1"]]}, signature="score")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (None, r"The feature 'taste' needs a table of items: name its file"),
        ({"item_id": ["a"], "tast": ["x"]}, "no column 'taste' .*did you mean 'tast'"),
        ({"item_id": ["a", "b", "a"], "taste": ["x", "y", "z"]}, "the item 'a' was there before"),
    ],
)
def test_tables_that_cannot_be_used_are_named(items, message):
    task = make(scorer="two_tower", features=[TASTE])
    with pytest.raises(DataError, match=message):
        task.finetune({"interactions": choices(), "items": items}, verbose="quiet")


def test_tables_are_for_finetune():
    task = make(scorer="two_tower", features=[TASTE], training={"epochs": 1})
    data = {"interactions": choices(), "items": tastes(ITEMS)}
    with pytest.raises(DataError, match="There is a table of users, but no feature in the config"):
        task.finetune({**data, "users": {"user_id": ["u0"]}}, verbose="quiet")
    with pytest.raises(DataError, match="Beside interactions there can be users and items, not 'item'"):
        task.finetune({**data, "item": {}}, verbose="quiet")
    task.finetune(data, verbose="quiet")
    for verb in (task.evaluate, task.predict):
        with pytest.raises(DataError, match="The table of items is for finetune"):
            verb(data, verbose="quiet")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": [TASTE]}, "scorer=gmf reads no features; take one of wide_deep"),
        ({"scorer": "deepfm", "features": [TASTE, TASTE]}, "the name 'taste' is taken"),
        ({"scorer": "deepfm", "items": "x.csv"}, "items names a side table, but no feature has side=item"),
        (
            {"scorer": "deepfm", "features": [{**TASTE, "side": "context"}]},
            "are for objective=rating and click",
        ),
        (
            {"scorer": "deepfm", "objective": "click", "features": [{**CONTEXT[-1], "width": None}]},
            "the embedding 'mood' of the context needs its width",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        kerasft.create("recommender", **values)


WORDS = (
    ("tea leaves", "green cups"),
    ("rock guitars", "loud drums"),
    ("chess boards", "kings"),
    ("soil", "seeds"),
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A small text run that tells the tastes apart."""
    run = tmp_path_factory.mktemp("reader") / "run"
    task = kerasft.create("text", encoder="mlp", mlp={"units": [8]}, embedding={"dim": 8})
    rows = {
        "text": [f"{first} and {word}" for words in WORDS for first in words for word in words],
        "label": [str(taste) for taste in range(TASTES) for _ in range(4)],
    }
    task.finetune(rows, epochs=40, batch_size=4, learning_rate=0.02, run_dir=run, verbose="quiet")
    return run


def described(items):
    return {"item_id": items, "about": [WORDS[int(name[1])][len(name) % 2] for name in items]}


def test_raw_texts_make_new_items_known_by_what_they_say(reader, tmp_path):
    about = {"name": "about", "kind": "text", "encoder": str(reader)}
    task = make(scorer="two_tower", features=[about])
    items = described(ITEMS)
    items["about"][0] = ""
    task.finetune({"interactions": choices(), "items": items}, run_dir=tmp_path / "run", verbose="quiet")
    assert not task.sides.item.arrays["about"][task.catalogue.items.numbers(["i0-0"])].any()
    task = kerasft.load(tmp_path / "run")
    assert task.add_items(described(["i1-new", "i3-newer"])) == 2
    users = [f"u{user}" for user in range(USERS)]
    scores = task.predict(
        {"user_id": users, "item_ids": [["i1-new", "i3-newer"]] * USERS}, signature="score", verbose="quiet"
    )["scores"]
    for column, taste in enumerate((1, 3)):
        mine = np.arange(USERS) % TASTES == taste
        assert scores[mine, column].min() > scores[~mine, column].max()


def test_vectors_of_several_networks_stand_for_what_is_there():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2, TASTES, 5))
    kinds = [{"name": name, "kind": "embedding"} for name in ("picture", "sound")]
    rows = {"item_id": [*ITEMS, "i2-new", "i3-new"]}
    for place, kind in enumerate(kinds):
        # Every other item lacks one of the two.
        rows[kind["name"]] = [
            vectors[place, int(name[1])].tolist() if at % 3 != place else "" for at, name in enumerate(ITEMS)
        ] + [vectors[place, taste].tolist() if (taste == 2) == (place == 0) else "" for taste in (2, 3)]
    task = make(scorer="two_tower", features=kinds)
    task.finetune({"interactions": choices(), "items": rows}, verbose="quiet")
    scores = task.predict(
        {"user_id": [f"u{user}" for user in range(USERS)], "item_ids": [["i2-new", "i3-new"]] * USERS},
        signature="score",
        verbose="quiet",
    )["scores"]
    for column, taste in enumerate((2, 3)):
        mine = np.arange(USERS) % TASTES == taste
        assert roc_auc(scores[:, column], mine) > 0.9


def test_texts_are_for_tables():
    with pytest.raises(ConfigError, match="the text 'about' of the context would need its encoder"):
        make(
            scorer="deepfm",
            objective="click",
            features=[{"name": "about", "kind": "text", "side": "context"}],
        )
    feature = FeatureConfig(name="about", kind="text")
    with pytest.raises(DataError, match="The feature 'about' has no text in any row"):
        Feature.learn(feature, ["(missing)"] * 2, where, 0.0)
