"""Causal networks: a frame at a time says what the whole clip says."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kerasft_video.models.streaming import movinet_stream, state_size
from kerasft_video.models.streaming.layers import CausalConv, RunningMean

FRAMES, SIDE = 6, 24
FILTERS = (4, 8)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """A network whose weights and statistics are not those of the beginning."""
    keras.utils.set_random_seed(3)
    network = movinet_stream(FRAMES, SIDE, filters=FILTERS)
    random = np.random.default_rng(5)
    for weight in network.model.weights:
        value = weight.numpy()
        noise = random.normal(0, 0.2, value.shape)
        weight.assign(np.abs(value + noise) + 0.1 if "variance" in weight.path else value + noise)
    return network


_compiled: dict[int, Any] = {}


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (3, 2 * FRAMES, SIDE, SIDE, 3)).astype(np.float32)


def streamed(network, clips: np.ndarray) -> list[np.ndarray]:
    """Features after each frame."""
    step = _compiled.setdefault(id(network), tf.function(network.stream.after, reduce_retracing=True))
    state, found = None, []
    for frame in np.moveaxis(clips, 1, 0):
        features, state = step(tf.constant(frame), state)
        found.append(features.numpy())
    return found


def test_the_last_frame_of_a_stream_is_the_whole_clip(network, clips) -> None:
    whole = network.model(clips[:, :FRAMES]).numpy()
    assert np.ptp(whole, axis=0).max() > 1e-2
    assert np.abs(streamed(network, clips[:, :FRAMES])[-1] - whole).max() < 1e-5


def test_no_frame_sees_a_later_one(network, clips) -> None:
    changed = clips.copy()
    changed[:, 3:] = 0
    before, after = streamed(network, clips), streamed(network, changed)
    for a, b in zip(before[:3], after[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(before[3], after[3], atol=1e-3)


def test_streams_side_by_side_do_not_see_each_other(network, clips) -> None:
    together, alike = (streamed(network, each)[-1] for each in (clips, np.repeat(clips[1:2], 3, axis=0)))
    np.testing.assert_allclose(np.repeat(together[1:2], 3, axis=0), alike, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_what_stands_still_from_the_beginning_says_the_same_all_the_time(network, clips) -> None:
    still = np.repeat(clips[:, :1], 3 * FRAMES, axis=1)
    track = streamed(network, still)
    for features in track[1:]:
        np.testing.assert_allclose(features, track[0], atol=1e-5)


def test_a_long_stream_forgets(network, clips) -> None:
    """After many frames of one thing it does not matter what was before."""
    calm = np.repeat(clips[:1, :1], 12 * FRAMES, axis=1)
    other = np.concatenate([clips[1:2, :FRAMES], calm], axis=1)
    a, b = streamed(network, calm), streamed(network, other)
    assert np.abs(a[FRAMES] - b[2 * FRAMES]).max() > 3e-3
    np.testing.assert_allclose(a[-1], b[-1], atol=1e-3)


def test_its_layers_are_in_groups_and_shared(network) -> None:
    assert list(network.groups) == ["stem", "stage_0", "stage_1", "top"]
    grouped = [weight for group in network.groups.values() for layer in group for weight in layer.weights]
    assert {id(weight) for weight in grouped} == {id(weight) for weight in network.model.weights}
    for model in (network.stream.first, network.stream.next):
        assert {id(weight) for weight in model.weights} == {id(weight) for weight in network.model.weights}


def test_it_can_learn(network, clips) -> None:
    """Every weight moves the features."""
    with tf.GradientTape() as tape:
        loss = ops.sum(ops.square(network.model(clips[:, :FRAMES], training=True)))
    gradients = tape.gradient(loss, [weight.value for weight in network.model.trainable_weights])
    assert all(float(ops.max(ops.abs(gradient))) > 0 for gradient in gradients)


def test_the_size_of_a_state_is_known_without_building(network) -> None:
    assert state_size(SIDE, FILTERS) == network.stream.size
    for side, filters in ((32, (4, 8, 12)), (17, (4,))):
        assert state_size(side, filters) == movinet_stream(3, side, filters=filters).stream.size


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 5))
def test_a_causal_convolution_may_be_cut_anywhere(parts: list[int], size: int) -> None:
    x = numbers(2, sum(parts), 2, 1, 3)
    layer = CausalConv(size)
    whole, _ = layer(x)
    past, found = None, []
    for end, count in zip(np.cumsum(parts), parts, strict=True):
        y, past = layer(x[:, end - count : end], past=past)
        found.append(y)
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-5)
    padded = np.concatenate([np.repeat(x[:, :1], size - 1, axis=1), x], axis=1)
    kernel = layer.kernel.numpy()
    for at in range(x.shape[1]):
        direct = sum(kernel[j] * padded[:, at + j] for j in range(size))
        np.testing.assert_allclose(whole[:, at], direct, atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 8), st.integers(1, 30))
def test_a_running_mean_is_one_until_its_horizon_and_fades_then(horizon: int, count: int) -> None:
    x = numbers(2, count, 3)
    layer, past = RunningMean(horizon), None
    expected = np.zeros((2, 3))
    for at in range(count):
        mean, past = layer(x[:, at : at + 1], past=past)
        expected += (x[:, at] - expected) / min(at + 1, horizon)
        np.testing.assert_allclose(mean[:, 0], expected, atol=1e-5)
    assert past[0, -1] == min(count, horizon)
    if count <= horizon:
        means, after = layer(x)
        np.testing.assert_allclose(means[:, -1], x.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(after, past, atol=1e-5)
    else:
        with pytest.raises(ValueError, match="are more than the horizon"):
            layer(x)


def test_the_layers_survive_their_config() -> None:
    for layer in (CausalConv(5, name="time"), RunningMean(7, name="mean")):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
