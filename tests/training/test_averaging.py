"""The mean of runs: what its weights are, what it can do, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from measure import assert_same, weights_of
from tasks import Points, points

import kerasft
from kerasft import ConfigError, LoRA, TrainingError
from kerasft.reports import model_card, write_run_report
from kerasft.training.run import Run

OPTIONS = {"epochs": 1, "batch_size": 16, "verbose": "quiet"}


@pytest.fixture
def registered(monkeypatch):
    """Lets `kerasft.load` find the task of these tests."""
    monkeypatch.setattr("kerasft.loading.create", lambda name, **config: Points(**config))
    monkeypatch.setattr("kerasft.averaging.create", lambda name, **config: Points(**config))


def trained(folder, *, seed, **config):
    task = Points(seed=seed, norm=True, **config)
    task.finetune(points(), run_dir=folder, **OPTIONS)
    return task


@pytest.fixture
def three(tmp_path, registered):
    tasks = [trained(tmp_path / str(seed), seed=seed) for seed in (1, 2, 3)]
    return tasks, [task.run.folder for task in tasks]


def mean_of(tasks):
    weights = [weights_of(task) for task in tasks]
    return {name: np.mean([one[name] for one in weights], axis=0, dtype=np.float64) for name in weights[0]}


def test_weights_and_statistics_are_the_mean_and_the_run_is_one_like_others(three, tmp_path):
    tasks, folders = three
    task = kerasft.average(folders, run_dir=tmp_path / "mean")
    assert_same(weights_of(task), mean_of(tasks), rtol=1e-6)
    again = kerasft.load(tmp_path / "mean")
    assert_same(weights_of(again), weights_of(task))
    assert again.evaluate(points(), verbose="quiet") == task.evaluate(points(), verbose="quiet")
    assert Run(tmp_path / "mean").read()["averaged"] == [str(folder) for folder in folders]
    assert again.export(tmp_path / "export").path.is_dir()
    assert write_run_report(again, again.run).is_file()
    assert model_card(again)


def test_a_training_starts_from_the_mean(three, tmp_path):
    tasks, folders = three
    task = Points(seed=9, norm=True)
    task.finetune(points(), init_from=folders, optimizer="sgd", learning_rate=1e-30, **OPTIONS)
    expected = mean_of(tasks)
    for name, array in weights_of(task).items():
        if "moving" not in name:
            np.testing.assert_allclose(array, expected[name], rtol=1e-6, err_msg=name)


def test_adapters_are_merged_first(tmp_path, registered):
    adapted, plain = Points(seed=1), Points(seed=2)
    adapted.build()
    adapted.freeze(LoRA(rank=2))
    adapted.finetune(points(), run_dir=tmp_path / "adapted", learning_rate=0.1, **OPTIONS)
    plain.finetune(points(), run_dir=tmp_path / "plain", **OPTIONS)
    task = kerasft.average([tmp_path / "adapted", tmp_path / "plain"], run_dir=tmp_path / "mean")
    kernels = [one.model.get_layer("second").kernel.numpy() for one in (adapted, plain)]
    np.testing.assert_allclose(task.model.get_layer("second").kernel, np.mean(kernels, axis=0), rtol=1e-5)
    assert task.freezing.lora is None


def test_best_and_latest(tmp_path, registered):
    data = {"validation_data": points(), "epochs": 2, "batch_size": 16, "verbose": "quiet"}
    for name in "ab":
        Points(seed=1).finetune(points(), run_dir=tmp_path / name, learning_rate=5.0, **data)
    pair = [tmp_path / "a", tmp_path / "b"]
    for checkpoint in ("best", "latest"):
        task = kerasft.average(pair, run_dir=tmp_path / checkpoint, checkpoint=checkpoint)
        assert_same(weights_of(task), weights_of(kerasft.load(pair[0], checkpoint=checkpoint)), rtol=1e-6)


def test_it_cannot_be_trained_on_and_nothing_of_it_is_lost(three, tmp_path):
    _, folders = three
    weights = weights_of(kerasft.average(folders, run_dir=tmp_path / "mean"))
    with pytest.raises(TrainingError, match=r"mean holds the mean of other runs, .* name it as init_from"):
        Points(norm=True).finetune(points(), run_dir=tmp_path / "mean", **OPTIONS)
    with pytest.raises(TrainingError, match=r"mean already holds a run: choose another run_dir"):
        kerasft.average(folders, run_dir=tmp_path / "mean")
    assert_same(weights_of(kerasft.load(tmp_path / "mean")), weights)


def test_other_networks_are_named_by_weight_and_shape(three, tmp_path):
    _, folders = three
    trained(tmp_path / "wide", seed=1, width=6)
    with pytest.raises(TrainingError, match=r"wide cannot be averaged .*: model/first/kernel: \(2, 8\) here"):
        kerasft.average([folders[0], tmp_path / "wide"], run_dir=tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_one_run_has_no_mean(three, tmp_path):
    _, folders = three
    for named, count in (([], 0), (folders[:1], 1), (folders[0], 1), (str(folders[0]), 1)):
        with pytest.raises(ConfigError, match=rf"average: {count} runs are named; the mean needs two"):
            kerasft.average(named, run_dir=tmp_path / "mean")


def test_other_tasks_and_other_vocabularies_are_refused(tmp_path):
    texts = {"text": ["good film", "bad film"] * 4, "label": ["yes", "no"] * 4}
    other = {"text": ["fine song", "poor song"] * 4, "label": ["yes", "no"] * 4}
    for name, data in (("films", texts), ("songs", other)):
        task = kerasft.create("text", encoder="mlp")
        task.finetune(data, run_dir=tmp_path / name, **OPTIONS)
    with pytest.raises(ConfigError, match=r"films and \S*songs differ in assets/.*vocab"):
        kerasft.average([tmp_path / "films", tmp_path / "songs"], run_dir=tmp_path / "mean")
    kerasft.create("recommender").finetune(run_dir=tmp_path / "choices", **OPTIONS)
    with pytest.raises(ConfigError, match=r"are of the tasks 'text' and 'recommender'"):
        kerasft.average([tmp_path / "films", tmp_path / "choices"], run_dir=tmp_path / "mean")
