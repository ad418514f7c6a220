"""Distances: closed forms, and values of other implementations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kerasft.errors import ConfigError
from kerasft.metrics import (
    Batches,
    Extractor,
    Features,
    extract,
    extractor,
    frechet,
    frechet_relative,
    kernel_distance,
    nearest,
    perceptual_path_length,
    precision_recall,
)
from kerasft.metrics.extractors import resize

# real and made: random features, float32 [60, 6] and [50, 6]; picture: random, uint8. frechet is by sqrtm of
# scipy 1.17; kernel is `kernel_distance` of clean-fid 0.1.35 on the first 50 of both; the others are those of
# prdc 0.2 with 5 neighbours; smaller and larger are clean-fid's bicubic resizer of Pillow, to 9 and to 40.
PEERS = np.load(Path(__file__).with_name("fixtures") / "peers.npz")
VALUES = json.loads(PEERS["values"].tobytes())
REAL, MADE = (Features(PEERS[name], "any") for name in ("real", "made"))


def test_the_frechet_distance_equals_scipy():
    assert frechet(REAL, MADE) == pytest.approx(VALUES["frechet"], rel=1e-6)
    assert frechet(REAL, REAL) == pytest.approx(0.0, abs=1e-9)


def test_the_frechet_distance_of_gaussians_has_a_closed_form():
    # Points at +-a on each axis: their covariance is exactly diagonal, 2 a^2 / (count - 1).
    scales = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 1.0])
    one, other = (np.concatenate([np.diag(scale), -np.diag(scale)]).astype("f") for scale in scales)
    deviations = [np.sqrt(2.0 * np.square(scale) / 5.0) for scale in scales]
    expected = np.square(deviations[0] - deviations[1]).sum() + 3 * 0.5**2
    assert frechet(Features(one, "any"), Features(other + 0.5, "any")) == pytest.approx(expected, rel=1e-6)


def test_the_relative_distance_does_not_depend_on_the_scale_of_features():
    scales = np.array([1e-3, 1.0, 10.0, 1e3, 1.0, 0.1], np.float32)
    scaled = [Features(features.values * scales, "any") for features in (REAL, MADE)]
    assert frechet_relative(*scaled) == pytest.approx(frechet_relative(REAL, MADE), rel=1e-4)
    constant = [Features(np.c_[f.values, np.ones(len(f.values), "f")], "any") for f in (REAL, MADE)]
    assert frechet_relative(*constant) == pytest.approx(frechet_relative(REAL, MADE), rel=1e-6)


def test_fewer_pictures_than_features_are_no_trouble():
    random = np.random.default_rng(0)
    few = [Features(random.normal(size=(8, 40)).astype("f"), "any") for _ in range(2)]
    assert frechet(few[0], few[0]) == pytest.approx(0.0, abs=1e-4)
    assert frechet(*few) > 1.0


def test_the_kernel_distance_equals_clean_fid():
    first = Features(REAL.values[:50], "any")
    assert kernel_distance(first, MADE, subsets=1, size=50) == pytest.approx(VALUES["kernel"], rel=1e-6)
    assert kernel_distance(REAL, MADE, size=20) == kernel_distance(REAL, MADE, size=20)
    assert kernel_distance(REAL, MADE, size=20) != kernel_distance(REAL, MADE, size=20, seed=1)


def test_precision_and_its_kin_equal_prdc():
    found = precision_recall(REAL, MADE)
    assert found == pytest.approx({name: VALUES[name] for name in found}, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    expected = precision_recall(REAL, MADE), nearest(REAL, MADE)
    monkeypatch.setattr("kerasft.metrics.manifold._BLOCK", 7)
    assert precision_recall(REAL, MADE) == expected[0]
    np.testing.assert_array_equal(nearest(REAL, MADE)[0], expected[1][0])


def test_the_nearest_real_picture_of_a_copy_is_its_original():
    indices, distances = nearest(REAL, Features(REAL.values[[7, 3, 11]], "any"))
    assert indices.tolist() == [7, 3, 11]
    np.testing.assert_allclose(distances, 0.0, atol=1e-6)


@pytest.mark.parametrize("measure", [frechet, frechet_relative, kernel_distance, precision_recall, nearest])
def test_features_of_two_extractors_are_not_compared(measure):
    with pytest.raises(ConfigError, match=r"features of any cannot be compared with features of other"):
        measure(REAL, Features(MADE.values, "other"))


def test_too_few_pictures_are_one_sentence():
    one = Features(REAL.values[:1], "any")
    with pytest.raises(ConfigError, match=r"at least two pictures, not 1"):
        frechet(one, MADE)
    with pytest.raises(ConfigError, match=r"need more pictures than 1 real and 50 made ones"):
        precision_recall(one, MADE)


def test_resizing_is_that_of_clean_fid():
    for side, name in ((9, "smaller"), (40, "larger")):
        np.testing.assert_allclose(resize(PEERS["picture"][None], side)[0], PEERS[name], atol=1e-3)


def test_random_features_never_change():
    pictures = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    random = extractor("random:v1")
    assert random.identity == "random:v1@32-965dd7678abdb27e"
    values = random(pictures)
    np.testing.assert_allclose(
        values[0, [0, 100, 300, 500]], [0.355154, 0.174037, -0.006045, 0.049799], rtol=1e-4
    )


def test_features_are_kept_under_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path))
    pictures, calls = PEERS["picture"][None].repeat(3, axis=0), []

    def mean(batch):
        calls.append(len(batch))
        return batch.mean(axis=(1, 2))

    own = Extractor(name="mean", call=mean, size=None, digest="1")
    first = extract(pictures, own, batch_size=2, cache=True)
    again = extract(pictures, own, batch_size=2, cache=True)
    assert calls == [2, 1]
    np.testing.assert_array_equal(again.values, first.values)
    extract(pictures[:2], own, cache=True)
    assert calls == [2, 1, 2]
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(extract(pictures, own, cache=True).values, first.values)
    assert calls == [2, 1, 2, 3]


def test_pictures_in_batches_are_read_a_batch_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path))
    pictures = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)
    asked, calls = [], []

    def mean(batch):
        calls.append(len(batch))
        return batch.mean(axis=(1, 2))

    def read(start, end):
        asked.append((start, end))
        return pictures[start:end]

    own = Extractor(name="mean", call=mean, size=None, digest="1")
    found = extract(Batches(7, read), own, batch_size=3)
    assert asked == [(0, 3), (3, 6), (6, 7)]
    np.testing.assert_array_equal(found.values, extract(pictures, own).values)
    kept = extract(Batches(7, read), own, batch_size=3, cache=True)
    calls.clear()
    # The same pictures, however they are read.
    np.testing.assert_array_equal(extract(pictures, own, cache=True).values, kept.values)
    again = extract(Batches(7, read), own, batch_size=2, cache=True)
    np.testing.assert_array_equal(again.values, kept.values)
    assert calls == []


def test_the_nearest_other_member_of_a_set_is_never_the_same_one():
    values = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    values[5] = values[2]
    features = Features(values, "any")
    indices, distances = nearest(features, features, other=True)
    every = np.linalg.norm(values[:, None] - values[None], axis=2)
    np.fill_diagonal(every, np.inf)
    np.testing.assert_allclose(distances, every.min(1), atol=1e-3)
    assert (indices[5], indices[2]) == (2, 5)
    assert nearest(features, features)[0].tolist() == [0, 1, 2, 3, 4, 2, 6, 7, 8]


def test_functions_of_one_name_are_told_apart_and_not_kept():
    one, other = (extractor(function) for function in (lambda x: x.mean((1, 2)), lambda x: x.max((1, 2))))
    pictures = PEERS["picture"][None]
    with pytest.raises(ConfigError, match=r"cannot be compared"):
        nearest(extract(pictures, one), extract(pictures, other))
    with pytest.raises(ConfigError, match=r"cannot be kept"):
        extract(pictures, one, cache=True)


def test_a_keras_model_is_an_extractor():
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name="own")
    own = extractor(model)
    assert own(PEERS["picture"][None]).shape == (1, 4)
    before = own.identity
    model.layers[0].kernel.assign_add(np.ones((3, 3, 3, 4)))
    assert extractor(model).identity != before


@pytest.mark.fetched
@pytest.mark.parametrize(("name", "size", "width"), [("vgg16", 64, 512), ("efficientnet_lite0", 224, 1280)])
def test_fetched_networks_are_extractors(name, size, width):
    from kerasft.pretrained import cached

    if cached(name) is None:
        pytest.skip(f"the {name} weights are not cached; run: kerasft fetch {name}")
    own = extractor(name)
    assert own.identity.startswith(f"{name}@{size}-")
    values = own(np.stack([PEERS["picture"], 255 - PEERS["picture"]]))
    assert values.shape == (2, width)
    assert np.abs(values[0] - values[1]).max() > 0.1


def test_an_unknown_extractor_is_one_sentence():
    with pytest.raises(
        ConfigError, match=r"there is no 'resnet'; take random:v1, vgg16, efficientnet_lite0, inception"
    ):
        extractor("resnet")


def test_path_length_of_a_linear_map():
    def brighter(latents):
        return np.round(latents[:, :1, None, None] * np.ones((1, 4, 4, 3))).astype(np.uint8)

    own = extractor(lambda pictures: pictures[:, 0, 0, :1])
    starts, ends = np.zeros((64, 2)), np.full((64, 2), 200.0)
    # A step of a hundredth changes the features by 2, so by 200 a unit.
    found = perceptual_path_length(brighter, starts, ends, extractor=own)
    assert found == pytest.approx(200.0**2, rel=0.2)
    assert perceptual_path_length(brighter, starts, ends, extractor=own, batch_size=7) == found


def test_features_that_are_not_finite_are_one_sentence():
    own = extractor(lambda pictures: pictures.mean((1, 2)) * np.nan)
    with pytest.raises(ConfigError, match=r"are NaN or infinite"):
        extract(PEERS["picture"][None], own)
