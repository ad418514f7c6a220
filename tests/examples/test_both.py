"""What the framework promises for any task, of the two examples."""

from __future__ import annotations

import importlib
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny import CONFIGS, OPTIONS, make, questions, rows, train, weights

import kerasft
from kerasft.errors import DataError, TrainingError
from kerasft.export.runtime import Model
from kerasft.testing import check_task
from kerasft.training.checkpoint import load
from kerasft.training.run import Run

pytestmark = pytest.mark.parametrize("name", CONFIGS)
LOSSES = {
    "conditional-dcgan": {"critic_loss", "generator_loss", "wasserstein", "penalty", "val_label_accuracy"},
    "pix2pix": {"discriminator_loss", "generator_loss", "l1", "val_l1"},
}
JUDGES = {"conditional-dcgan": "critic", "pix2pix": "discriminator"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trained tasks by name, each in a run folder."""
    folder = tmp_path_factory.mktemp("runs")
    for name in CONFIGS:
        train(name, str(folder / name))
    return {name: kerasft.load(folder / name) for name in CONFIGS}


def test_it_keeps_every_promise(name):
    check_task(name, **CONFIGS[name], training={"batch_size": 2}).raise_if_failed()


def test_killed_in_mid_epoch_it_ends_bit_for_bit(name, trained, in_process, tmp_path):
    whole, broken = trained[name].run, str(tmp_path / "broken")
    assert in_process(train, name, broken, 3) == -signal.SIGKILL
    assert Run(broken).checkpoints.steps() == [2]
    train(name, broken)
    expected, actual = (load(run.checkpoints.path(10)) for run in (whole, Run(broken)))
    assert actual.state == expected.state
    assert actual.arrays.keys() == expected.arrays.keys()
    for key, array in expected.arrays.items():
        np.testing.assert_array_equal(actual.arrays[key], array, err_msg=key)
    assert Run(broken).read_history() == whole.read_history()


def test_losses_metrics_and_measures_are_in_the_history(name, trained):
    found = trained[name].run.read_history()
    assert set(found) - {"epoch"} == LOSSES[name]
    assert all(len(values) == 2 and np.isfinite(values).all() for values in found.values())


def test_an_export_answers_as_predict_does(name, trained, tmp_path):
    task, asked = trained[name], questions(name)
    image = task.predict(asked)["image"]
    spec = task.signatures()["serving_default"]
    inputs = {key: np.array(asked[key], spec[key].dtype.as_numpy_dtype) for key in spec}
    with Model(task.export(tmp_path / "model").path) as served:
        np.testing.assert_array_equal(served.call("serving_default", inputs)["image"], image)


def test_a_frozen_layer_stays(name):
    task, group = make(name), f"{JUDGES[name]}/{'down_8' if name == 'pix2pix' else 'to_4'}"
    task.build()
    report = task.freeze(group)
    assert [row.group for row in report.rows if not row.trainable] == [group]
    task.freeze("none")
    before = weights(task)
    task.freeze(group)
    task.finetune(rows(name), **OPTIONS)
    task.freeze("none")
    same = {key for key, array in weights(task).items() if np.array_equal(array, before[key])}
    layer = task.models[JUDGES[name]].get_layer(group.split("/")[1])
    assert same == {f"{JUDGES[name]}/{weight.path}" for weight in layer.weights}


def test_nan_stops_training(name):
    task = make(name)
    task.build()
    weight = task.models[JUDGES[name]].trainable_variables[0]
    weight.assign(tf.fill(weight.shape, np.nan))
    with pytest.raises(TrainingError, match=rf"loss of update '{JUDGES[name]}' became nan at step 1"):
        task.finetune(rows(name), **OPTIONS)


def test_pictures_of_another_size_are_refused(name):
    with pytest.raises(DataError, match=r"are uint8 \(\d+, \d+, \d\), not uint8 \(32, 32, \d\): set side="):
        make(name, side=32).finetune(rows(name), **OPTIONS)


def test_its_program_runs(name, tmp_path, monkeypatch):
    module = importlib.import_module(name.replace("-", "_"))
    picture = tmp_path / "grid.png"
    monkeypatch.setattr(sys, "argv", ["example", "--epochs", "1", "--picture", str(picture)])
    module.main()
    grid = tf.io.decode_png(picture.read_bytes()).numpy()
    assert grid.std() > 10
