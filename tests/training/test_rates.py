"""Optimizers, learning rates and their schedules."""

from __future__ import annotations

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf
from measure import assert_same, moved, weights_of
from tasks import Points, PointsConfig, points
from variants import Attention

import kerasft
from kerasft import ConfigError, Layerwise
from kerasft.training.config import _USUAL_OPTIMIZERS
from kerasft.training.optimizers import optimizer_classes

STEP = {"epochs": 1, "batch_size": 16, "verbose": "quiet"}


def stepped(task=None, **training):
    """Returns the weights before and after one step."""
    task = task or Points(seed=1, norm=True)
    task.build()
    before = weights_of(task)
    task.finetune(points(16), **STEP | training)
    return before, weights_of(task)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_layerwise_scales_the_step_itself(optimizer):
    options = {"optimizer": optimizer} | ({"weight_decay": 0.1} if optimizer == "adamw" else {})
    before, full = stepped(learning_rate=0.01, **options)
    rate = Layerwise(learning_rate=0.01, decay=0.5, factors={"first": 0.1})
    _, scaled = stepped(learning_rate=rate, **options)
    factors = {"first": 0.1, "norm": 0.1, "second": 0.5, "head": 1.0}
    steps = 0
    for name, start in before.items():
        if "moving" in name:
            continue
        factor = factors[name.split(".")[-1].split("/")[0]]
        np.testing.assert_allclose(scaled[name], start + factor * (full[name] - start), rtol=0, atol=1e-7)
        steps += int(np.any(full[name] != start))
    assert steps >= 6


class Wide(Attention):
    """`Attention` whose normalisation has scales and offsets for two axes."""

    def build_model(self):
        model = super().build_model()
        pairs = keras.ops.stack([model.output, model.output], axis=1)
        normalized = keras.layers.LayerNormalization(axis=[1, 2], name="wide_norm")(pairs)
        return keras.Model(model.input, keras.ops.sum(normalized, axis=1))

    def layer_groups(self, model):
        groups = super().layer_groups(model)
        return groups | {"head": [*groups["head"], model.get_layer("wide_norm")]}


@pytest.mark.parametrize("base", [Points, Wide])
def test_weight_decay_spares_biases_and_norms_of_any_shape(base):
    class Weightless(base):
        """Its loss has no gradient, so that only decay moves anything."""

        def loss(self, batch, outputs):
            return 0.0 * super().loss(batch, outputs)

    task = Weightless(seed=1, norm=True)
    task.build()
    for weight in task.model.trainable_variables:
        if weight.name in ("bias", "beta"):
            weight.assign(np.ones(weight.shape, "float32"))
    before, after = stepped(task, optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    spared = {name.split(".")[-1] for name in before if name.split("/")[-1] in ("bias", "beta", "gamma")}
    assert len(spared) >= 5
    assert not moved(before, after) & spared
    for name in (name for name in before if "kernel" in name):
        np.testing.assert_allclose(after[name], before[name] * (1 - 0.1 * 0.5), rtol=1e-6)


def test_optimizer_may_be_a_name_an_object_or_a_serialized_object():
    _, by_name = stepped(optimizer="AdamW", learning_rate=0.02, weight_decay=0.0)
    made = keras.optimizers.AdamW(0.02, weight_decay=0.0)
    form = keras.optimizers.serialize(made)
    task = Points(seed=1, norm=True)
    _, by_object = stepped(task, optimizer=made)
    assert task.model.optimizer is made
    assert_same(by_object, by_name)
    assert_same(stepped(optimizer=form)[1], by_name)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"optimizer": "adamm"}, r"'adamm': there is no such optimizer; did you mean .*adam"),
        ({"optimizer": "LossScaleOptimizer"}, r"'LossScaleOptimizer': there is no such optimizer"),
        ({"optimizer": "multioptimizer"}, r"'multioptimizer': there is no such optimizer"),
        ({"verbose": 0}, r"verbose: 0 is none of 'auto', 'bar', 'line', 'quiet'"),
        ({"optimizer": 3}, r"optimizer: 3 is neither a name nor a Keras optimizer"),
        (
            {"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=4)},
            r"gradient_accumulation_steps=4, which loses the tail of an epoch; .*accumulate=",
        ),
        ({"optimizer": keras.optimizers.Adam(use_ema=True)}, r"use_ema=True; leave it out and pass ema="),
        ({"learning_rate": 0}, r"learning_rate.*must be a positive number, not 0"),
        ({"learning_rate": "fast"}, r"learning_rate.*must be a positive number, not 'fast'"),
        (
            {"learning_rate": {"class_name": "NoSuchDecay", "config": {}}},
            r"learning_rate: .*NoSuchDecay.* is not the serialized form of a Keras object",
        ),
        (
            {"learning_rate": {"class_name": "ExponentialDecay", "config": {"rate": 1}}},
            r"learning_rate: .*ExponentialDecay.* is not the serialized form of a Keras object",
        ),
        ({"optimizer": {"class_name": "SGDD", "config": {}}}, r"optimizer: .*SGDD.* is not the serialized"),
        ({"learning_rate": [0.1]}, r"learning_rate: \[0.1\] is neither a number, a kerasft.Layerwise nor"),
        (
            {"learning_rate": Layerwise(learning_rate=0.1, factors={"frist": 0.5})},
            r"Layerwise: no layer group named 'frist'; the groups are first, second, head",
        ),
        ({"learning_rate": {"layerwise": {"rate": 0.1}}}, r"Layerwise: .*rate"),
        ({"learning_rate": {"layerwise": {"learning_rate": "quick"}}}, r"Layerwise: .*'quick'"),
        ({"epoch": 3}, r'unknown key "training.epoch".*training.epochs'),
        ({"batch_size": 0}, r'"training.batch_size" is 0'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_settings_are_refused_by_name(training, message):
    with pytest.raises(ConfigError, match=message):
        Points().finetune(points(8), **{"verbose": "quiet"} | training)


def test_the_usual_optimizers_are_known_without_a_look_into_keras():
    assert set(optimizer_classes()) >= _USUAL_OPTIMIZERS


@pytest.mark.parametrize("serialized", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.5),
        ("learning_rate", Layerwise(learning_rate=0.5, decay=0.5)),
        ("schedule", "cosine"),
        ("warmup", 2),
        ("weight_decay", 0.1),
        ("clip_norm", 1.0),
    ],
)
def test_settings_that_an_optimizer_object_would_ignore_are_refused(name, value, serialized):
    optimizer = keras.optimizers.SGD(0.1)
    optimizer = keras.optimizers.serialize(optimizer) if serialized else optimizer
    with pytest.raises(ConfigError, match=rf"brings its own {name}, so {name}=.* would do nothing"):
        stepped(optimizer=optimizer, **{name: value})
    with pytest.raises(ConfigError, match=rf"brings its own {name}"):
        stepped(Points(training={"optimizer": optimizer, name: value}))


def test_settings_that_agree_with_an_optimizer_object_are_none_of_its_business():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=1.0)
    rate = Layerwise(learning_rate=0.01, decay=0.5)
    same = {"weight_decay": 0.1, "clip_norm": 1.0, "schedule": "constant", "warmup": 0}
    _, actual = stepped(optimizer=optimizer, learning_rate=rate, **same)
    before, full = stepped(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=1.0))
    name = next(name for name in before if "second/kernel" in name)
    np.testing.assert_allclose(actual[name] - before[name], 0.5 * (full[name] - before[name]), atol=1e-7)


def test_defaults_of_a_task_do_not_stand_in_the_way_of_an_optimizer_object():
    class Decaying(kerasft.TrainingConfig):
        weight_decay: float | None = 0.5
        clip_norm: float | None = 1.0
        warmup: float = 0.5

    class Config(PointsConfig):
        training: Decaying = pydantic.Field(default_factory=Decaying)

    class Own(Points):
        config_class = Config

    assert_same(
        stepped(Own(seed=1, norm=True), optimizer=keras.optimizers.SGD(0.1))[1],
        stepped(optimizer=keras.optimizers.SGD(0.1))[1],
    )


def test_optimizer_of_another_model_is_refused():
    used = keras.optimizers.Adam()
    stepped(optimizer=used)
    with pytest.raises(ConfigError, match=r"adam.* was built for another model; pass a new one, or its name"):
        stepped(optimizer=used)


def test_layerwise_reads_text_numbers_and_its_own_serialized_form():
    read = kerasft.TrainingConfig(
        learning_rate={"layerwise": {"learning_rate": "1e-3", "decay": 0.5}}
    ).learning_rate
    assert read == Layerwise(learning_rate=1e-3, decay=0.5)
    written = kerasft.TrainingConfig(learning_rate=read).model_dump(mode="json")["learning_rate"]
    assert kerasft.TrainingConfig(learning_rate=written).learning_rate == read


@pytest.mark.parametrize("decay", [0, 1.5, -1])
def test_layerwise_decay_is_a_fraction(decay):
    with pytest.raises(ConfigError, match=r"decay must be in \(0, 1\]"):
        Layerwise(learning_rate=0.1, decay=decay)


def rates(*, count=24, **training):
    """Returns the learning rate of every application of gradients."""
    values = {}

    def record(batch, logs):
        optimizer = task.model.optimizer
        values.setdefault(int(optimizer.iterations.numpy()), float(optimizer.learning_rate.numpy()))

    task = Points(seed=1)
    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=record)
    task.finetune(points(count), epochs=2, batch_size=4, callbacks=[callback], verbose="quiet", **training)
    return [values[step] for step in sorted(values)]


def test_rates_of_warmup_and_cosine_follow_the_closed_form():
    # 6 batches an epoch, 2 epochs: 12 applications, 3 of them warm up.
    warm = [0.1 * (step + 1) / 3 for step in range(3)]
    cosine = [0.05 * (1 + np.cos(np.pi * step / 9)) for step in range(9)]
    assert rates(learning_rate=0.1, schedule="cosine", warmup=0.25) == pytest.approx(warm + cosine, rel=1e-5)


def test_rates_of_a_linear_descent_count_accumulated_steps():
    # 7 batches an epoch, 3 together: 3 applications an epoch, the last of one batch.
    expected = [0.1 * (1 - step / 6) for step in range(6)]
    actual = rates(count=28, learning_rate=0.1, schedule="linear", accumulate=3)
    assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ("constant", lambda progress: 1.0),
        ("linear", lambda progress: 1 - progress),
        ("cosine", lambda progress: (1 + np.cos(np.pi * progress)) / 2),
        ("inverse_sqrt", lambda progress: (10 / (10 + 40 * progress)) ** 0.5),
    ],
)
def test_schedule_is_a_function_of_the_step_alone(shape, factor):
    from kerasft.training.optimizers import WarmupSchedule

    schedule = WarmupSchedule(peak=2.0, total_steps=50, warmup_steps=10, shape=shape)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    for step in (0, 4, 9, 10, 11, 30, 49, 50, 70):
        progress = (step - 10) / 40 if shape == "inverse_sqrt" else min(1.0, (step - 10) / 40)
        expected = 0.2 * (step + 1) if step < 10 else 2.0 * factor(progress)
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)
        assert float(again(tf.constant(step))) == float(schedule(step))


def test_keras_schedule_is_used_as_it_is():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=2, decay_rate=0.5)
    expected = [0.1 * 0.5 ** (step / 2) for step in range(12)]
    assert rates(learning_rate=schedule) == pytest.approx(expected, rel=1e-5)
    plain = {"class_name": "ExponentialDecay", "config": schedule.get_config()}
    assert rates(learning_rate=plain) == pytest.approx(expected, rel=1e-5)
