"""A good task passes every check, and the report says so."""

from __future__ import annotations

import json

import keras
import pytest
import tensorflow as tf
from mood import Mood
from rich.console import Console

import kerasft
from kerasft.errors import ConfigError, RegistryError
from kerasft.testing import CHECKS, Check, CheckReport, ConformanceError, check_task
from kerasft.training import Update


def test_a_good_task_passes_every_check(tmp_path):
    kerasft.register("mood")(Mood)
    seen = []
    report = check_task("mood", folder=tmp_path, progress=seen.append)
    assert [check for check in report.checks if check.ok is not True] == []
    assert [check.name for check in report.checks] == list(CHECKS)
    assert seen == list(report.checks)
    assert report.ok
    report.raise_if_failed()
    assert (tmp_path / "export" / "1" / "saved_model.pb").is_file()
    assert kerasft.load(tmp_path / "reference").labels == ("angry", "happy")


class Pair(kerasft.Task):
    """Two models against each other, with their own updates and serve()."""

    def fields(self):
        return (kerasft.Field(name="x", kind="number"),)

    def build_model(self):
        def network(name, width):
            hidden = keras.layers.Dense(8, activation="tanh", name="hidden")
            head = keras.layers.Dense(1, dtype="float32", name="head")
            return keras.Sequential([keras.Input((width,)), hidden, head], name=name)

        models = {"maker": network("maker", 2), "judge": network("judge", 1)}
        models["maker"].noise = keras.random.SeedGenerator(1)
        return models

    def preprocess(self, raw):
        return {"x": raw["x"][:, None]}

    def updates(self, make_optimizer):
        maker, judge = self.models["maker"], self.models["judge"]

        def made(batch):
            noise = keras.random.normal((tf.shape(batch.features["x"])[0], 2), seed=maker.noise)
            return judge(maker(noise, training=True))

        def judging(batch):
            return tf.reduce_mean(tf.nn.softplus(made(batch)) + tf.nn.softplus(-judge(batch.features["x"])))

        def making(batch):
            return tf.reduce_mean(tf.nn.softplus(-made(batch)))

        return [
            Update(name="judge", loss=judging, models=[judge], optimizer=make_optimizer()),
            Update(name="maker", loss=making, models=[maker], optimizer=make_optimizer(), every=2),
        ]

    def serve(self, inputs, *, signature):
        return {"score": self.models["judge"](self.preprocess(inputs)["x"])}

    def signatures(self):
        return {"serving_default": {"x": tf.TensorSpec([None], tf.float32)}}

    def example(self):
        return {"x": [0.1, 0.5, 0.9]}


def test_a_task_of_two_models_skips_only_what_it_does_not_have():
    report = check_task(kerasft.register("pair")(Pair), training={"epochs": 2})
    skipped = [check.name for check in report.checks if check.ok is None]
    assert skipped == ["loss", "metrics", "serve"], str(report)
    assert report.ok, str(report)
    assert "judge/head" in report["gradients"].detail
    assert "maker/hidden" in report["gradients"].detail


def test_config_data_and_choice_of_checks():
    kerasft.register("mood")(Mood)
    data = {
        "text": [f"it was a {word}" for word in ("joy", "pity", "bore")] * 2,
        "label": ["a", "b", "c"] * 2,
    }
    report = check_task(
        Mood,
        config={"width": 3},
        data=data,
        only=("class", "build", "groups", "finetune"),
        skip=("class",),
        width=5,
    )
    assert [check.name for check in report.checks] == ["build", "groups", "finetune"]
    assert report.ok, str(report)
    assert "words (40)" in report["groups"].detail  # 6 words and 2 more rows, 5 wide
    assert "head (27)" in report["groups"].detail  # 8 inputs and a bias for each of three labels


def test_one_epoch_is_too_few_to_compare_two_runs():
    kerasft.register("mood")(Mood)
    report = check_task("mood", only=["seed", "resume"], training={"epochs": 1})
    assert report["seed"].ok is None
    assert "give training.epochs=2" in report["seed"].detail
    assert report["resume"].ok


def test_wrong_arguments():
    with pytest.raises(ConfigError, match=r"no check 'expot'.*did you mean \"export\""):
        check_task(Mood, only=["expot"])
    with pytest.raises(ConfigError, match="no task"):
        check_task(dict)
    with pytest.raises(RegistryError, match="no-such-task"):
        check_task("no-such-task")
    with pytest.raises(ConfigError, match="widht"):
        check_task(Mood, widht=3)


def test_report():
    checks = (
        Check(name="loss", ok=True, detail="one for each row"),
        Check(name="export", ok=False, detail="return [table] from resources()"),
        Check(name="verify", ok=None, detail="needs the check 'export' to pass"),
    )
    report = CheckReport(task="mood", checks=checks)
    assert not report.ok
    assert report.failed == checks[1:2]
    assert report["verify"] is checks[2]
    with pytest.raises(KeyError):
        report["speed"]
    assert str(report).splitlines() == [
        "ok       loss       one for each row",
        "FAILED   export     return [table] from resources()",
        "skipped  verify     needs the check 'export' to pass",
        "task 'mood': 1 passed, 1 failed, 1 skipped",
    ]
    assert json.loads(report.to_json())["checks"][2] == {
        "name": "verify",
        "ok": None,
        "detail": checks[2].detail,
    }
    with pytest.raises(ConformanceError, match=r"1 failed.*\n  export: return \[table\] from resources"):
        report.raise_if_failed()
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report)
    assert "return [table] from resources()" in captured.get()
