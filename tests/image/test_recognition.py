"""ArcFace, verification, and persons who become known without training."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, DataError, OrderError
from kerasft.export.runtime import Model
from kerasft.testing import check_task
from kerasft_image import verification
from kerasft_image.arcface import Cosines, arcface
from kerasft_image.drawn import shapes

from .conftest import TINY, encoded


@pytest.fixture(scope="session")
def recognizer(tmp_path_factory) -> kerasft.Task:
    """Tells drawn discs from squares, as if they were persons."""
    keras.utils.set_random_seed(0)
    task = kerasft.create("image", **TINY, kind="recognition", recognition={"width": 8, "margin": 0.2})
    data = {"image_bytes": [encoded(picture) for picture in shapes(64, 16)], "label": ["ann", "ben"] * 32}
    task.finetune(data, epochs=25, run_dir=tmp_path_factory.mktemp("recognition") / "run", verbose="quiet")
    return task


def striped(count: int, seed: int) -> list[bytes]:
    """A third sort of picture: stripes."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((count, 16, 16, 3), np.uint8)
    for picture in pictures:
        picture[:, :: 4 + random.integers(0, 2)] = random.integers(140, 256, 3)
    return [encoded(picture) for picture in pictures]


@pytest.mark.slow
def test_it_keeps_every_promise(tiny):
    check_task("image", **tiny, kind="recognition").raise_if_failed()


def test_the_loss_is_the_formula():
    cosines = np.array([[0.7, 0.2, -0.3], [-0.5, 0.1, 0.9]], np.float32)
    labels, margin, scale = np.array([0, 2], np.int32), 0.4, 8.0
    expected = []
    for row, label in zip(cosines.astype(np.float64), labels, strict=True):
        moved = row.copy()
        moved[label] = math.cos(math.acos(row[label]) + margin)
        expected.append(-math.log(math.exp(scale * moved[label]) / np.exp(scale * moved).sum()))
    loss = arcface(tf.constant(cosines), tf.constant(labels), margin=margin, scale=scale)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_loss_has_a_slope_everywhere_and_falls_with_the_angle():
    angles = np.linspace(0, math.pi, 101).astype(np.float32)
    true = tf.constant(np.cos(angles))
    with tf.GradientTape() as tape:
        tape.watch(true)
        cosines = tf.stack([true, tf.zeros_like(true)], 1)
        losses = arcface(cosines, tf.zeros(101, tf.int32), margin=0.5, scale=4.0)
    assert (np.diff(losses.numpy()) > -1e-5).all()
    slopes = tape.gradient(losses, true).numpy()
    assert np.isfinite(slopes).all()
    assert (slopes <= 0).all()


def test_cosines_are_of_unit_vectors():
    layer = Cosines(3)
    vector = np.array([[0.6, 0.8]], np.float32)
    cosines = layer(vector).numpy()
    centres = np.asarray(layer.centres)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(cosines, vector @ centres.T, rtol=1e-5)


def test_verification_of_pairs_that_can_be_counted_by_hand():
    angles = np.radians([0, 10, 90, 40])
    vectors = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    found = verification(vectors, ["ann", "ann", "ben", "ben"])
    # By angle: ann-ann 10; ann-ben 30, 40, 80, 90; ben-ben 50.
    assert (found.same, found.different) == (2, 4)
    np.testing.assert_allclose(found.far, [0, 0, 0.25, 0.5, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.tar, [0, 0.5, 0.5, 0.5, 1, 1, 1])
    assert found.eer == pytest.approx(0.5)
    rate, threshold = found.at_far(0.2)
    assert rate == 0.5
    assert threshold == pytest.approx(math.cos(math.radians(10)))


def test_errors_are_those_of_scikit_learn():
    from sklearn.metrics import roc_curve

    random = np.random.default_rng(0)
    labels = [str(i % 5) for i in range(30)]
    vectors = random.normal(size=(30, 4)) + np.eye(5, 4)[np.arange(30) % 5]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = verification(vectors, labels)
    pairs = np.triu_indices(30, 1)
    same = np.equal.outer(labels, labels)[pairs]
    far, tar, _ = roc_curve(same, (vectors @ vectors.T)[pairs], drop_intermediate=False)
    np.testing.assert_allclose(found.far, far, atol=1e-6)
    np.testing.assert_allclose(found.tar, tar, atol=1e-6)
    crossing = np.interp(0, far - (1 - tar), far)
    assert found.eer == pytest.approx(crossing, abs=1e-6)


def test_the_curve_is_drawn(tmp_path):
    found = verification(np.eye(3, dtype=np.float32)[[0, 0, 1, 2]], ["a", "a", "b", "c"])
    found.plot(tmp_path / "roc.png")
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_pairs_are_needed():
    for labels in (["a", "a"], ["a", "b"]):
        with pytest.raises(DataError, match="two pictures of one person, and two persons"):
            verification(np.eye(2, dtype=np.float32), labels)


def test_known_persons_are_recognized_and_strangers_are_not(recognizer):
    new = [encoded(picture) for picture in shapes(20, 16, seed=1)]
    answer = recognizer.predict(new)
    nearest = answer["candidates"][:, 0]
    assert np.mean(nearest == np.array([b"ann", b"ben"] * 10)) > 0.8
    accepted = answer["similarity"] >= recognizer.config.recognition.threshold
    assert accepted.any()
    np.testing.assert_array_equal(answer["label"], np.where(accepted, nearest, b""))
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(answer["similarity"], answer["similarities"][:, 0])
    assert (np.diff(answer["similarities"], axis=1) <= 0).all()
    nobody = kerasft.create(
        "image", **{**TINY, "kind": "recognition", "labels": ["a", "b"], "recognition": {"trained": False}}
    )
    nobody.build()
    assert nobody.predict(new[:2])["label"].tolist() == [b"", b""]


def test_a_stranger_becomes_known_without_training(recognizer, tmp_path):
    before = [weight.numpy() for weight in recognizer.model.weights]
    assert recognizer.enroll({"image_bytes": striped(4, seed=0), "label": ["cleo"] * 4}) == ("cleo",)
    for weight, old in zip(recognizer.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    asked = striped(4, seed=1)
    assert recognizer.predict(asked)["label"].tolist() == [b"cleo"] * 4
    again = kerasft.load(recognizer.run.folder)
    assert again.predict(asked)["label"].tolist() == [b"cleo"] * 4
    with Model(again.export(tmp_path / "faces").path) as served:
        answer = served.call("serving_default", {"image_bytes": np.array(asked, object)})
        assert answer["label"].tolist() == [b"cleo"] * 4
        pair = {
            "image_bytes": np.array(asked[:2], object),
            "other_bytes": np.array([asked[1], encoded(shapes(1, 16)[0])], object),
        }
        verified = served.call("verify", pair)
    np.testing.assert_array_equal(verified["same"], [True, False])
    direct = again.predict({name: values.tolist() for name, values in pair.items()}, signature="verify")
    np.testing.assert_allclose(direct["similarity"], verified["similarity"], atol=1e-5)


def test_a_task_verifies_persons_that_it_never_saw(recognizer):
    data = {
        "image_bytes": striped(6, seed=2) + [encoded(p) for p in shapes(12, 16, seed=3)[::2]],
        "label": ["x"] * 6 + ["y"] * 6,
    }
    found = recognizer.verification(data)
    assert found.same == 30
    assert found.different == 36
    assert found.eer < 0.2


def test_what_is_of_recognition_only_says_so(tiny, trained):
    with pytest.raises(ConfigError, match="enroll is of the kind recognition only; this task does classif"):
        trained.enroll({"image_bytes": striped(1, 0), "label": ["a"]})
    with pytest.raises(ConfigError, match="recognition does nothing for the kind 'classification'"):
        kerasft.create("image", recognition={"width": 3})
    with pytest.raises(ConfigError, match=r"augment\.mixup does nothing for the kind 'recognition'"):
        kerasft.create("image", kind="recognition", augment={"mixup": 0.2})
    with pytest.raises(OrderError):
        kerasft.create("image", kind="recognition").enroll({"image_bytes": striped(1, 0), "label": ["a"]})
