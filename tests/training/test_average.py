"""Averages of weights: momentum, half-life, ramp-up, and of which models."""

from __future__ import annotations

import numpy as np
import pytest
from measure import assert_same, weights_of
from tasks import Points, points
from variants import Gan

import kerasft
from kerasft.errors import ConfigError
from kerasft.training.checkpoint import load
from kerasft.training.run import Run

OPTIONS = {"batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "shuffle": False, "verbose": "quiet"}


def first_rows(count):
    return {name: values[:count] for name, values in points(64).items()}


def weights_after(steps, **options):
    task = Points(seed=1)
    task.finetune(first_rows(8 * steps), epochs=1, **OPTIONS | options)
    return weights_of(task)


def expected(momenta):
    """The average of the weights after each step, computed from runs that ended there."""
    task = Points(seed=1)
    task.build()
    average = weights_of(task)
    for step, momentum in enumerate(momenta, start=1):
        now = weights_after(step)
        average = {name: momentum * value + (1 - momentum) * now[name] for name, value in average.items()}
    return average


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_half_life_is_in_examples():
    assert_close(weights_after(3, ema=16.0), expected([0.5**0.5] * 3))
    assert_close(weights_after(3, ema=0.7), expected([0.7] * 3))


def test_rampup_begins_with_a_copy_and_grows_with_the_examples_seen():
    # half-lives: 0, 0.5 * 8 = 4, 0.5 * 16 = 8, then at most 10
    momenta = [0.0, 0.5 ** (8 / 4), 0.5 ** (8 / 8), 0.5 ** (8 / 10)]
    assert_close(weights_after(4, ema=10.0, ema_rampup=0.5), expected(momenta))


def test_accumulation_counts_all_examples_of_an_update():
    task = Points(seed=1)
    task.build()
    start = weights_of(task)
    task.finetune(points(16), epochs=1, accumulate=2, ema=16.0, **OPTIONS)
    plain = Points(seed=1)
    plain.finetune(points(16), epochs=1, accumulate=2, **OPTIONS)
    halfway = {name: (start[name] + value) / 2 for name, value in weights_of(plain).items()}
    assert_close(weights_of(task), halfway)


class HalfAveraged(Gan):
    """Keeps an average of the generator only."""

    def averaged(self):
        return ("generator",)


def plane():
    random = np.random.default_rng(0)
    return {name: random.normal(size=40).tolist() for name in ("x", "y")}


def test_only_the_chosen_models_are_averaged_and_a_run_resumes_in_the_rampup(tmp_path):
    options = OPTIONS | {"ema": 100.0, "ema_rampup": 0.5, "epochs": 2, "checkpoint_every": 3}
    whole = HalfAveraged(seed=1)
    whole.finetune(plane(), run_dir=tmp_path / "whole", **options)
    arrays = load(Run(tmp_path / "whole").checkpoints.path(10)).arrays
    assert {name.split("/")[2] for name in arrays if name.startswith("average/")} == {"generator"}
    first = HalfAveraged(seed=1)
    first.finetune(plane(), run_dir=tmp_path / "run", **options | {"epochs": 1})
    second = HalfAveraged(seed=1)
    second.finetune(plane(), run_dir=tmp_path / "run", resume="must", **options)
    assert_same(weights_of(second), weights_of(whole))
    assert_same(weights_of(kerasft.load(tmp_path / "run")), weights_of(whole))


def test_wrong_settings_are_one_sentence():
    with pytest.raises(ConfigError, match=r"ema_rampup limits a half-life"):
        Points(training={"ema": 0.9, "ema_rampup": 0.05})

    class Wrong(Gan):
        def averaged(self):
            return ("producer",)

    with pytest.raises(ConfigError, match=r"names 'producer'; the models are generator, discriminator"):
        Wrong().finetune(plane(), epochs=1, **OPTIONS)
