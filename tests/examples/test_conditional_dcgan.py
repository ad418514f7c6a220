"""The conditional DCGAN: its critic's steps, its penalty, its labels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from conditional_dcgan import digits, gradient_penalty
from tiny import OPTIONS, make, rows, weights

from kerasft.errors import DataError
from kerasft.prediction import trace

NAME = "conditional-dcgan"


def test_the_critic_has_n_steps_for_one_of_the_generator():
    task, steps = make(NAME), []
    task.build()

    class Record(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = weights(task)

        def on_train_batch_end(self, batch, logs=None):
            after = weights(task)
            steps.append({k.split("/")[0] for k, array in self.before.items() if (array != after[k]).any()})

    task.finetune(rows(NAME), callbacks=[Record()], **OPTIONS)
    both, alone = {"critic", "generator"}, {"critic"}
    assert steps == [both, alone, alone] * 3 + [both]


def test_the_penalty_of_a_linear_critic_is_known():
    random = np.random.default_rng(0)
    slope = random.normal(size=(4, 4, 1))
    real, fake = (tf.constant(random.normal(size=(3, 4, 4, 1))) for _ in range(2))
    share = tf.constant(random.uniform(size=(3, 1, 1, 1)))
    found = gradient_penalty(lambda x: tf.reduce_sum(x * slope, axis=(1, 2, 3)), real, fake, share)
    assert float(found) == pytest.approx((np.linalg.norm(slope) - 1) ** 2)


def test_the_penalty_is_taken_between_real_and_fake():
    random = np.random.default_rng(0)
    real, fake = (random.normal(size=(3, 2, 2, 1)) for _ in range(2))
    share = random.uniform(size=(3, 1, 1, 1))

    def critic(pictures):
        return tf.reduce_sum(tf.sin(2.0 * pictures) * tf.cos(pictures[:, ::-1]), axis=(1, 2, 3))

    between, h = real + share * (fake - real), 1e-6
    steps = h * np.eye(4).reshape(4, 2, 2, 1)
    slopes = [
        [(critic(x[None] + s) - critic(x[None] - s)).numpy()[0] / (2 * h) for s in steps] for x in between
    ]
    expected = np.mean((np.linalg.norm(slopes, axis=1) - 1) ** 2)
    found = gradient_penalty(critic, *(tf.constant(part) for part in (real, fake, share)))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_a_flat_critic_has_a_penalty_and_finite_gradients():
    slope, picture = tf.Variable(0.0), tf.zeros([2, 4, 4, 1])
    with tf.GradientTape() as tape:
        found = gradient_penalty(
            lambda x: slope * tf.reduce_sum(x, axis=(1, 2, 3)), picture, picture, picture
        )
    assert float(found) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(tape.gradient(found, slope))


def test_a_seed_and_a_label_are_one_picture_alone_and_in_a_batch():
    task = make(NAME)
    task.build()
    asked = {"label": ["a", "b", "a", "a"], "seed": [7, 7, 7, 8]}
    image = task.predict(asked)["image"]
    assert (image.dtype, image.shape) == (np.uint8, (4, 8, 8, 1))
    alone = [task.predict({k: v[i : i + 1] for k, v in asked.items()})["image"][0] for i in range(4)]
    np.testing.assert_array_equal(image, alone)
    np.testing.assert_array_equal(image[0], image[2])
    assert (image[0] != image[1]).any()
    assert (image[0] != image[3]).any()


def test_it_learns_what_a_label_looks_like():
    task = make(NAME, n_critic=2)
    task.finetune(rows(NAME, 64), **OPTIONS | {"epochs": 12, "learning_rate": 5e-3, "ema": None})
    image = task.predict({"label": ["a"] * 8 + ["b"] * 8, "seed": [*range(8)] * 2})["image"]
    assert image[:8].mean() - image[8:].mean() > 80  # 160 in the data
    assert task.evaluate(rows(NAME, 10)) == {"label_accuracy": 1.0}


def test_an_unknown_label_is_refused():
    task = make(NAME)
    task.build()
    with pytest.raises(DataError, match="'c'"):
        task.predict({"label": ["c"], "seed": [1]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="label must be one of a, b"):
        trace(task, "serving_default")(label=tf.constant(["c"]), seed=tf.constant([1], tf.int64))


def test_only_the_generator_is_averaged():
    plain, averaged = make(NAME), make(NAME)
    plain.finetune(rows(NAME), **OPTIONS | {"ema": None})
    averaged.finetune(rows(NAME), **OPTIONS | {"ema": 0.9})
    one, other = weights(plain), weights(averaged)
    differ = {key.split("/")[0] for key, array in one.items() if not np.array_equal(array, other[key])}
    assert differ == {"generator"}


def test_digits_are_pictures_of_the_side_asked_for():
    found = digits(16)
    assert (found["picture"][0].dtype, found["picture"][0].shape) == (np.uint8, (16, 16, 1))
    assert len(found["label"]) == 1797
    assert set(found["label"]) == set("0123456789")
