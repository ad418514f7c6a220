"""Updates that stand for the steps between their turns, and what they do to a shared optimizer."""

from __future__ import annotations

from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import Field, Update
from kerasft.errors import ConfigError
from kerasft.training.lazy import LazyRate, correct_lazy

OPTIONS = {"batch_size": 4, "verbose": "quiet"}


class Pulled(kerasft.Task):
    """One weight, pulled up by 1 in every step and, in every n-th, down by a term of its own."""

    name = "test-pulled"
    every = 4
    lazy = True
    arguments: ClassVar[dict] = {}

    def fields(self):
        return (Field(name="x", kind="number"),)

    def build_model(self):
        inputs = keras.Input((1,))
        ones = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="weight")
        return {"only": keras.Model(inputs, ones(inputs))}

    def preprocess(self, raw):
        return {"x": raw["x"][:, None]}

    def updates(self, make_optimizer):
        model = self.models["only"]
        weight = model.get_layer("weight").kernel
        shared = make_optimizer(**self.arguments)
        common = {"models": [model], "optimizer": shared}
        return [
            Update(name="up", loss=lambda batch: -tf.reduce_sum(weight), **common),
            Update(
                name="down",
                loss=lambda batch: 0.5 * tf.reduce_sum(weight),
                every=self.every,
                lazy=self.lazy,
                **common,
            ),
        ]

    def run_epoch(self, steps=8, **options):
        return self.finetune({"x": [1.0] * (4 * steps)}, epochs=1, **OPTIONS | options).history

    @property
    def weight(self):
        return self.models["only"].get_layer("weight").kernel.numpy().item()


def test_a_lazy_term_moves_as_much_as_one_in_every_step():
    task = Pulled()
    history = task.run_epoch(optimizer="sgd", learning_rate=0.1)
    # 8 steps up by 1, 2 turns down by 4 times 0.5, with 4/5 of the rate
    assert task.weight == pytest.approx(0.1 * 0.8 * (8 - 4))
    # The log shows the term itself.
    assert history["down_loss"][0] == pytest.approx(0.5 * 0.1 * 0.8 * np.mean([1, 1 - 2 + 4]), rel=1e-5)


def test_a_rare_update_that_is_not_lazy_stays_as_it_is():
    class Rare(Pulled):
        lazy = False

    task = Rare()
    task.run_epoch(optimizer="sgd", learning_rate=0.1)
    assert task.weight == pytest.approx(0.1 * (8 - 1))


def test_a_schedule_counts_steps_and_not_turns():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3.5], [0.1, 0.0])
    task = Pulled()
    task.run_epoch(optimizer="sgd", learning_rate=rate)
    # Turn t counts as step 0.8 t: the turns 0 to 4 are before the rate falls to zero, one of them lazy.
    assert task.weight == pytest.approx(0.1 * 0.8 * (4 - 2))


def test_an_optimizer_object_is_not_changed_by_it():
    adam = keras.optimizers.Adam(0.1, beta_1=0.5)
    for _ in range(2):
        Pulled().run_epoch(optimizer=adam)
    assert (float(adam.learning_rate), adam.beta_1) == (pytest.approx(0.1), 0.5)


def updates_of(optimizer, *, every=4):
    common = {"loss": lambda batch: tf.constant(0.0), "models": [], "optimizer": optimizer}
    return [Update(name="a", **common), Update(name="b", every=every, lazy=True, **common)]


def test_half_precision_keeps_its_scaling_and_decay_its_exceptions():
    spared, decayed = (keras.Variable(np.ones(1), name=name) for name in ("spared", "decayed"))
    adam = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    adam.exclude_from_weight_decay(var_list=[spared])
    scaled = keras.optimizers.LossScaleOptimizer(adam, initial_scale=8.0)
    first, second = (update.optimizer for update in correct_lazy(updates_of(scaled)))
    assert first is second
    assert first.initial_scale == 8.0
    assert float(first.inner_optimizer.learning_rate) == pytest.approx(0.08)
    first.inner_optimizer.apply([tf.zeros(1), tf.zeros(1)], [spared, decayed])
    assert spared.numpy().item() == 1.0
    assert decayed.numpy().item() == pytest.approx(1 - 0.08 * 0.5)


def test_several_lazy_terms_and_no_steady_one():
    sgd = keras.optimizers.SGD(0.1)
    three = [*updates_of(sgd, every=4), updates_of(sgd, every=2)[1]]
    assert float(correct_lazy(three)[0].optimizer.learning_rate) == pytest.approx(0.1 / 1.75)
    alone = updates_of(sgd)[1:]
    assert correct_lazy(alone)[0].optimizer is sgd


def test_the_slowed_schedule_survives_serialization():
    rate = LazyRate(keras.optimizers.schedules.PolynomialDecay(1.0, 80, 0.0), 0.8)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(50)) == pytest.approx(float(rate(50))) == pytest.approx(0.8 * 0.5)


def test_an_author_chooses_arguments_of_the_optimizer_and_settings():
    class Chosen(Pulled):
        lazy = False
        arguments: ClassVar[dict] = {"learning_rate": 0.5, "momentum": 0.0, "nesterov": True}

    task = Chosen()
    task.run_epoch(steps=1, optimizer="sgd", learning_rate=0.1)
    assert task.weight == pytest.approx(0.5 * (1 - 0.5))


def test_an_argument_that_the_optimizer_lacks_is_one_sentence():
    class Wrong(Pulled):
        arguments: ClassVar[dict] = {"beta_9": 0.5}

    with pytest.raises(ConfigError, match=r"optimizer: sgd cannot be made with beta_9"):
        Wrong().run_epoch(optimizer="sgd")
