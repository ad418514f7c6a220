"""Random changes of training batches: not of others, the same for the same step, and resumed as they were."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from measure import assert_same, weights_of
from tasks import Points, points

from kerasft.data import open_source
from kerasft.errors import ConfigError
from kerasft.training import Augmentation
from kerasft.training.augmentation import Augmenter
from kerasft.training.examples import Examples


class Shaken(Points):
    """Points that are moved a little in every step, with labels that are mixed."""

    name = "test-shaken"

    def augmentation(self):
        noise = keras.layers.GaussianNoise(0.5, seed=3)
        drop = keras.layers.Dropout(0.2, seed=3)

        def change(features, targets):
            point = drop(noise(features["point"], training=True), training=True)
            return {"point": point}, {"label": tf.one_hot(targets["label"], 3) * 0.9 + 0.1 / 3}

        return Augmentation(change=change, layers=[noise, drop])

    def loss(self, batch, outputs):
        label = batch.targets["label"]
        label = label if label.shape.rank == 2 else tf.one_hot(label, 3)
        return keras.losses.categorical_crossentropy(label, outputs, from_logits=True)

    def metrics(self):
        return {}


def examples_of(task, rows) -> Examples:
    return Examples(task=task, source=open_source(rows, fields=task.fields()), targets=True)


def augmenter_of(task, examples) -> Augmenter:
    return Augmenter(task.augmentation(), seed=task.config.seed, spec=examples.spec())


def test_a_step_decides_what_is_drawn():
    task = Shaken(seed=5)
    examples = examples_of(task, points(16))
    batch = examples.batch(np.arange(8))
    one, other = augmenter_of(task, examples), augmenter_of(task, examples)

    first = np.asarray(one(batch, step=0).features["point"])
    later = np.asarray(one(batch, step=7).features["point"])
    assert (first != later).any()
    np.testing.assert_array_equal(np.asarray(other(batch, step=7).features["point"]), later)
    np.testing.assert_array_equal(np.asarray(one(batch, step=0).features["point"]), first)

    another = augmenter_of(Shaken(seed=6), examples)
    assert (np.asarray(another(batch, step=0).features["point"]) != first).any()


def test_targets_and_shapes_may_change():
    task = Shaken()
    examples = examples_of(task, points(16))
    augmenter = augmenter_of(task, examples)
    assert examples.spec().targets["label"].shape == [None]
    assert augmenter.spec.targets["label"] == tf.TensorSpec([None, 3], tf.float32)
    assert augmenter(examples.batch(np.arange(4)), step=0).targets["label"].shape == (4, 3)


def test_training_sees_it_and_evaluation_does_not():
    plain, shaken = Points(seed=1), Shaken(seed=1)
    rows = points(48)
    histories = [
        task.finetune(rows, validation_data=rows, epochs=2, verbose="quiet") for task in (plain, shaken)
    ]
    losses = [history.history["loss"] for history in histories]
    assert losses[0] != losses[1]
    again = shaken.evaluate(rows, verbose="quiet")["loss"]
    assert again == shaken.evaluate(rows, verbose="quiet")["loss"]
    assert again == pytest.approx(histories[1].history["val_loss"][-1], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"steps_per_call": 3}, {"accumulate": 2}])
def test_a_resumed_run_is_changed_as_an_uninterrupted_one(tmp_path, options):
    class Kill(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations >= 5:
                raise KeyboardInterrupt

    options = {"epochs": 3, "batch_size": 8, "checkpoint_every": 1, "verbose": "quiet"} | options
    whole, killed, resumed = (Shaken(seed=2) for _ in range(3))
    whole.finetune(points(44), **options)
    with pytest.raises(KeyboardInterrupt):
        killed.finetune(points(44), run_dir=tmp_path, callbacks=[Kill()], **options)
    resumed.finetune(points(44), run_dir=tmp_path, resume="must", **options)
    assert_same(weights_of(resumed), weights_of(whole), rtol=0, atol=0)


def test_steps_in_one_call_are_changed_like_single_ones():
    one, many = Shaken(seed=2), Shaken(seed=2)
    options = {"epochs": 2, "batch_size": 8, "verbose": "quiet"}
    one.finetune(points(48), **options)
    many.finetune(points(48), steps_per_call=3, **options)
    assert_same(weights_of(many), weights_of(one), rtol=0, atol=1e-6)


def test_features_of_changed_batches_are_not_cached(capsys):
    Shaken().finetune(points(32), epochs=2, freeze="first", verbose="line")
    said = capsys.readouterr().err
    assert "feature cache off: augmentation shows the frozen layers something new in every step" in said


def test_an_augmentation_without_chance_is_refused():
    class Still(Points):
        def augmentation(self):
            return Augmentation(change=lambda features, targets: (features, targets), layers=[])

    with pytest.raises(ConfigError, match=r"No layer of augmentation\(\) draws random numbers"):
        Still().finetune(points(16), epochs=1, verbose="quiet")


def test_an_error_while_a_batch_is_made_ready_stops_the_training(monkeypatch):
    task = Points()
    real = Examples.batch

    def broken(self, indices, **settings):
        if 3 in indices:
            raise OSError("the disk is gone")
        return real(self, indices, **settings)

    monkeypatch.setattr(Examples, "batch", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        task.finetune(points(64), epochs=1, batch_size=8, verbose="quiet")
