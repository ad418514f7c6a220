"""Low-rank adapters: what they move, and how they are saved, reloaded and merged."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from measure import assert_same, moved, weights_of
from tasks import Points, points
from variants import Attention

from kerasft import ConfigError, LoRA, OrderError, TrainingError
from kerasft.training.adapters import merged

HEAD = {f"head_norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")} | {
    "head/kernel",
    "head/bias",
}


def adapted(*layers: str) -> set[str]:
    return {f"{layer}/{name}" for layer in layers for name in ("bias", "lora_kernel_a", "lora_kernel_b")}


PROJECTIONS = ("query", "key", "value", "attention_output")


@pytest.fixture(scope="module")
def trained():
    task = Attention(seed=1)
    task.build()
    task.freeze(LoRA(rank=2))
    before = weights_of(task)
    task.finetune(points(48), epochs=3, batch_size=8, optimizer="sgd", learning_rate=0.2, verbose="quiet")
    return task, before


def test_only_adapters_their_biases_and_the_head_move(trained):
    task, before = trained
    actual = moved(before, weights_of(task))
    assert actual - adapted("lift", "mix", *PROJECTIONS) == HEAD
    # The bias of a key is invisible to a softmax over keys: it may stay where it is.
    assert adapted("lift", "mix", *PROJECTIONS) - actual <= {"key/bias"}


def test_report_counts_adapters(trained):
    task, _ = trained
    rows = {row.group: (row.parameters, row.trainable) for row in task.freezing.report().rows}
    # mix: kernel 12x8, bias 8, pair 12x2 and 2x8.
    assert rows["mix"] == (96 + 8 + 24 + 16, 8 + 24 + 16)
    assert rows["head"] == (16 + 27, 16 + 27)


def test_one_seed_gives_the_same_adapters_whatever_random_numbers_were_drawn_before():
    def started(seed, draws):
        task = Attention(seed=seed)
        task.build()
        for _ in range(draws):
            keras.random.normal((3,))
        task.freeze(LoRA(rank=2))
        return {name: weight for name, weight in weights_of(task).items() if "lora_kernel_a" in name}

    expected = started(1, draws=0)
    assert_same(started(1, draws=5), expected)
    assert len({array.tobytes() for array in expected.values()}) == len(expected)
    assert len(moved(expected, started(2, draws=0))) == len(expected)


def test_targets_choose_layers():
    task = Attention(seed=1)
    task.build()
    task.freeze(LoRA(rank=1, targets="query|value"))
    before = weights_of(task)
    task.finetune(points(16), epochs=1, batch_size=4, optimizer="sgd", learning_rate=0.5, verbose="quiet")
    assert moved(before, weights_of(task)) == adapted("query", "value") | HEAD


def test_adapters_reload_exactly_into_a_fresh_task_from_a_small_file(trained, tmp_path):
    task, _ = trained
    path = tmp_path / "adapters.npz"
    task.save_adapters(path)
    fresh = Attention(seed=1)
    fresh.build()
    rows = {name: values for name, values in points(32, seed=5).items() if name != "label"}
    assert moved(task.predict(rows), fresh.predict(rows))
    fresh.load_adapters(path)
    assert_same(fresh.predict(rows), task.predict(rows))
    assert [row.trainable for row in fresh.freezing.report().rows] == [
        row.trainable for row in task.freezing.report().rows
    ]
    with np.load(path) as file:
        stored = sum(file[name].size for name in file.files if name != "state.json")
    # What trains, and the head's 2x8 moving statistics; not one frozen kernel.
    assert stored == task.freezing.report().trainable + 16


@pytest.mark.parametrize("policy", ["backbone", "norm", lambda layer: layer.name == "lift", ["lift", "mix"]])
def test_whatever_trains_reloads_exactly_under_any_policy(policy, tmp_path):
    task, fresh = Attention(seed=1), Attention(seed=1)
    task.finetune(
        points(16), freeze=policy, epochs=1, batch_size=4, optimizer="sgd", learning_rate=0.5, verbose="quiet"
    )
    task.save_adapters(tmp_path / "part.npz")
    fresh.build()
    fresh.load_adapters(tmp_path / "part.npz")
    assert_same(weights_of(fresh), weights_of(task))


def test_file_that_does_not_fit_is_refused(trained, tmp_path):
    task, _ = trained
    task.save_adapters(tmp_path / "adapters.npz")
    other = Points()
    with pytest.raises(OrderError, match=r"call build\(\) first"):
        other.load_adapters(tmp_path / "adapters.npz")
    other.build()
    with pytest.raises(ConfigError, match=r"LoRA: no Dense|TrainingError"):
        Points.load_adapters(_without_dense(), tmp_path / "adapters.npz")
    with pytest.raises(TrainingError, match=r"adapters.npz was saved from another model or config"):
        other.load_adapters(tmp_path / "adapters.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(TrainingError, match=r"other.npz"):
        task.load_adapters(tmp_path / "other.npz")
    with pytest.raises(TrainingError, match=r"missing.npz"):
        task.load_adapters(tmp_path / "missing.npz")


def _without_dense():
    class Shallow(Points):
        def build_model(self):
            inputs = keras.Input((2,), name="point")
            return keras.Model(inputs, keras.layers.Dense(3, name="head")(inputs))

        def layer_groups(self, model):
            return {"head": [model.get_layer("head")]}

    task = Shallow()
    task.build()
    return task


def test_merged_computes_the_same_and_leaves_the_model_as_it_was(trained):
    task, _ = trained
    inputs = tf.constant(np.random.default_rng(0).normal(size=(16, 2)), tf.float32)
    before, expected = weights_of(task), task.model(inputs).numpy()
    with merged([task.model]):
        np.testing.assert_allclose(task.model(inputs).numpy(), expected, rtol=0, atol=1e-6)
        # Nothing of the adapters takes part: they may hold anything.
        pair = task.model.get_layer("mix").lora_kernel_b
        held = pair.numpy()
        pair.assign(held * np.nan)
        assert np.isfinite(task.model(inputs).numpy()).all()
        pair.assign(held)
        inside = moved(before, weights_of(task))
    assert inside == {f"{layer}/kernel" for layer in ("lift", "mix", *PROJECTIONS)}
    assert_same(weights_of(task), before)
    np.testing.assert_array_equal(task.model(inputs).numpy(), expected)


def test_merged_restores_after_an_error(trained):
    task, _ = trained
    before = weights_of(task)
    with pytest.raises(ZeroDivisionError), merged([task.model]):
        _ = 1 / 0
    assert_same(weights_of(task), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(rank=0), r"rank must be a whole number of at least 1, not 0"),
        (lambda: LoRA(rank=2.5), r"rank must be a whole number of at least 1, not 2\.5"),
        (lambda: LoRA(targets=["query"]), r"targets must be one pattern, .* not \['query'\]"),
        (lambda: LoRA(targets="query("), r"targets 'query\(' is not a valid pattern"),
    ],
)
def test_impossible_adapters_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_adapters_that_fit_nothing_or_come_second_are_refused(trained):
    task = Attention()
    task.build()
    with pytest.raises(ConfigError, match=r"matches 'encoder'; there are lift, attention/query"):
        task.freeze(LoRA(targets="encoder"))
    with pytest.raises(ConfigError, match=r"already has adapters LoRA\(rank=2.*build the task anew"):
        trained[0].freeze(LoRA(rank=3))
