"""The recommender through its verbs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kerasft
from kerasft import ConfigError, DataError, OrderError
from kerasft.data import open_source
from kerasft.testing import check_task
from kerasft_recommender import evaluation

from .conftest import PER_TASTE, USERS, choices, make


def asked(task, **columns):
    return task.predict(columns, verbose="quiet")


def ids(answer, row=0):
    return [name.decode() for name in answer["item_ids"][row] if name]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"scorer": "neumf"},
        {"scorer": "mlp", "objective": "bpr"},
        {"objective": "in_batch_softmax"},
        pytest.param({"scorer": "sasrec"}, marks=pytest.mark.slow),
    ],
    ids=lambda values: "-".join(values.values()) or "gmf",
)
def test_it_conforms(values):
    check_task("recommender", **values).raise_if_failed()


def test_users_get_what_fits_their_taste(trained):
    users = [f"u{user}" for user in range(USERS)]
    answer = asked(trained, user_id=users, k=[1] * USERS)
    assert answer["known"].all()
    mine = set(zip(choices()["user_id"], choices()["item_id"], strict=True))
    best = [(users[row], ids(answer, row)[0]) for row in range(USERS)]
    assert not mine & set(best)
    assert np.mean([item[1] == str(int(user[1:]) % 4) for user, item in best]) > 0.9


def test_seen_items_are_left_out_unless_asked_for(trained):
    mine = {i for u, i in zip(*list(choices().values())[:2], strict=True) if u == "u2"}
    without = asked(trained, user_id=["u2"], k=[6], exclude_seen=[True])
    whole = asked(trained, user_id=["u2"], k=[6], exclude_seen=[False])
    assert not mine & set(ids(without))
    assert mine <= set(ids(whole))


def test_each_row_has_as_many_as_it_asks_for(trained):
    answer = asked(trained, user_id=["u0", "u0", "u0"], k=[1, 3, 1000], exclude_seen=[False] * 3)
    assert answer["item_ids"].shape == (3, 4 * PER_TASTE)
    assert [len(ids(answer, row)) for row in range(3)] == [1, 3, 4 * PER_TASTE]
    assert ids(answer, 1) == ids(answer, 2)[:3]
    assert answer["scores"][0, 1:].tolist() == [0.0] * (4 * PER_TASTE - 1)
    with pytest.raises(DataError, match=r"^the arrays: k must be at least 1, but is 0\.$"):
        asked(trained, user_id=["u0"], k=[0])


def test_whoever_is_unknown_gets_what_is_popular(trained):
    answer = asked(trained, user_id=["nobody"], k=[3])
    counts = np.unique(choices()["item_id"], return_counts=True)
    most = sorted(counts[1], reverse=True)[:3]
    popular = dict(zip(*counts, strict=True))
    assert answer["known"].tolist() == [False]
    assert [popular[name] for name in ids(answer)] == most
    history = trained.predict(
        {"item_ids": [["none of these"], ["i0-0"]], "k": [3, 3]}, signature="recommend_from_history"
    )
    assert history["known"].tolist() == [False, True]
    assert ids(history, 0) == ids(answer)


@pytest.mark.parametrize("values", [{}, {"scorer": "mlp"}], ids=["gmf", "mlp"])
def test_a_history_alone_is_enough(values, trained):
    task = trained
    if values:
        task = make(**values, training={"epochs": 60})
        task.finetune(choices(), verbose="quiet")
    answer = task.predict(
        {"item_ids": [["i3-0", "i3-1"], ["i1-5", "what"]], "k": [4, 4]}, signature="recommend_from_history"
    )
    for row, taste in enumerate((3, 1)):
        assert {name[1] for name in ids(answer, row)[:3]} == {str(taste)}
    assert not {"i3-0", "i3-1"} & set(ids(answer))


def test_scores_and_similar_items(trained):
    scores = trained.predict(
        {"user_id": ["u0", "nobody"], "item_ids": [["i0-0", "i1-0", "?"], ["i0-0"]]}, signature="score"
    )
    assert scores["known"].tolist() == [[True, True, False], [False, False, False]]
    assert scores["scores"][0, 0] > scores["scores"][0, 1]
    assert scores["scores"][0, 2] == 0.0
    similar = trained.predict({"item_id": ["i2-3", "?"], "k": [3, 3]}, signature="similar_items")
    assert {name[:2] for name in ids(similar)} == {"i2"}
    assert ids(similar, 1) == []


def test_evaluation_ranks_held_out_items_beside_baselines(trained):
    left = {f"u{user}": {f"i{user % 4}-{item}" for item in range(PER_TASTE)} for user in range(USERS)}
    for user, item in zip(choices()["user_id"], choices()["item_id"], strict=True):
        left[user].discard(item)
    rows = [(user, item) for user, rest in left.items() for item in sorted(rest)]
    data = dict(zip(("user_id", "item_id"), map(list, zip(*rows, strict=True)), strict=True))
    found = trained.evaluate(data, verbose="quiet")
    assert found["recall@10"] == 1.0
    assert found["ndcg@10"] > 0.95 > found["ndcg@10_popularity"]
    assert found["ndcg@10_ease"] > 0.95
    assert 0 < found["coverage@10"] <= 1


def test_evaluation_of_few_users_at_a_time_finds_the_same(trained, monkeypatch):
    data = {"user_id": [f"u{user}" for user in range(USERS)], "item_id": ["i0-0", "i1-1", "i2-2"] * 16}
    expected = trained.evaluate(data, verbose="quiet")
    monkeypatch.setattr(evaluation, "_SCORES", 7 * len(trained.catalogue.items))
    assert trained.evaluate(data, verbose="quiet") == pytest.approx(expected)


def test_items_of_the_protocol_are_ranked_among_its_negatives():
    task = make(metrics={"protocol": "ncf99", "k": 1, "baselines": ()})
    task.finetune(choices(), verbose="quiet")
    data = {
        "user_id": ["u0", "u1", "u2"],
        "positive": ["i0-0", "i1-1", "i0-2"],
        "negatives99": [["i1-0", "i0-0", "i2-0"], ["i2-1"], ["i2-0", "i2-1", "?"]],
    }
    assert task.evaluate(data, verbose="quiet")["hr@1"] == pytest.approx(2 / 3)


def test_new_users_train_alone_and_leave_all_others_as_they_were(tmp_path):
    task = make()
    task.finetune(choices(), run_dir=tmp_path / "first", verbose="quiet")
    task = kerasft.load(tmp_path / "first")
    before = {weight.path: weight.numpy() for weight in task.model.weights}
    answer = asked(task, user_id=["u3"], k=[5])
    more = choices(4, seed=5, first=USERS)
    both = {name: choices()[name] + more[name] for name in more}
    task.finetune(both, run_dir=tmp_path / "second", verbose="quiet")
    known = 1 + USERS
    for weight in task.model.weights:
        old, new = before[weight.path], weight.numpy()
        if "users" in weight.path:
            assert np.array_equal(old[:known], new[:known])
            assert (old[known : known + 4] != new[known : known + 4]).all()
            assert np.array_equal(old[known + 4 :], new[known + 4 :])
        else:
            assert np.array_equal(old, new)
    again = kerasft.load(tmp_path / "second")
    for one in (task, again):
        assert np.array_equal(asked(one, user_id=["u3"], k=[5])["item_ids"], answer["item_ids"])
        best = asked(one, user_id=[f"u{user}" for user in range(USERS, USERS + 4)], k=[1] * 4)
        assert [ids(best, row)[0][1] for row in range(4)] == ["0", "1", "2", "3"]


def test_new_users_begin_like_those_of_their_taste():
    task = make()
    task.finetune(choices(), verbose="quiet")
    table = task.scorer.user_table.table
    before, known = table.numpy(), 1 + USERS
    more = {"user_id": [f"u{USERS + 1}"], "item_id": ["i1-0"]}
    task.extend(open_source(more, fields=task.fields()))
    after = table.numpy()
    assert np.array_equal(after[:known], before[:known])
    assert np.array_equal(after[known + 1 :], before[known + 1 :])
    tastes = np.stack([before[1 + taste : known : 4].mean(0) for taste in range(4)])
    assert np.argmin(np.sum((tastes - after[known]) ** 2, 1)) == 1


def test_new_users_of_an_interrupted_run_get_the_same_rows(tmp_path):
    make().finetune(choices(), run_dir=tmp_path / "first", verbose="quiet")
    both = {name: values + choices(4, seed=5, first=USERS)[name] for name, values in choices().items()}

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    tables = []
    for name, callbacks in (("whole", []), ("cut", [Stop()])):
        task = kerasft.load(tmp_path / "first")
        options = {"run_dir": tmp_path / name, "epochs": 6, "verbose": "quiet"}
        if callbacks:
            with pytest.raises(KeyboardInterrupt):
                task.finetune(both, callbacks=callbacks, **options)
            task = kerasft.load(tmp_path / name)
            task.finetune(both, resume="auto", **options)
        else:
            task.finetune(both, **options)
        tables.append(task.scorer.user_table.table.numpy())
    assert np.array_equal(*tables)


def test_items_that_are_new_take_spare_rows_and_are_recommended():
    task = make()
    task.finetune(choices(), verbose="quiet")
    shapes = [weight.shape for weight in task.model.weights]
    rows = {"user_id": [f"u{user}" for user in range(0, USERS, 4)], "item_id": ["i0-new"] * 12}
    both = {name: choices()[name] + rows[name] for name in rows}
    task.finetune(both, verbose="quiet")
    assert [weight.shape for weight in task.model.weights] == shapes
    similar = task.predict({"item_id": ["i0-new"], "k": [4]}, signature="similar_items")
    assert {name[:2] for name in ids(similar)} == {"i0"}


def test_freezing_items_without_new_users_is_an_error():
    task = make()
    task.finetune(choices(), verbose="quiet")
    with pytest.raises(DataError, match=r"has no new users, and freeze\('items'\) trains"):
        task.finetune(choices(), freeze="items", verbose="quiet")


def test_freezing_towers_leaves_the_tables():
    task = make(scorer="neumf")
    task.adapt(kerasft.data.open_source(choices(), fields=task.fields()))
    task.build()
    rows = {row.group: row.trainable for row in task.freeze("towers").rows}
    assert {name for name, count in rows.items() if count} == {"user_table", "item_table"}


def test_validation_holds_out_the_last_choices():
    task = make(hold_out="last", training={"epochs": 2})
    history = task.finetune(choices(), validation_data=1, verbose="quiet")
    assert len(task.catalogue.histories) == USERS * 3
    assert len(history.history["val_ndcg@10"]) == 2


def test_choices_that_repeat_count_once():
    once, twice = make(training={"epochs": 3}), make(training={"epochs": 3})
    once.finetune(choices(), verbose="quiet")
    rows = choices()
    twice.finetune({name: values + values[::-1] for name, values in rows.items()}, verbose="quiet")
    for first, second in zip(once.model.weights, twice.model.weights, strict=True):
        assert np.array_equal(first, second)


def test_data_of_its_own_beats_popularity():
    task = kerasft.create("recommender")
    task.finetune(verbose="quiet")
    found = task.evaluate(verbose="quiet")
    assert found["ndcg@10"] > 5 * found["ndcg@10_popularity"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"user_id": ["a", "b"], "item_id": ["x", "x"]}, "All choices are of one item, 'x'"),
        ({"user_id": ["a", ""], "item_id": ["x", "y"]}, "row 1: .*is empty"),
        ({"user_id": ["a", "b"]}, "item_id"),
    ],
)
def test_bad_data_is_named(data, message):
    with pytest.raises(DataError, match=message):
        make().finetune(data, verbose="quiet")


def test_strangers_alone_cannot_be_ranked(trained):
    with pytest.raises(DataError, match="no choice of which training saw both the user and the item"):
        trained.evaluate({"user_id": ["x"], "item_id": ["y"]}, verbose="quiet")


def test_before_data_there_is_nothing_to_recommend():
    with pytest.raises(OrderError, match=r"call finetune\(data\) first"):
        make().build()


def test_neumf_starts_from_a_gmf_and_an_mlp(tmp_path):
    for scorer in ("gmf", "mlp"):
        make(scorer=scorer, objective="bce", training={"epochs": 2}).finetune(
            choices(), run_dir=tmp_path / scorer, verbose="quiet"
        )
    both = [tmp_path / "gmf", tmp_path / "mlp"]
    rows = {name: values[::-1] for name, values in choices().items()}  # ids get other rows
    task = make(scorer="neumf", network={"alpha": 0.3}, training={"epochs": 1, "learning_rate": 1e-12})
    task.finetune(rows, init_from=both, run_dir=tmp_path / "neumf", verbose="quiet")
    pairs = {"user_id": ["u3", "u10"], "item_ids": [["i0-0", "i3-1"], ["i2-2", "i1-5"]]}
    parts = [kerasft.load(run).predict(pairs, signature="score")["scores"] for run in both]
    found = kerasft.load(tmp_path / "neumf").predict(pairs, signature="score")["scores"]
    np.testing.assert_allclose(found, 0.3 * parts[0] + 0.7 * parts[1], atol=1e-5)
    with pytest.raises(ConfigError, match="one of scorer gmf and one of mlp"):
        make(scorer="neumf").finetune(choices(), init_from=both[:1] * 2, verbose="quiet")
    with pytest.raises(ConfigError, match=r"has network.factors=8, this task 4: make them equal"):
        make(scorer="neumf", network={"factors": 4}).finetune(choices(), init_from=both, verbose="quiet")


def cycles(users=40, length=12):
    """Each user goes round the same circle of 10 items, from a place of their own."""
    places = [(user, step) for user in range(users) for step in range(length)]
    return {
        "user_id": [f"u{user}" for user, _ in places],
        "item_id": [f"i{(user + step) % 10}" for user, step in places],
        "timestamp": [step for _, step in places],
    }


def test_a_sequence_model_knows_what_comes_next():
    data = cycles(length=5)
    shuffled = np.random.default_rng(0).permutation(len(data["user_id"]))
    rows = {name: [values[at] for at in shuffled] for name, values in data.items()}
    task = make(scorer="sasrec", network={"length": 4, "dropout": 0.0}, training={"epochs": 40})
    task.finetune(rows, verbose="quiet")
    answer = asked(task, user_id=["u3", "u17"], k=[1, 1])
    assert [ids(answer, row) for row in range(2)] == [["i8"], ["i2"]]
    history = task.predict(
        {"item_ids": [["i4", "what", "i5"], ["i9"]], "k": [1, 1]}, signature="recommend_from_history"
    )
    assert [ids(history, row) for row in range(2)] == [["i6"], ["i0"]]
    before = [weight.numpy() for weight in task.model.weights]
    task.extend(open_source({"user_id": ["new"] * 2, "item_id": ["i1", "i2"]}, fields=task.fields()))
    assert ids(asked(task, user_id=["new"], k=[1])) == ["i3"]
    assert all(np.array_equal(old, new) for old, new in zip(before, task.model.weights, strict=True))
    with pytest.raises(ConfigError, match="new users need no training"):
        task.freeze("items")


def test_choices_that_cannot_be_ranked_are_counted(trained, capsys):
    data = {"user_id": ["u0", "u1", "new", "u2"], "item_id": ["i0-0", "i1-1", "i0-0", "new"]}
    found = trained.evaluate(data, verbose="line")
    assert (
        "2 of 4 choices are left out, as training did not see their user or item" in capsys.readouterr().err
    )
    known = {name: values[:2] for name, values in data.items()}
    assert found == trained.evaluate(known, verbose="quiet")


def test_towers_are_unfrozen_by_name_after_the_tables(tmp_path):
    task = make(scorer="neumf", training={"epochs": 1})
    task.finetune(choices(), run_dir=tmp_path / "run", verbose="quiet")
    task = kerasft.load(tmp_path / "run")
    moved = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.before = {w.path: w.numpy() for w in task.model.weights}

        def on_epoch_end(self, epoch, logs=None):
            now = {w.path: w.numpy() for w in task.model.weights}
            changed = [path for path, old in self.before.items() if not np.array_equal(old, now[path])]
            parts = ("users", "items", "tower", "head")
            moved.append({part for part in parts if any(part in path for path in changed)})

    task.finetune(
        choices(users=8, first=100),
        freeze="towers",
        unfreeze=kerasft.Milestones(at={1: ["head"], 2: ["head", "tower"]}),
        epochs=3,
        callbacks=[Watch()],
        verbose="quiet",
    )
    tables = {"users", "items"}
    assert moved == [tables, tables | {"head"}, tables | {"head", "tower"}]
