"""Keras callbacks work as under `fit`."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from measure import Batches, assert_same, moved, weights_of
from tasks import Points, points

from kerasft import ConfigError

HELD_OUT = points(24, seed=9)


def trained(*, callbacks, task=None, count=32, **options):
    task = task or Points(seed=1)
    options = {"epochs": 3, "batch_size": 8, "optimizer": "sgd", "validation_data": HELD_OUT} | options
    return task.finetune(points(count), callbacks=callbacks, verbose="quiet", **options)


class Calls(keras.callbacks.Callback):
    """Records which hooks are called, with what."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _record(self, hook, number=None, logs=None):
        self.calls.append((hook, number, sorted(logs or {})))


def _hook(name, numbered):
    if numbered:
        return lambda self, number, logs=None: self._record(name, number, logs)
    return lambda self, logs=None: self._record(name, None, logs)


for part in ("train", "test"):
    for when in ("begin", "end"):
        setattr(Calls, f"on_{part}_{when}", _hook(f"{part} {when}", False))
        setattr(Calls, f"on_{part}_batch_{when}", _hook(f"{part} batch {when}", True))
for when in ("begin", "end"):
    setattr(Calls, f"on_epoch_{when}", _hook(f"epoch {when}", True))


def test_hooks_are_called_in_the_order_and_with_the_names_of_fit():
    ours, theirs = Calls(), Calls()
    trained(callbacks=[ours], epochs=2)
    task = Points(seed=1)
    model = task.build()
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    data, held_out = (
        (np.stack([rows["x"], rows["y"]], axis=-1), np.array(rows["label"], int))
        for rows in (points(32), HELD_OUT)
    )
    model.fit(*data, validation_data=held_out, batch_size=8, epochs=2, callbacks=[theirs], verbose=0)
    assert [call[:2] for call in ours.calls] == [call[:2] for call in theirs.calls]
    logs = {hook: names for hook, _, names in theirs.calls}
    for hook, _, names in ours.calls:
        if hook in ("train batch end", "test batch end", "test end", "epoch end"):
            assert set(names) >= {"loss"}, hook
        if hook in ("train batch end", "test end", "epoch end"):
            assert names == logs[hook], hook


def test_history_is_that_of_fit():
    history = trained(callbacks=[])
    assert isinstance(history, keras.callbacks.History)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.epoch == [0, 1, 2]
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert history.params["epochs"] == 3
    assert history.params["steps"] == 4
    assert history.model is not None


def test_early_stopping_stops_and_restores_the_best_weights():
    best = {}

    def worsen(epoch, logs):
        if epoch == 0:
            best.update(weights_of(task))
        logs["val_loss"] = float(epoch)

    task = Points(seed=1)
    stopper = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    worse = keras.callbacks.LambdaCallback(on_epoch_end=worsen)
    history = trained(callbacks=[worse, stopper], task=task, epochs=9)
    assert history.epoch == [0, 1, 2]
    assert stopper.stopped_epoch == 2
    assert_same(weights_of(task), best)


def test_stop_training_inside_an_epoch_stops_at_once():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.stop_training = True

    batches = Batches()
    history = trained(callbacks=[batches, Stop()])
    assert batches.numbers == [0, 1]
    assert history.epoch == [0]
    assert "val_loss" in history.history


def test_plateau_lowers_the_rate_and_says_so_in_the_history():
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=1, min_delta=100.0)
    history = trained(callbacks=[plateau], epochs=4, learning_rate=0.01)
    assert history.history["learning_rate"] == pytest.approx([0.01, 0.01, 0.001, 0.0001], rel=1e-5)


def test_scheduler_sets_the_rate_of_every_epoch():
    rates, task = [], Points(seed=1)
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(task.model.optimizer.learning_rate.numpy()))
    )
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))
    trained(callbacks=[scheduler, record], task=task, epochs=2)
    assert rates == pytest.approx([0.1] * 4 + [0.05] * 4, rel=1e-5)


def test_rate_set_to_zero_freezes_the_weights():
    task = Points(seed=1)
    task.build()
    before = weights_of(task)
    trained(callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)], task=task, epochs=1)
    assert not moved(before, weights_of(task))


@pytest.mark.parametrize("weights_only", [True, False])
def test_model_checkpoint_writes_a_model_that_keras_reads(weights_only, tmp_path):
    name = "model.weights.h5" if weights_only else "model.keras"
    saver = keras.callbacks.ModelCheckpoint(tmp_path / name, save_weights_only=weights_only)
    task, fresh = Points(seed=1), Points(seed=2)
    trained(callbacks=[saver], task=task, epochs=1)
    model = fresh.build()
    if weights_only:
        model.load_weights(tmp_path / name)
    else:
        model = keras.saving.load_model(tmp_path / name)
    for actual, expected in zip(model.weights, task.model.weights, strict=True):
        np.testing.assert_array_equal(actual.numpy(), expected.numpy())


def test_csv_logger_and_tensorboard_write_what_the_history_holds(tmp_path):
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board", update_freq=1, write_graph=False),
    ]
    history = trained(callbacks=callbacks, epochs=2)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == pytest.approx(history.history["val_loss"])

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board" / "train"))
    board.Reload()
    assert "epoch_accuracy" in board.Tags()["tensors"]
    assert len(board.Tensors("batch_loss")) == 8


@pytest.mark.parametrize(
    "training",
    [
        lambda: {"schedule": "cosine"},
        lambda: {"warmup": 2},
        lambda: {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 10)},
        lambda: {"optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))},
    ],
    ids=["schedule", "warmup", "learning_rate", "optimizer"],
)
@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_set_a_scheduled_rate_are_refused(callback, training):
    batches, name = Batches(), type(callback).__name__
    with pytest.raises(ConfigError, match=rf"{name} sets the learning rate, but .*schedule='constant'"):
        trained(callbacks=[batches, callback], **training())
    assert not batches.numbers


def test_logs_may_hold_anything(tmp_path):
    def note(epoch, logs):
        logs.update(note="warm", confusion=np.eye(2), rate=np.float32(0.5), tensor=tf.constant(2.0))

    def seen(logs):
        logs["answer"] = "forty-two"

    callback = keras.callbacks.LambdaCallback(on_epoch_end=note)
    callback.on_test_end = seen
    history = trained(callbacks=[callback], epochs=2, run_dir=tmp_path / "run")
    assert history.history["note"] == ["warm"] * 2
    report = (tmp_path / "run" / "report.html").read_text()
    assert ("tensor" in report, "confusion" in report) == (True, False)


def test_batch_callbacks_get_loss_and_metrics():
    seen, batches = [], Batches()
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    for callbacks, logs in (([record], seen), ([batches], batches.logs)):
        trained(callbacks=callbacks, epochs=1)
        assert [set(entry) for entry in logs] == [{"loss", "accuracy"}] * 4
        assert logs[0]["loss"] != logs[3]["loss"]


def test_callbacks_may_nest_or_stand_alone():
    inner, outer, alone = Batches(), Batches(), Batches()
    trained(callbacks=[[inner], (outer,)], epochs=1)
    trained(callbacks=alone, epochs=1)
    assert inner.logs == outer.logs == alone.logs
    assert len(alone.logs) == 4


def test_something_else_is_refused():
    with pytest.raises(ConfigError, match=r"callbacks: 'early' is not a keras.callbacks.Callback"):
        trained(callbacks=["early"])


def test_validation_runs_with_the_weights_that_callbacks_left():
    class Reset(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.model.get_layer("head").kernel.assign(np.zeros((8, 3), "float32"))
            self.model.get_layer("head").bias.assign(np.zeros(3, "float32"))

    history = trained(callbacks=[Reset()], epochs=1)
    assert history.history["val_loss"] == [pytest.approx(np.log(3), rel=1e-5)]
