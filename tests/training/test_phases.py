"""Unfreezing over time: what trains in which epoch, with the optimizer's state kept."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from measure import moved, weights_of
from tasks import points
from variants import HEAD, HIGH, LOW, STATISTICS, Attention, Nested

import kerasft
from kerasft import ConfigError, Gradual, Milestones


class Epochs(keras.callbacks.Callback):
    """Records weights before and after every epoch, and the optimizer's state by layer/weight."""

    def __init__(self, task):
        super().__init__()
        self.task = task
        self.before, self.after = [], []
        self.moments_before, self.moments_after = [], []

    def moments(self):
        return {v.path: v.numpy() for v in self.model.optimizer.variables if v.path.startswith("adam")}

    def on_epoch_begin(self, epoch, logs=None):
        self.before.append(weights_of(self.task))
        self.moments_before.append(self.moments())

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(weights_of(self.task))
        self.moments_after.append(self.moments())

    @property
    def moved(self):
        return [moved(*pair) for pair in zip(self.before, self.after, strict=True)]


def run(*, epochs, **options):
    task = Nested(seed=1, dropout=0.2)
    task.build()
    record = Epochs(task)
    task.finetune(
        points(32),
        validation_data=points(9),
        epochs=epochs,
        batch_size=8,
        optimizer="adam",
        callbacks=[record],
        verbose="quiet",
        **options,
    )
    return record


EVERYTHING = LOW | HIGH | HEAD | STATISTICS


@pytest.mark.parametrize(
    ("unfreeze", "expected"),
    [
        (Gradual(every=1), [HEAD, HEAD | HIGH, EVERYTHING, EVERYTHING]),
        ("gradual:2", [HEAD, HEAD, HEAD | HIGH, HEAD | HIGH, EVERYTHING]),
        (Milestones(at={1: "all"}), [HEAD, EVERYTHING]),
        ("milestones:0=1,2=0", [HEAD | HIGH, HEAD | HIGH, HEAD]),
        (Milestones(at={1: ["low"], 2: ["low", "high"]}), [HEAD, HEAD | LOW | STATISTICS, EVERYTHING]),
    ],
    ids=lambda part: "" if isinstance(part, list) else str(part),
)
def test_each_epoch_trains_what_the_schedule_says(unfreeze, expected):
    assert run(unfreeze=unfreeze, epochs=len(expected)).moved == expected


def test_schedule_releases_only_what_the_policy_froze():
    record = run(unfreeze=Gradual(every=1), freeze="low", epochs=2)
    assert record.moved == [HIGH | HEAD, EVERYTHING]


def test_moments_survive_the_switch_and_frozen_ones_stay_zero():
    record = run(unfreeze=Gradual(every=1), epochs=3)
    for before, after in zip(record.moments_before[1:], record.moments_after, strict=False):
        for name, array in after.items():
            np.testing.assert_array_equal(before[name], array, err_msg=name)
    first, last = record.moments_after[0], record.moments_after[-1]
    of_low = [name for name in first if "low_kernel" in name and "momentum" in name]
    of_head = [name for name in first if "head_kernel" in name and "momentum" in name]
    assert of_low
    assert of_head
    assert all(not first[name].any() and last[name].any() for name in of_low)
    assert all(first[name].any() for name in of_head)


def test_adapters_and_unfreezing_exclude_each_other():
    with pytest.raises(ConfigError, match=r"LoRA keeps its base frozen: leave out unfreeze"):
        Attention().finetune(
            points(8), freeze=kerasft.LoRA(rank=1), unfreeze=Gradual(every=1), verbose="quiet"
        )


@pytest.mark.parametrize(
    "text", ["gradually", "gradual:x", "milestones:", "milestones:1", "milestones:1=low+", "gradual:1=2"]
)
def test_unknown_schedule_text_is_refused(text):
    with pytest.raises(ConfigError, match=r"neither 'gradual:EPOCHS' nor 'milestones:EPOCH=GROUPS,...'"):
        kerasft.training.parse_unfreeze(text)


@pytest.mark.parametrize("text", ["gradual:3", "milestones:1=2,4=all", "milestones:1=low+high,2=0"])
def test_schedule_text_round_trips(text):
    assert str(kerasft.training.parse_unfreeze(text)) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gradual(every=0), r"every must be at least 1 epoch, not 0"),
        (lambda: kerasft.training.parse_unfreeze("gradual:0"), r"every must be at least 1 epoch, not 0"),
        (lambda: Milestones(at={-1: 2}), r"epoch -1 maps to 2"),
        (lambda: Milestones(at={1: "most"}), r"epoch 1 maps to 'most'"),
        (lambda: Milestones(at={1: [1]}), r"epoch 1 maps to \[1\]"),
        (
            lambda: Milestones(at={5: ["hi"]}).released(epoch=0, frozen=["low", "high"]),
            r"'hi' is no frozen layer group; those are low, high",
        ),
    ],
)
def test_impossible_schedules_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
