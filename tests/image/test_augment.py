"""Augmentation of pictures: each setting does what it says, labels are mixed like pictures, runs resume."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError
from kerasft.testing import check_task
from kerasft.training.augmentation import Augmenter
from kerasft.training.update import Batch
from kerasft_image.drawn import shapes
from kerasft_image.mirrored import Mirrored

SIDE, COUNT = 16, 32


def changed(tiny, step=0, seed=0, **augment) -> Batch:
    """Returns a batch of drawn shapes as augmentation changes it."""
    task = kerasft.create("image", **tiny, labels=["disc", "square"], augment=augment, seed=seed)
    batch = Batch({"image": shapes(COUNT, SIDE)}, {"label": np.arange(COUNT, dtype=np.int32) % 2})
    spec = Batch(
        {"image": tf.TensorSpec([None, SIDE, SIDE, 3], tf.uint8)}, {"label": tf.TensorSpec([None], tf.int32)}
    )
    augmenter = Augmenter(task.augmentation(), seed=seed, spec=spec)
    return tf.nest.map_structure(lambda x: x if x is None else x.numpy(), augmenter(batch, step=step))


SETTINGS = [
    {"shift": 0.25},
    {"rotate": 30},
    {"zoom": 0.3},
    {"brightness": 0.3},
    {"contrast": 0.5},
    pytest.param({"rand_augment": 0.5}, marks=pytest.mark.slow, id="rand_augment"),
    {"erase": 1.0},
]


@pytest.mark.parametrize("augment", SETTINGS, ids=lambda setting: next(iter(setting)))
def test_pictures_are_changed_within_their_range(tiny, augment):
    pictures = changed(tiny, **augment).features["image"]
    before = shapes(COUNT, SIDE).astype(np.float32)
    assert pictures.shape == before.shape
    assert pictures.min() >= 0
    assert pictures.max() <= 255
    moved = np.abs(pictures - before).max((1, 2, 3)) > 1
    assert moved.mean() > 0.5
    np.testing.assert_array_equal(changed(tiny, **augment).features["image"], pictures)
    assert (changed(tiny, step=1, **augment).features["image"] != pictures).any()
    assert (changed(tiny, seed=1, **augment).features["image"] != pictures).any()


@pytest.mark.parametrize(("flip", "axes"), [("horizontal", [2]), ("vertical", [1])])
def test_flips(tiny, flip, axes):
    before, after = shapes(COUNT, SIDE), changed(tiny, flip=flip).features["image"]
    mirrored = np.flip(before, axes)
    same, flipped = ((after == other).all((1, 2, 3)) for other in (before, mirrored))
    assert (same | flipped).all()
    assert 0.2 < flipped.mean() < 0.8


def test_erasing_has_a_chance(tiny):
    after = changed(tiny, erase=0.3).features["image"]
    touched = (after != shapes(COUNT, SIDE)).any((1, 2, 3))
    assert 0.05 < touched.mean() < 0.6


def test_mixup_blends_labels_as_it_blends_pictures(tiny):
    before = shapes(COUNT, SIDE).astype(np.float32)
    batch = changed(tiny, mixup=1.0)
    labels = batch.targets["label"]
    np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
    assert ((labels > 0.05) & (labels < 0.95)).any()
    flat = before.reshape(COUNT, -1)
    for picture, label, own in zip(batch.features["image"].reshape(COUNT, -1), labels, flat, strict=True):
        # The picture lies between its own and another one: find the share of its own that fits best.
        errors = []
        for other in flat:
            away = own - other
            share = 1.0 if not away.any() else float(np.clip((picture - other) @ away / (away @ away), 0, 1))
            errors.append((np.abs(share * own + (1 - share) * other - picture).max(), share))
        error, share = min(errors)
        assert error < 2
        assert max(label) <= 1 + 1e-6
        assert min(label) >= -1e-6


def test_cutmix_pastes_as_much_as_the_labels_say(tiny):
    before, batch = shapes(COUNT, SIDE).astype(np.float32), changed(tiny, cutmix=1.0)
    labels = batch.targets["label"]
    kept = (batch.features["image"] == before).all(-1).mean((1, 2))
    own = labels[np.arange(COUNT), np.arange(COUNT) % 2]
    mixed = own < 1  # of two classes; of one class labels stay as they are
    assert mixed.sum() > 5
    np.testing.assert_allclose(kept[mixed], own[mixed], atol=0.15)  # pixels are whole, and some alike


def test_with_both_each_batch_gets_one_of_them(tiny):
    whole = []
    for step in range(6):
        batch = changed(tiny, step=step, mixup=1.0, cutmix=1.0)
        pixels = (batch.features["image"] == shapes(COUNT, SIDE)).all(-1).mean()
        whole.append(pixels > 0.2)
    assert 0 < sum(whole) < 6


def test_mixed_labels_train_and_count(tiny):
    data = {"image": shapes(16, SIDE), "label": ["disc", "square"] * 8}
    options = {"augment": {"mixup": 0.4, "flip": "horizontal"}, "head": {"label_smoothing": 0.1}}
    task = kerasft.create("image", **tiny, **options)
    history = task.finetune(data, validation_data=data, epochs=2, verbose="quiet").history
    assert np.isfinite(history["loss"]).all()
    assert 0 <= history["accuracy"][-1] <= 1
    several = kerasft.create("image", **tiny, kind="multilabel", augment={"cutmix": 1.0})
    rows = {"image": shapes(16, SIDE), "labels": [["a"], ["a", "b"]] * 8}
    assert np.isfinite(several.finetune(rows, epochs=1, verbose="quiet").history["loss"][0])


def test_label_smoothing_is_the_formula(tiny):
    task = kerasft.create("image", **tiny, labels=["a", "b", "c"], head={"label_smoothing": 0.3})
    logits = tf.constant([[2.0, 0.0, -1.0]])
    loss = task.loss(Batch({}, {"label": tf.constant([0])}), {"logits": logits})
    wanted = -(np.array([0.8, 0.1, 0.1]) * np.asarray(tf.nn.log_softmax(logits))[0]).sum()
    np.testing.assert_allclose(loss, [wanted], rtol=1e-6)


@pytest.mark.slow
def test_an_augmented_run_keeps_every_promise(tiny):
    augment = {
        "flip": "horizontal",
        "shift": 0.1,
        "erase": 0.5,
        "mixup": 0.2,
        "cutmix": 1.0,
        "test_time": "flip",
    }
    check_task("image", **tiny, augment=augment).raise_if_failed()


def test_the_mirror_image_is_seen_outside_of_training(tiny):
    def build(**augment):
        keras.utils.set_random_seed(0)
        task = kerasft.create("image", **tiny, labels=["a", "b"], augment=augment)
        task.build()
        return task

    plain, both = build(), build(test_time="flip")
    both.model.set_weights(plain.model.get_weights())
    picture = shapes(2, SIDE).astype(np.float32)
    straight, mirrored = (plain.model(x)["embedding"].numpy() for x in (picture, picture[:, :, ::-1]))
    np.testing.assert_allclose(
        both.model(picture)["embedding"], (straight + mirrored) / 2, rtol=1e-5, atol=1e-6
    )
    answers = (
        both.predict({"image": picture})["scores"],
        both.predict({"image": picture[:, :, ::-1]})["scores"],
    )
    np.testing.assert_allclose(*answers, atol=1e-5)
    layer = Mirrored(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, padding="same")]))
    one = shapes(1, 4).astype(np.float32)
    np.testing.assert_allclose(layer(one, training=True), layer.backbone(one), rtol=1e-6)


def test_every_group_stays_in_place_behind_the_mirror(tiny):
    task = kerasft.create("image", **tiny, labels=["a", "b"], augment={"test_time": "flip"})
    task.build()
    assert list(task.freezing.groups) == ["stage_0", "stage_1", "head"]


def test_nothing_asked_for_is_nothing_done(tiny):
    assert kerasft.create("image", **tiny, labels=["a", "b"]).augmentation() is None
    with pytest.raises(ConfigError, match=r"augment\.flip"):
        kerasft.create("image", augment={"flip": "sideways"})
