"""Freeze policies, what is reported about them, and that what is frozen stays as it was."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from measure import moved, weights_of
from rich.console import Console
from tasks import Points, points
from variants import HEAD, HIGH, LOW, STATISTICS, Disconnected, Nested, Subclassed

import kerasft
from kerasft import ConfigError, LoRA, TrainingError
from kerasft.training.movement import MovementWarning


def trainable(task) -> set[str]:
    """What Keras itself calls trainable."""
    return {"/".join(variable.path.split("/")[-2:]) for variable in task.model.trainable_variables}


@pytest.fixture(scope="module")
def nested():
    task = Nested(seed=1)
    task.build()
    return task


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("backbone", HEAD),
        ("all", set()),
        ("none", LOW | HIGH | HEAD),
        ("norm", {"low/kernel", "low/bias"} | HIGH | HEAD),
        ("low", HIGH | HEAD),
        ("l.w|head", HIGH),
        ("/bias$", {"low/kernel", "norm/gamma", "norm/beta", "high/kernel", "head/kernel"}),
        (0, LOW | HIGH | HEAD),
        (1, HIGH | HEAD),
        ("2", HEAD),
        (3, set()),
        (["low", "head"], HIGH),
        ([1, "high/bias"], {"high/kernel"} | HEAD),
        ([], LOW | HIGH | HEAD),
        (lambda layer: isinstance(layer, keras.layers.Dense), {"norm/gamma", "norm/beta"}),
    ],
    ids=lambda part: "" if isinstance(part, set) else getattr(part, "__name__", str(part)),
)
def test_policy_names_what_does_not_train(nested, policy, expected):
    report = nested.freeze(policy)
    assert trainable(nested) == expected
    sizes = {name.split(".")[-1]: array.size for name, array in weights_of(nested).items()}
    assert report.trainable == sum(sizes[name] for name in expected)
    assert report.parameters == sum(sizes[name] for name in LOW | HIGH | HEAD)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("backbon", r"no layer group or variable matches 'backbon'.*backbone"),
        ("heads", r"no layer group or variable matches 'heads'.*head"),
        ("low(", r"'low\(' is no group and not a valid pattern"),
        (4, r"4 groups from the input were asked for, but there are 3"),
        (-1, r"-1 groups from the input"),
        (True, r"True is not a policy"),
        (None, r"None is not a policy"),
        (1.5, r"1.5 is not a policy"),
        (["low", "nothing"], r"no layer group or variable matches 'nothing'"),
        (["low", LoRA()], r"LoRA\(.*\) is not a policy"),
    ],
    ids=str,
)
def test_policy_that_means_nothing_is_refused_and_changes_nothing(nested, policy, message):
    nested.freeze("low")
    with pytest.raises(ConfigError, match=message):
        nested.freeze(policy)
    assert trainable(nested) == HIGH | HEAD


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"body": ["first", "second"], "head": ["second", "head"]}, r"second.* groups 'body' and 'head'"),
        ({"body": ["first"], "head": ["head"]}, r"'second' has weights but is in no layer group.*body, head"),
        ({}, r"layer_groups\(\) returned no group"),
    ],
    ids=["twice", "missing", "none"],
)
def test_layer_groups_hold_every_layer_once(groups, message):
    class Grouped(Points):
        def layer_groups(self, model):
            return {name: [model.get_layer(layer) for layer in layers] for name, layers in groups.items()}

    with pytest.raises(ConfigError, match=message):
        Grouped().build()


@pytest.mark.parametrize("groups", [["first", "second"], {"body": ["first"]}, {"body": "first"}], ids=str)
def test_layer_groups_hold_layers(groups):
    class Grouped(Points):
        def layer_groups(self, model):
            return groups

    with pytest.raises(ConfigError, match=r"layer_groups\(\) must return a dict of lists of Keras layers"):
        Grouped().build()


def test_default_groups_are_the_layers_with_weights():
    class Ungrouped(Nested):
        layer_groups = kerasft.Task.layer_groups

    task = Ungrouped()
    task.build()
    assert [row.group for row in task.freeze("none").rows] == ["backbone", "head"]


def test_report_shows_groups_from_input_to_head(nested):
    report = nested.freeze("low")
    rows = [(row.group, row.layers, row.parameters, row.trainable, row.rate_factor) for row in report.rows]
    assert rows == [("low", 2, 40, 0, 1.0), ("high", 1, 72, 72, 1.0), ("head", 1, 27, 27, 1.0)]
    assert str(report).splitlines()[1].split() == ["low", "2", "40", "0", "-"]
    assert str(report).splitlines()[3].split() == ["head", "1", "27", "27", "1"]
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(report)
    shown = console.export_text()
    assert "99 of 139 parameters train" in shown
    assert any(
        line.replace("│", " ").split() == ["high", "1", "72", "72", "1"] for line in shown.splitlines()
    )


def test_report_shows_the_rates_of_the_groups():
    rate = kerasft.Layerwise(learning_rate=1e-3, decay=0.5, factors={"low": 0.1})
    task = Nested(training={"learning_rate": rate})
    task.build()
    assert [row.rate_factor for row in task.freeze("none").rows] == [0.1, 0.5, 1.0]


def test_what_the_author_froze_stays_frozen_until_freeze_is_called():
    class Fixed(Points):
        def build_model(self):
            model = super().build_model()
            model.get_layer("first").trainable = False
            return model

    task = Fixed(seed=1)
    task.build()
    before = weights_of(task)
    task.finetune(points(16), epochs=1, optimizer="sgd", verbose="quiet")
    assert moved(before, weights_of(task)) == {"second/kernel", "second/bias"} | HEAD
    assert task.freeze("none").rows[0].trainable == 24


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("backbone", HEAD),  # batch normalisation is in the frozen prefix
        ("norm", {"low/kernel", "low/bias"} | HIGH | HEAD),  # and here behind a layer that trains
        ("high", LOW | HEAD | STATISTICS),
        (r"norm/|head/bias", {"low/kernel", "low/bias", "head/kernel"} | HIGH),
    ],
)
def test_only_what_is_not_frozen_moves_and_frozen_statistics_stay(policy, expected):
    task = Nested(seed=1)
    task.build()
    before = weights_of(task)
    task.finetune(points(32), freeze=policy, epochs=2, batch_size=8, optimizer="sgd", verbose="quiet")
    assert moved(before, weights_of(task)) == expected


@pytest.mark.parametrize(("policy", "statistics"), [("backbone", set()), ("none", STATISTICS)])
def test_statistics_without_scale_or_offset_freeze_with_their_group(policy, statistics):
    task = Subclassed(seed=1)
    task.build()
    before = weights_of(task)
    task.finetune(points(32), freeze=policy, epochs=1, batch_size=8, optimizer="sgd", verbose="quiet")
    assert moved(before, weights_of(task)) & STATISTICS == statistics


def test_nothing_to_train_is_one_clear_error_that_leaves_no_run(tmp_path):
    message = r"Nothing would train in the update 'train': every layer group is frozen"
    with pytest.raises(TrainingError, match=message):
        Points().finetune(points(16), freeze="all", run_dir=tmp_path / "run", verbose="quiet")
    history = Points().finetune(
        points(16), freeze="first", run_dir=tmp_path / "run", verbose="quiet", epochs=1
    )
    assert len(history.history["loss"]) == 1


def test_loss_without_a_path_to_what_trains_is_one_clear_error():
    with pytest.raises(
        TrainingError, match=r"loss of update 'train' does not depend on anything that trains"
    ):
        Disconnected().finetune(points(16), freeze="head", verbose="quiet")


def test_group_cut_off_from_the_loss_is_warned_about():
    with pytest.warns(
        MovementWarning, match=r"Layer group 'aside' is trainable, but.* moved none of its weights"
    ):
        Disconnected(seed=1).finetune(points(16), epochs=1, batch_size=8, optimizer="sgd", verbose="quiet")


def test_frozen_weight_moved_by_a_callback_is_warned_about():
    class Meddle(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.get_layer("second").bias.assign_add(np.ones(8, "float32"))

    class Slow(Points):
        """Meddles inside the step, as a layer that assigns its own weights would."""

        def loss(self, batch, outputs):
            self.model.get_layer("second").bias.assign_add(np.ones(8, "float32"))
            return super().loss(batch, outputs)

    for task, callbacks in ((Points(seed=1), [Meddle()]), (Slow(seed=1), [])):
        with pytest.warns(MovementWarning, match=r"second/bias of group 'second' is frozen, but"):
            task.finetune(
                points(16), freeze="backbone", epochs=1, batch_size=8, callbacks=callbacks, verbose="quiet"
            )


def test_no_warning_where_all_is_as_declared(recwarn):
    Points(seed=1).finetune(
        points(32), freeze="first", epochs=2, batch_size=8, accumulate=2, warmup=0.5, verbose="quiet"
    )
    assert not [str(warning.message) for warning in recwarn if warning.category is MovementWarning]
