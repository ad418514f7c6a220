"""A task of two networks and three updates: its step, its logs, freezing and resume."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from measure import assert_same, moved, weights_of
from tasks import Points, points
from variants import Gan

import kerasft
from kerasft import ConfigError, TrainingError, Update
from kerasft.training.checkpoint import load
from kerasft.training.movement import MovementWarning
from kerasft.training.run import Run


def plane(count=40):
    generator = np.random.default_rng(0)
    return {"x": generator.normal(2, 0.1, count).tolist(), "y": generator.normal(-1, 0.1, count).tolist()}


OPTIONS = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "verbose": "quiet"}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}


class Record(keras.callbacks.Callback):
    """Which of the networks move in each step."""

    def __init__(self, task):
        super().__init__()
        self.task, self.steps = task, []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = weights_of(self.task)

    def on_train_batch_end(self, batch, logs=None):
        parts = {name.split("_")[0] for name in moved(self.before, weights_of(self.task))}
        self.steps.append("".join(sorted(part[0] for part in parts)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan") / "run"
    task = Gan(seed=1)
    task.build()
    record = Record(task)
    history = task.finetune(plane(), run_dir=folder, callbacks=[record], ema=0.9, **OPTIONS | ADAM)
    return task, history.history, record.steps, folder


def test_updates_act_in_their_steps_and_log_under_their_names(whole):
    _, history, steps, _ = whole
    assert steps == ["dg", "d"] * 5
    assert set(history) == {"discriminator_loss", "penalty_loss", "generator_loss"}
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())


def test_two_optimizers_know_their_own_networks(whole):
    task, _, _, folder = whole
    checkpoint = load(Run(folder).checkpoints.path(10))
    assert {name.split("/")[1] for name in checkpoint.arrays if name.startswith("optimizer/")} == {"0", "1"}
    counts = [checkpoint.arrays[f"optimizer/{i}/0"].item() for i in range(2)]
    assert counts == [15, 5]  # the discriminator's serves the penalty too
    slots = [sum(name.startswith(f"optimizer/{i}/") for name in checkpoint.arrays) for i in range(2)]
    trainable = [len(task.models[name].trainable_variables) for name in ("discriminator", "generator")]
    assert slots == [2 + 2 * count for count in trainable]


def test_resumes_bit_for_bit_and_loads_with_averages(whole, tmp_path):
    expected, _, _, folder = whole
    run = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop(batch, logs):
        if batch == 3:
            raise Stop

    half = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(Stop):
        Gan(seed=1).finetune(
            plane(), run_dir=run, ema=0.9, checkpoint_every=3, callbacks=[half], **OPTIONS | ADAM
        )
    assert Run(run).checkpoints.steps() == [3]
    task = Gan(seed=1)
    task.finetune(plane(), run_dir=run, ema=0.9, checkpoint_every=3, resume="must", **OPTIONS | ADAM)
    assert_same(weights_of(task), weights_of(expected))
    arrays, again = (load(Run(where).checkpoints.path(10)).arrays for where in (folder, run))
    assert_same(again, arrays)
    assert_same(weights_of(kerasft.load(folder)), weights_of(expected))


def test_frozen_networks_and_groups_stay(recwarn):
    task = Gan(seed=1)
    task.build()
    report = task.freeze(["generator/generator_hidden", "discriminator/.*_hidden"])
    assert [row.group for row in report.rows if not row.trainable] == [
        "generator/generator_hidden",
        "discriminator/discriminator_hidden",
    ]
    before = weights_of(task)
    task.finetune(plane(16), **OPTIONS | {"epochs": 1})
    assert {name.split("/")[0] for name in moved(before, weights_of(task))} == {
        "generator_out",
        "discriminator_out",
    }
    assert not [str(entry.message) for entry in recwarn if entry.category is MovementWarning]
    task.freeze("^generator/")
    with pytest.raises(TrainingError, match=r"Nothing would train in the update 'generator'"):
        task.finetune(plane(16), **OPTIONS)


def test_a_rare_update_is_not_mistaken_for_one_that_moves_nothing(recwarn):
    task = Gan(seed=1, every=3)
    # The second phase starts in a step in which the generator has no turn.
    unfreeze = kerasft.Milestones(at={1: "all"})
    task.build()
    task.freeze("hidden")
    task.finetune(plane(32), unfreeze=unfreeze, **OPTIONS)
    assert not [str(entry.message) for entry in recwarn if entry.category is MovementWarning]


def test_rare_updates_meet_accumulation():
    task = Gan(seed=1)
    task.build()
    record = Record(task)
    # 5 batches make 3 applications an epoch; the generator has a turn in every second of all.
    history = task.finetune(plane(40), accumulate=2, callbacks=[record], **OPTIONS)
    assert record.steps == ["", "dg", "", "d", "dg", "", "d", "", "dg", "d"]
    assert np.isfinite(history.history["generator_loss"]).all()


def test_an_epoch_in_which_an_update_has_no_turn_keeps_its_last_loss():
    history = Gan(seed=1, every=5).finetune(plane(16), **OPTIONS | {"epochs": 3}).history
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(history, 3)
    assert history["generator_loss"][1] == history["generator_loss"][0]
    assert history["generator_loss"][2] != history["generator_loss"][0]


def test_an_optimizer_object_serves_each_update_as_its_own():
    first, second = Gan(seed=1), Gan(seed=1)
    first.finetune(plane(16), **OPTIONS | ADAM)
    second.finetune(plane(16), **OPTIONS | ADAM | {"optimizer": keras.optimizers.Adam(0.01)})
    assert_same(weights_of(second), weights_of(first))


def test_float16_scales_every_optimizer():
    history = Gan(seed=1, precision="mixed_float16").finetune(plane(16), **OPTIONS).history
    assert all(np.isfinite(values).all() for values in history.values())


def test_float16_without_scaling_is_refused():
    class Unscaled(Gan):
        def updates(self, make_optimizer):
            return super().updates(lambda: keras.optimizers.Adam(0.01))

    with pytest.raises(TrainingError, match=r"adam.* needs loss scaling: wrap it in .*LossScaleOptimizer"):
        Unscaled(precision="mixed_float16").finetune(plane(16), **OPTIONS)


def test_predict_serves_a_task_of_several_models(whole):
    task, _, _, _ = whole
    assert task.predict(plane(3))["point"].shape == (3, 2)


class Measured(Gan):
    """Measures how far what it makes of nothing is from the mean of the data."""

    monitor = "val_distance"

    def measure(self, examples, *, batch_size, progress):
        point = examples.batch(np.arange(len(examples))).features["point"]
        progress(len(examples))
        return {"distance": float(tf.norm(self.models["generator"].layers[-1].bias - point.mean(0)))}

    def callbacks(self):
        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(drawn=epoch))]


def test_several_models_are_evaluated_and_validated_by_their_measures(tmp_path):
    seen = []
    user = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    task = Measured(seed=1)
    history = task.finetune(
        plane(),
        validation_data=plane(8),
        run_dir=tmp_path / "run",
        callbacks=[user],
        **OPTIONS | {"epochs": 3},
    ).history
    assert {"val_distance", "drawn"} < set(history)
    assert not {"val_loss", "loss"} & set(history)
    assert [logs["drawn"] for logs in seen] == [0, 1, 2]  # the task's callbacks act first
    assert task.evaluate(plane(8)) == {"distance": pytest.approx(history["val_distance"][-1])}
    best = kerasft.load(tmp_path / "run").last_metrics
    assert best["val_distance"] == min(history["val_distance"])


def test_measures_stand_beside_loss_and_metrics():
    class Counted(Points):
        def measure(self, examples, *, batch_size, progress):
            return {"rows": float(len(examples))}

    task = Counted()
    task.build()
    found = task.evaluate(points(10))
    assert set(found) == {"loss", "accuracy", "rows"}
    assert found["rows"] == 10.0


def test_evaluating_what_measures_nothing_is_one_sentence(whole):
    sentence = r"'test-gan' has several models, .* does not define measure\(\)"
    with pytest.raises(kerasft.KerasftError, match=sentence):
        whole[0].evaluate(plane())
    with pytest.raises(kerasft.KerasftError, match=sentence):
        Gan().finetune(plane(16), validation_data=plane(8), **OPTIONS)


def test_a_monitor_that_is_not_measured_gives_way_to_one_that_is(tmp_path):
    task = Measured(seed=1)
    with pytest.warns(UserWarning, match=r"'val_fid' is not among .* follows val_distance"):
        task.finetune(plane(), validation_data=plane(8), monitor="val_fid", **OPTIONS)


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ([("a", 2), ("b", 3)], r"No update acts in every step"),
        ([], r"No update acts in every step"),
        ([("a", 1), ("a", 2)], r"Two updates are called 'a'"),
    ],
)
def test_impossible_lists_of_updates_are_refused(updates, message):
    class Wrong(Points):
        def updates(self, make_optimizer):
            one = super().updates(make_optimizer)[0]
            return [
                Update(name=name, loss=one.loss, models=one.models, optimizer=one.optimizer, every=every)
                for name, every in updates
            ]

    with pytest.raises(TrainingError, match=message):
        Wrong().finetune({"x": [0.0], "y": [0.0], "label": ["0"]}, verbose="quiet")


def test_update_every_is_at_least_one():
    with pytest.raises(ConfigError, match=r"Update 'a': every must be at least 1, not 0"):
        Update(name="a", loss=lambda batch: tf.constant(0.0), models=[], optimizer=None, every=0)
