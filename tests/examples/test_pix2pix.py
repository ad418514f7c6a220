"""pix2pix: its losses, its skip connections, its dropout."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from pix2pix import COLOURS, shapes
from tiny import OPTIONS, make, rows

from kerasft.training.update import Batch

NAME = "pix2pix"


def _batch(task, count=4):
    raw = {key: tf.constant(np.array(values)) for key, values in rows(NAME, count).items()}
    return Batch(task.preprocess(raw), task.targets(raw))


def _losses(task):
    return {update.name: update.loss for update in task.updates(lambda **settings: keras.optimizers.SGD(0.1))}


def test_the_distance_to_the_target_counts_as_often_as_its_weight_says():
    heavy, light = make(NAME, dropout=0.0), make(NAME, dropout=0.0, l1_weight=0.0)
    found = []
    for task in (heavy, light):
        task.build()
        batch = _batch(task)
        loss, made = _losses(task)["generator"](batch)
        found.append(float(loss))
    distance = float(tf.reduce_mean(tf.abs(made - batch.targets["target"])))
    assert found[0] - found[1] == pytest.approx(100.0 * distance, rel=1e-5)


def test_a_discriminator_that_knows_nothing_loses_log_two():
    task = make(NAME)
    task.build()
    patches = task.models["discriminator"].get_layer("patches")
    patches.set_weights([np.zeros_like(weight) for weight in patches.get_weights()])
    assert float(_losses(task)["discriminator"](_batch(task))) == pytest.approx(math.log(2.0))
    assert task.models["discriminator"].output_shape == (None, 4, 4, 1)


def test_skip_connections_pass_the_bottleneck_by():
    task = make(NAME)
    task.build()
    narrow = task.models["generator"].get_layer("down_2")
    narrow.set_weights([np.zeros_like(weight) for weight in narrow.get_weights()])
    first, second = task.predict({"picture": shapes(2, side=16)["picture"]})["image"]
    assert (first != second).any()


def test_dropout_acts_in_training_only():
    task = make(NAME)
    task.build()
    picture = _batch(task).features["picture"]
    generator = task.models["generator"]
    assert (generator(picture, training=True) != generator(picture, training=True)).numpy().any()
    asked = {"picture": rows(NAME)["picture"]}
    np.testing.assert_array_equal(task.predict(asked)["image"], task.predict(asked)["image"])


def test_it_learns_the_pairs_and_measures_what_it_answers():
    task, pairs = make(NAME, width=8), rows(NAME, 40)
    before = task.build() and task.evaluate(pairs)["l1"]
    history = task.finetune(pairs, **OPTIONS | {"epochs": 8, "learning_rate": 5e-3}).history
    after = task.evaluate(pairs)["l1"]
    assert after < before / 4
    assert history["l1"][-1] < history["l1"][0] / 2
    image = task.predict({"picture": pairs["picture"]})["image"].astype(float)
    assert np.abs(image - np.array(pairs["target"])).mean() / 127.5 == pytest.approx(after, abs=0.005)


def test_a_run_keeps_a_sample_of_each_epoch(tmp_path):
    task = make(NAME)
    task.finetune(rows(NAME, 8), run_dir=tmp_path / "run", **OPTIONS)
    samples = sorted((tmp_path / "run" / "samples").iterdir())
    assert [sample.name for sample in samples] == ["epoch-001.png", "epoch-002.png"]
    first, last = (tf.io.decode_png(sample.read_bytes()).numpy()[1:17] for sample in samples)
    pairs, made = task.example(), task.predict({"picture": task.example()["picture"]})["image"]
    for part, expected in enumerate((pairs["picture"][0], made[0], pairs["target"][0])):
        at = slice(18 * part + 1, 18 * part + 17)
        np.testing.assert_array_equal(last[:, at], expected)
    assert (first[:, 19:35] != last[:, 19:35]).any()


def test_shapes_are_drawn_in_their_colours():
    pairs = shapes(50, side=32)
    colours = {tuple(pixel) for target in pairs["target"] for pixel in target.reshape(-1, 3)}
    assert colours == {tuple(colour) for colour in COLOURS} | {(245, 245, 245)}
    assert {tuple(pixel) for picture in pairs["picture"] for pixel in picture.reshape(-1, 3)} == {
        (0, 0, 0),
        (255, 255, 255),
    }
    np.testing.assert_array_equal(shapes(50, side=32)["picture"], pairs["picture"])
