"""Freeze policies of face generation, and what trains under them."""

from __future__ import annotations

import numpy as np
import pytest

import kerasft
from kerasft import ConfigError, LoRA
from kerasft_face import FreezeD


@pytest.fixture
def task(tiny):
    made = kerasft.create("face", **{**tiny, "resolution": 16})
    made.build()
    return made


def frozen_groups(report):
    return [row.group for row in report.rows if not row.trainable]


@pytest.mark.parametrize(
    ("policy", "frozen"),
    [
        ("full", []),
        ("mapping", ["mapping"]),
        ("freezed:2", ["discriminator_16", "discriminator_8"]),
        (FreezeD(1), ["discriminator_16"]),
        (FreezeD(0), []),
        ("generator:<=8", ["generator_4", "generator_8"]),
        ("discriminator:>=8", ["discriminator_16", "discriminator_8"]),
        (["mapping", FreezeD(1)], ["mapping", "discriminator_16"]),
        ("backbone", ["mapping", "generator_4", "generator_8", "discriminator_16", "discriminator_8"]),
    ],
)
def test_words_freeze_layer_groups(task, policy, frozen):
    assert frozen_groups(task.freeze(policy)) == frozen
    assert frozen_groups(task.freeze(task.freezing.policy)) == frozen  # what a run remembers says the same


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            "freezed:3",
            r"has 3 layer groups \(discriminator_16, .*\), of which one",
        ),
        ("freezed:x", r"has no number of layer groups; write freezed:2"),
        ("generator:<=2", r"'generator:<=2' names no layer group; there are mapping"),
        ("afine", r"no layer group or variable matches 'afine'"),
    ],
)
def test_wrong_words_are_one_sentence(task, policy, message):
    with pytest.raises(ConfigError, match=message):
        task.freeze(policy)


def changed(task, pictures, **options):
    """Trains and returns the paths of the weights that an optimizer moves and that did move."""
    networks = task.models.items()
    before = {(n, w.path): w.numpy() for n, m in networks for w in m.weights}
    movable = {id(weight) for weight in task.freezing.variables}
    task.finetune(pictures, verbose="quiet", epochs=2, **options)
    after = [(n, w) for n, m in networks for w in m.weights if id(w) in movable]
    return {f"{n}/{w.path}" for n, w in after if not np.array_equal(before[n, w.path], w.numpy())}


def test_only_the_affine_layers_of_the_generator_train(task, discs):
    task.freeze("only:affine")
    moved = changed(task, discs(16, 16))
    assert {"affine" in name for name in moved if name.startswith("generator/")} == {True}
    assert any(name.startswith("discriminator/") for name in moved)


def test_adapters_on_affine_layers(task, discs):
    report = task.freeze(LoRA(rank=1, targets="affine"))
    whole = [row.group for row in report.rows if row.trainable == row.parameters]
    assert whole == ["discriminator_16", "discriminator_8", "discriminator_4"]
    moved = changed(task, discs(16, 16))
    generator = {name.rpartition("/")[2] for name in moved if name.startswith("generator/")}
    assert generator == {"bias", "lora_kernel_a", "lora_kernel_b"}


def test_adapters_change_nothing_at_first_and_are_exported(task, tmp_path):
    before = task.predict([1, 2])["image"]
    task.freeze(LoRA(rank=1, targets="affine"))
    np.testing.assert_array_equal(task.predict([1, 2])["image"], before)
    assert task.export(tmp_path / "face").path.is_dir()


def test_another_domain_starts_from_a_run(tiny, discs, tmp_path):
    first = kerasft.create("face", **tiny)
    first.finetune(discs(8, 8), run_dir=tmp_path / "first", epochs=1, verbose="quiet")
    second = kerasft.create("face", **{**tiny, "seed": 5})
    second.finetune(
        discs(8, 8), init_from=tmp_path / "first", epochs=1, learning_rate=1e-30, ema=0.5, verbose="quiet"
    )
    np.testing.assert_array_equal(second.predict([3])["image"], first.predict([3])["image"])
    larger = kerasft.create("face", **{**tiny, "resolution": 16})
    with pytest.raises(kerasft.TrainingError, match=r"generator/b16_conv_0/bias: only here"):
        larger.finetune(discs(8, 16), init_from=tmp_path / "first", epochs=1, verbose="quiet")
    larger.finetune(discs(8, 16), init_from=tmp_path / "first", partial=True, epochs=1, verbose="quiet")
