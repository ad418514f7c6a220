from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from kerasft_face import layers
from kerasft_face.layers.resampling import FILTER, resample


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _upfirdn(
    x: np.ndarray, *, up: int, down: int, padding: tuple[int, int], taps: tuple[float, ...] = FILTER
) -> np.ndarray:
    """The filter on both axes, by scipy: its output begins where the filter touches the first pixel."""
    for axis in (1, 2):
        # Scipy turns the filter round.
        full = signal.upfirdn(np.multiply(taps[::-1], up), x, up=up, axis=axis)
        before, after = (pad - (len(taps) - 1) for pad in padding)
        # scipy inserts no zeros after the last pixel.
        after += up - 1
        widths = [(0, 0)] * x.ndim
        widths[axis] = (max(0, before), max(0, after))
        full = np.pad(full, widths)
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(max(0, -before), full.shape[axis] - max(0, -after), down)
        x = full[tuple(cut)]
    return x


def _leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


@pytest.mark.parametrize("side", [4, 7, 8, 32, 65, 150])
@pytest.mark.parametrize(
    ("up", "down", "padding"), [(2, 1, (2, 1)), (1, 2, (1, 1)), (1, 1, (2, 2)), (1, 1, (1, 1))]
)
def test_resampling_is_scipys_upfirdn(up, down, padding, side):
    x = _random(2, side, side + 1, 3)
    expected = _upfirdn(x.astype(np.float64), up=up, down=down, padding=padding)

    found = resample(tf.constant(x), up=up, down=down, padding=padding)

    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("side", [8, 70])
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (3, 1)), (1, 2, (0, 0)), (1, 1, (2, 4))])
def test_resampling_takes_any_filter(up, down, padding, side):
    taps = (0.5, 0.25, -0.1, 0.2, 0.15)
    x = _random(2, side, side, 1)
    expected = _upfirdn(x.astype(np.float64), up=up, down=down, padding=padding, taps=taps)
    found = resample(tf.constant(x), up=up, down=down, padding=padding, taps=taps)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("side", [8, 70, 150])
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (6, 1)), (1, 2, (0, 0)), (1, 1, (2, 4))])
def test_the_derivative_of_resampling_is_its_transpose_and_that_of_the_derivative_is_resampling(
    up, down, padding, side
):
    x = tf.constant(_random(1, side, side, 2))
    settings = {"up": up, "down": down, "padding": padding, "taps": (0.5, 0.25, -0.1, 0.2, 0.15)}
    upstream = tf.constant(_random(*resample(x, **settings).shape, seed=1))
    with tf.GradientTape() as outer:
        outer.watch(upstream)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = resample(x, **settings)
        transposed = inner.gradient(y, x, output_gradients=upstream)
    again = outer.gradient(transposed, upstream, output_gradients=x)

    ends = (0, side // 2, side - 1)
    for row, column in zip(ends, reversed(ends), strict=True):
        impulse = np.zeros(x.shape, np.float32)
        impulse[0, row, column] = 1.0
        seen = resample(tf.constant(impulse), **settings)
        expected = tf.reduce_sum(seen * upstream, axis=(0, 1, 2))
        np.testing.assert_allclose(transposed[0, row, column], expected, atol=1e-5)
    np.testing.assert_allclose(again, y, atol=1e-5)


def test_resampling_keeps_brightness_inside():
    flat = tf.ones([1, 16, 16, 1])
    np.testing.assert_allclose(layers.Resample(2.0)(flat)[0, 2:-2, 2:-2], 1.0, atol=1e-6)
    np.testing.assert_allclose(layers.Resample(0.5)(flat)[0, 1:-1, 1:-1], 1.0, atol=1e-6)
    with pytest.raises(ValueError, match=r"2\.0 or 0\.5, not 3"):
        layers.Resample(3)


def _modulated(x, w, layer) -> np.ndarray:
    """The formula of the paper: a kernel for each picture, then an ordinary convolution of it."""
    affine = w @ layer.affine.kernel.numpy() / np.sqrt(w.shape[1]) + layer.affine.bias.numpy()
    kernel = layer.kernel.numpy().astype(np.float64) / np.sqrt(np.prod(layer.kernel.shape[:3]))
    pictures = []
    for picture, style in zip(x.astype(np.float64), affine, strict=True):
        own = kernel * style[None, None, :, None]
        if layer.demodulate:
            own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
        planes = []
        for o in range(own.shape[3]):
            plane = 0.0
            for i in range(own.shape[2]):
                if layer.upsample:
                    zeros = np.zeros((2 * picture.shape[0] - 1, 2 * picture.shape[1] - 1))
                    zeros[::2, ::2] = picture[..., i]
                    plane = plane + signal.convolve2d(zeros, own[..., i, o], "full")
                else:
                    plane = plane + signal.correlate2d(picture[..., i], own[..., i, o], "same")
            planes.append(plane)
        pictures.append(np.stack(planes, axis=-1))
    made = np.stack(pictures)
    return 4.0 * _upfirdn(made, up=1, down=1, padding=(1, 1)) if layer.upsample else made


@pytest.mark.parametrize(("size", "upsample"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("demodulate", [True, False])
def test_the_modulated_convolution_is_that_of_a_kernel_for_each_picture(size, upsample, demodulate):
    x, w = _random(3, 6, 6, 4), _random(3, 5, seed=1)
    layer = layers.ModulatedConv2D(6, size, upsample=upsample, demodulate=demodulate)

    found = layer(x, w).numpy()

    expected = _modulated(x, w, layer)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.abs(expected).max())


def test_dense_is_scaled_by_its_fan_in():
    layer = layers.EqualizedDense(50, activate=True, rate=0.01, bias=0.5)
    x = _random(3, 400)
    found = layer(x).numpy()

    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    np.testing.assert_allclose(kernel.std(), 100, rtol=0.05)
    np.testing.assert_allclose(bias * 0.01, 0.5, rtol=1e-6)
    np.testing.assert_allclose(found, _leaky(x @ kernel * 0.01 / 20 + 0.5), atol=2e-5)


def _correlate(picture: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    ins, outs = range(kernel.shape[2]), range(kernel.shape[3])
    planes = [sum(signal.correlate2d(picture[..., i], kernel[..., i, o], mode) for i in ins) for o in outs]
    return np.stack(planes, axis=-1)


@pytest.mark.parametrize(("size", "downsample"), [(1, False), (3, False), (1, True), (3, True)])
def test_convolution_is_scaled_by_its_fan_in_and_filters_before_it_halves(size, downsample):
    layer = layers.EqualizedConv2D(5, size, downsample=downsample, gain=0.5)
    x = _random(2, 8, 8, 3)
    found = layer(x).numpy()

    kernel = layer.kernel.numpy() / np.sqrt(3 * size * size)
    source, mode = x, "same"
    if downsample:
        source, mode = _upfirdn(x, up=1, down=1, padding=(2, 2) if size == 3 else (1, 1)), "valid"
    expected = np.stack([_correlate(picture, kernel, mode) for picture in source])
    expected = expected[:, ::2, ::2] if downsample else expected
    np.testing.assert_allclose(found, 0.5 * _leaky(expected), atol=1e-5)


def test_noise_is_stored_for_use_and_drawn_in_training():
    x = tf.zeros([3, 4, 4, 2])
    one, other = layers.Noise(seed=1), layers.Noise(seed=1)
    for layer in (one, other):
        layer.build(x.shape)
        layer.strength.assign(2.0)

    still = one(x).numpy()
    np.testing.assert_allclose(still[..., 0], np.repeat(2 * one.stored.numpy()[..., 0], 3, 0))
    np.testing.assert_array_equal(still, one(x))
    drawn = one(x, training=True).numpy()
    np.testing.assert_array_equal(drawn, other(x, training=True))
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 1])
    assert np.unique(drawn[..., 0]).size == 3 * 4 * 4
    assert not np.array_equal(drawn, one(x, training=True))
    assert any(variable is one.seed_generator.state for variable in one.variables)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 3), (5, 1), (2, 2)])
def test_minibatch_deviation_is_the_mean_over_a_group(count, size):
    x = _random(count, 4, 4, 3)
    found = layers.MinibatchDeviation(4)(x).numpy()

    np.testing.assert_array_equal(found[..., :3], x)
    groups = count // size
    for i in range(groups):
        members = x[i::groups]
        expected = np.sqrt(members.var(0) + 1e-8).mean()
        np.testing.assert_allclose(found[i::groups, ..., 3], expected, rtol=1e-5)


def test_mapping_normalises_and_remembers_the_average():
    layer = layers.Mapping(6, depth=2, rate=0.01)
    z = _random(5, 4)
    x = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    layer(z)
    for dense in layer.hidden:
        x = _leaky(x @ dense.kernel.numpy() * 0.01 / np.sqrt(x.shape[1]) + dense.bias.numpy() * 0.01)

    np.testing.assert_allclose(layer(z), x, atol=1e-5)
    assert not layer.average.numpy().any()
    layer(z, training=True)
    np.testing.assert_allclose(layer.average, 0.005 * x.mean(0), atol=1e-6)
    layer(z, training=True)
    average = (1 - 0.995**2) * x.mean(0)
    np.testing.assert_allclose(layer.average, average, atol=1e-6)
    half = layer.truncate(tf.constant(x, tf.float32), tf.constant([0.5] * 5))
    np.testing.assert_allclose(half, average + 0.5 * (x - average), atol=1e-6)


def test_a_frozen_mapping_keeps_its_average():
    layer = layers.Mapping(6, depth=1)
    layer.build((None, 4))
    layer.trainable = False
    layer(_random(5, 4), training=True)
    assert not layer.average.numpy().any()


def test_mapping_reads_labels():
    layer = layers.Mapping(6, depth=1, classes=3)
    z = np.repeat(_random(1, 4), 3, 0)
    w = layer(z, np.eye(3, dtype=np.float32)).numpy()
    assert len(np.unique(w.round(6), axis=0)) == 3


def test_the_constant_is_the_same_in_every_row():
    layer = layers.LearnedConstant(3)
    found = layer(_random(2, 5, 4)).numpy()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[:1], layer.constant)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (layers.EqualizedConv2D(3, 3, downsample=True, use_bias=False, gain=0.5), [(2, 8, 8, 2)]),
        (layers.EqualizedDense(3, activate=True, rate=0.1, bias=1.0), [(2, 4)]),
        (layers.LearnedConstant(3), [(2, 4)]),
        (layers.Mapping(3, depth=1, rate=0.1, classes=2), [(2, 4), (2, 2)]),
        (layers.MinibatchDeviation(2), [(2, 4, 4, 3)]),
        (layers.ModulatedConv2D(3, 1, demodulate=False), [(2, 4, 4, 3), (2, 5)]),
        (layers.Noise(seed=3), [(2, 4, 4, 3)]),
        (layers.Resample(0.5), [(2, 4, 4, 3)]),
        (layers.StyledConv2D(3, upsample=True, noise=False), [(2, 4, 4, 3), (2, 5)]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else "",
)
def test_layers_come_back_from_their_config(layer, inputs):
    arrays = [_random(*shape) for shape in inputs]
    expected = layer(*arrays)
    again = keras.layers.deserialize(keras.layers.serialize(layer))

    assert again.get_config() == layer.get_config()
    again(*arrays)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(*arrays), expected)
