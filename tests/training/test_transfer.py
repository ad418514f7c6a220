"""Starting from another run: the same networks, networks that differ, and what is said about it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from measure import assert_same, weights_of
from tasks import Points, points
from variants import Gan

import kerasft
from kerasft import ConfigError, LoRA, TrainingError
from kerasft.reports import model_card
from kerasft.training.run import Run
from kerasft.training.transfer import transfer_weights

OPTIONS = {"epochs": 1, "batch_size": 16, "verbose": "quiet"}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    task = Points(seed=1, norm=True)
    task.finetune(points(), run_dir=tmp_path_factory.mktemp("first") / "run", **OPTIONS)
    return task


def untrained(task, run, **options):
    """Starts `task` from `run` and trains it at a rate that changes nothing."""
    task.finetune(points(), init_from=run.folder, optimizer="sgd", learning_rate=1e-30, **OPTIONS | options)
    return task


def layer(task, name):
    return [weight.numpy() for weight in task.model.get_layer(name).weights]


def test_the_same_networks_start_from_all_weights(first):
    keras.layers.Dense(1)  # numbers that Keras gives to unnamed layers must not matter
    task = untrained(Points(seed=2, norm=True), first.run)
    for name in ("first", "second", "head"):
        assert_same(dict(enumerate(layer(task, name))), dict(enumerate(layer(first, name))))


def test_a_difference_is_named_by_weight_and_shape_and_nothing_is_copied(first):
    task = Points(seed=2, norm=True, width=6)
    with pytest.raises(TrainingError) as caught:
        untrained(task, first.run)
    said = str(caught.value)
    assert f"The weights of {first.run.folder} do not fit this task: model/first/kernel: (2, 6) here" in said
    assert "(2, 8) there" in said
    assert "and 4 more" in said
    assert "partial=True" in said
    assert_same(weights_of(task), weights_of(built(Points(seed=2, norm=True, width=6))))


def built(task):
    task.build()
    return task


def test_on_request_what_fits_is_taken(first, capfd):
    task = Points(seed=2, norm=False)
    with pytest.raises(TrainingError, match=r"model/norm/gamma: only there"):
        untrained(task, first.run)
    task = untrained(Points(seed=2, norm=False), first.run, partial=True, verbose="line")
    for name in ("first", "second", "head"):
        assert_same(dict(enumerate(layer(task, name))), dict(enumerate(layer(first, name))))
    assert "6 of 10 weights taken over; not model/norm/gamma: only there" in capfd.readouterr().err


def test_nothing_in_common_is_refused_even_then(first):
    with pytest.raises(TrainingError, match=r"do not fit this task"):
        Gan(seed=1).finetune(
            {"x": [0.0, 1.0], "y": [0.0, 1.0]}, init_from=first.run.folder, partial=True, **OPTIONS
        )


def test_adapters_of_the_source_are_in_its_kernels(tmp_path):
    source = Points(seed=1)
    source.build()
    source.freeze(LoRA(rank=2))
    source.finetune(points(), run_dir=tmp_path / "run", learning_rate=0.1, **OPTIONS)
    task = untrained(Points(seed=2), source.run)
    kernel = source.model.get_layer("second").kernel
    np.testing.assert_allclose(layer(task, "second")[0], kernel, rtol=1e-6)
    adapted = untrained(Points(seed=2), source.run, freeze=LoRA(rank=2))
    np.testing.assert_allclose(adapted.model.get_layer("second").kernel, kernel, rtol=1e-6)
    again = built(Points(seed=2))
    again.freeze(LoRA(rank=2))
    with pytest.raises(ConfigError, match=r"the model has adapters already"):
        untrained(again, source.run)


def test_a_resumed_run_does_not_start_again(first, tmp_path):
    def train(name, epochs):
        task = Points(seed=2, norm=True)
        start = {"init_from": first.run.folder, "run_dir": tmp_path / name}
        task.finetune(points(), **start, **OPTIONS | {"epochs": epochs})
        return task

    whole = train("whole", 2)
    train("run", 1)
    task = train("run", 2)
    assert_same(weights_of(task), weights_of(whole))
    assert Run(tmp_path / "run").read()["init_from"] == str(first.run.folder)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(kerasft.KerasftError, match=r"nothing"):
        Points().finetune(points(), init_from=tmp_path / "nothing", **OPTIONS)


class Reader(Points):
    """Reads kernels and biases that a program of its own wrote as .npz."""

    def load_pretrained(self, model):
        if self.arrays is not None:
            for name in ("first", "second", "head"):
                model.get_layer(name).set_weights([self.arrays[f"{name}_{i}"] for i in range(2)])

    arrays = None

    @classmethod
    def import_file(cls, path):
        if path.suffix != ".npz":
            return None
        arrays = dict(np.load(path))
        task = cls(width=arrays["second_1"].size)
        task.arrays, task.notice = arrays, "These weights are for tests only."
        return task


@pytest.fixture
def foreign(tmp_path):
    shapes = {"first": (2, 8), "second": (8, 8), "head": (8, 3)}
    random = np.random.default_rng(0)
    arrays = {f"{name}_0": random.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"{name}_1": random.normal(size=shape[1]) for name, shape in shapes.items()}
    np.savez(tmp_path / "foreign.npz", **arrays)
    return tmp_path / "foreign.npz"


def test_a_file_of_another_program_is_a_start_and_its_notice_stays(foreign, tmp_path, capfd):
    start = {"init_from": foreign, "optimizer": "sgd", "learning_rate": 1e-30, "run_dir": tmp_path / "run"}
    task = Reader()
    task.finetune(points(), **OPTIONS | start | {"verbose": "line"})
    np.testing.assert_allclose(layer(task, "second")[0], np.load(foreign)["second_0"], rtol=1e-6)
    said = capfd.readouterr().err
    assert "6 of 6 weights taken over" in said
    assert "for tests only" in said
    assert Run(tmp_path / "run").read()["notice"] == task.notice
    other = Reader()
    other.finetune(points(), **OPTIONS | start | {"init_from": foreign, "run_dir": tmp_path / "run"})
    assert other.notice == task.notice
    assert "These weights are for tests only." in model_card(other)


def test_what_differs_from_a_file_is_named(foreign):
    with pytest.raises(TrainingError, match=rf"The weights of {foreign} do not fit .*\(2, 6\) here"):
        Reader(width=6).finetune(points(), init_from=foreign, **OPTIONS)


def test_a_file_of_an_unknown_kind_is_one_sentence(foreign):
    with pytest.raises(ConfigError, match=r"is a file that the task 'test-points' cannot start from; give"):
        Points().finetune(points(), init_from=foreign, **OPTIONS)
    with pytest.raises(ConfigError, match=r"is a file, not a run: name the task"):
        kerasft.load(foreign)


class Seen(keras.layers.Layer):
    """Counts batches."""

    stays_with_run = True

    def build(self, input_shape):
        self.count = self.add_weight(name="count", shape=(), initializer="ones", trainable=False)

    def call(self, x):
        return x


def test_what_belongs_to_a_run_stays_with_it():
    def network(*layers):
        return {"m": keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense"), *layers])}

    source, with_, without = network(Seen()), network(Seen()), network()
    source["m"].layers[-1].count.assign(7.0)
    for target in (with_, without):
        report = transfer_weights(source, target, partial=False, where="there")
        assert len(report.copied) == 2
        np.testing.assert_array_equal(target["m"].layers[0].kernel, source["m"].layers[0].kernel)
    assert float(with_["m"].layers[-1].count) == 1.0
