"""The perceptual distance: against its formula, with a gradient, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.metrics import perceptual


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)


def test_it_is_the_formula(pictures):
    picture = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(4, 3, activation="relu")(picture)
    model = keras.Model(picture, [first, keras.layers.Conv2D(5, 3, strides=2)(first)])
    one, other = pictures, pictures[::-1].copy()
    expected = 0.0
    for a, b in zip(model.predict(one, verbose=0), model.predict(other, verbose=0), strict=True):
        a, b = (x / np.sqrt((x**2).sum(3, keepdims=True) + 1e-8) for x in (a, b))
        expected = expected + ((a - b) ** 2).sum(3).mean((1, 2))
    np.testing.assert_allclose(perceptual(model)(one, other), expected, rtol=1e-4, atol=1e-6)


def test_it_has_a_gradient_that_leads_to_the_picture(pictures):
    distance = perceptual("random:v1")
    target, x = tf.constant(pictures[:1]), tf.Variable(pictures[1:2])
    optimizer = keras.optimizers.Adam(10.0)
    before = float(distance(x, target)[0])
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = distance(x, target)
        optimizer.apply([tape.gradient(loss, x)], [x])
    assert float(distance(x, target)[0]) < before / 4


def test_large_pictures_are_averaged_down():
    small = np.random.default_rng(0).uniform(0, 255, (2, 256, 256, 3)).astype(np.float32)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    distance = perceptual("random:v1")
    found = distance(large[:1], large[1:])
    np.testing.assert_allclose(found, distance(small[:1], small[1:]), rtol=1e-5)


def test_what_has_no_maps_is_refused():
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ConfigError, match="have to be maps"):
        perceptual(flat)
    with pytest.raises(ConfigError, match="no 'inception' with feature maps; take random:v1, vgg16"):
        perceptual("inception")


@pytest.mark.fetched
def test_vgg16_is_one(pictures):
    from kerasft.pretrained import cached

    if cached("vgg16") is None:
        pytest.skip("the vgg16 weights are not cached; run: kerasft fetch vgg16")
    distance = perceptual("vgg16")
    assert distance.identity.startswith("vgg16-")
    found = distance(pictures, pictures * 0.9 + 10.0).numpy()
    assert (found > 0).all()
    # Noise is nearer to itself made paler than to other noise.
    assert (found < distance(pictures, pictures[::-1].copy()).numpy()[0]).all()
