"""The regularisers against finite differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasft_face import losses
from kerasft_face.networks import Discriminator, Generator
from kerasft_face.networks.plan import Plan

PLAN = Plan(resolution=8, base=32, max_channels=4)


def _along(function, values, direction, step=1e-7):
    """Central difference of a function along a direction; short, because leaky ReLUs have kinks."""
    return (function(values + step * direction) - function(values - step * direction)) / (2 * step)


def _weights(network) -> np.ndarray:
    return np.concatenate([v.numpy().ravel() for v in network.trainable_variables])


def _assign(network, flat) -> None:
    at = 0
    for variable in network.trainable_variables:
        size = int(np.prod(variable.shape))
        variable.assign(flat[at : at + size].reshape(variable.shape))
        at += size


def _slope(network, loss):
    """Returns a random direction in the weights, the gradient along it, and its finite difference."""
    start = _weights(network)
    values = [variable.value for variable in network.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = loss()
    gradients = tape.gradient(result, values, unconnected_gradients="zero")
    gradient = np.concatenate([np.ravel(g) for g in gradients])
    direction = np.random.default_rng(1).standard_normal(len(start))

    def at(flat) -> float:
        _assign(network, flat)
        return float(loss())

    return gradient @ direction, _along(at, start, direction)


@pytest.fixture
def discriminator(double):
    return Discriminator(PLAN, group=1)


@pytest.fixture
def generator(double):
    return Generator(PLAN, z_dim=4, w_dim=4, depth=1)


def test_r1_is_half_the_squared_gradient_at_the_pictures(discriminator):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3))
    squares = []
    for picture in pictures:
        steps = 1e-7 * np.eye(8 * 8 * 3).reshape(-1, 8, 8, 3)
        up, down = (np.asarray(discriminator(picture + sign * steps)) for sign in (1, -1))
        squares.append((((up - down) / 2e-7) ** 2).sum())

    found = losses.r1_penalty(discriminator, tf.constant(pictures))

    np.testing.assert_allclose(found, np.mean(squares) / 2, rtol=1e-6)


def test_r1_moves_the_discriminator_as_finite_differences_do(double):
    network = Discriminator(PLAN, group=2)
    pictures = tf.constant(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)))
    found, expected = _slope(network, lambda: losses.r1_penalty(network, pictures))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_path_lengths_are_slopes_in_w(generator):
    random = np.random.default_rng(0)
    styles, noise = random.standard_normal((2, 4, 4)), random.standard_normal((2, 8, 8, 3))
    slopes = np.zeros_like(styles)
    for place in np.ndindex(4, 4):
        direction = np.zeros_like(styles)
        direction[(slice(None), *place)] = 1.0

        def projected(ws):
            return (np.asarray(generator.synthesis(ws)) * noise).sum((1, 2, 3)) / 8

        slopes[(slice(None), *place)] = _along(projected, styles, direction)

    found = losses.path_lengths(generator.synthesis, tf.constant(styles), tf.constant(noise))

    np.testing.assert_allclose(found, np.sqrt((slopes**2).sum(2).mean(1)), rtol=1e-6)


def test_path_length_moves_the_generator_as_finite_differences_do(generator):
    random = np.random.default_rng(0)
    z, noise = tf.constant(random.standard_normal((2, 4))), tf.constant(random.standard_normal((2, 8, 8, 3)))

    def loss():
        styles = generator.broadcast(generator.mapping(z))
        lengths = losses.path_lengths(generator.synthesis, styles, noise)
        return tf.reduce_mean(tf.square(lengths - 0.1))

    found, expected = _slope(generator, loss)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_path_length_keeps_an_average():
    layer = losses.PathLength(0.1)
    lengths = tf.constant([1.0, 3.0])
    average, deviations = 0.0, []
    for _ in range(3):
        average += 0.1 * (2.0 - average)
        deviations.append(np.mean((np.array([1.0, 3.0]) - average) ** 2))

    np.testing.assert_allclose([layer(lengths) for _ in range(3)], deviations, rtol=1e-6)
    np.testing.assert_allclose(layer.average, average, rtol=1e-6)


def test_logistic_losses():
    real, fake = np.array([0.5, -2.0]), np.array([1.0, 3.0])

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    np.testing.assert_allclose(
        losses.discriminator_loss(real, fake), -(log_sigmoid(real) + log_sigmoid(-fake)).mean()
    )
    np.testing.assert_allclose(losses.generator_loss(fake), -log_sigmoid(fake).mean())


def test_styles_are_mixed_at_one_place():
    generator = Generator(PLAN, z_dim=4, w_dim=4, depth=1)
    cuts = set()
    for _ in range(20):
        styles = generator.draw_styles(3, mixing=1.0).numpy()
        changes = np.flatnonzero((styles[:, 1:] != styles[:, :-1]).any((0, 2)))
        assert len(changes) == 1
        cuts.add(int(changes[0]))
    assert cuts == {0, 1, 2}
    plain = generator.draw_styles(3).numpy()
    assert (plain == plain[:, :1]).all()
