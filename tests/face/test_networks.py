from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft_face.config import FaceConfig
from kerasft_face.networks import Discriminator, Generator
from kerasft_face.networks.plan import Plan


def _networks(side: int, *, classes: int = 0, base: int = 64) -> tuple[Generator, Discriminator]:
    plan = Plan(resolution=side, base=base, max_channels=8)
    generator = Generator(plan, z_dim=4, w_dim=6, depth=1, classes=classes)
    return generator, Discriminator(plan, classes=classes, depth=1)


@pytest.mark.parametrize("side", [8, 64])
def test_pictures_come_out_and_scores_of_them(side):
    generator, discriminator = _networks(side)
    pictures = generator(tf.random.stateless_normal([3, 4], [1, 2]))

    assert pictures.shape == (3, side, side, 3)
    assert discriminator(pictures).shape == (3,)
    assert generator.styles == 2 * np.log2(side) - 2
    assert len({picture.tobytes() for picture in pictures.numpy()}) == 3


def test_channels_grow_towards_small_pictures():
    generator, discriminator = _networks(64, base=256)
    assert [generator.plan.channels(side) for side in (4, 16, 32, 64)] == [8, 8, 8, 4]
    shapes = {v.path: v.shape for v in generator.trainable_variables}
    assert shapes["b64_conv_0/convolution/kernel"] == (3, 3, 8, 4)
    shapes = {v.path: v.shape for v in discriminator.trainable_variables}
    assert shapes["b64_conv_1/kernel"] == (3, 3, 4, 8)
    assert shapes["b4_conv/kernel"] == (3, 3, 9, 8)


@pytest.mark.parametrize(
    ("preset", "resolution", "channels"),
    [
        ("micro", 32, (32, 16)),
        ("paper256", 256, (512, 64)),
        ("paper512", 512, (512, 64)),
        ("stylegan2", 1024, (512, 32)),
    ],
)
def test_presets_have_the_published_sizes(preset, resolution, channels):
    config = FaceConfig(preset=preset)
    network = config.network
    plan = Plan(resolution=config.resolution, base=network.base, max_channels=network.max_channels)
    assert plan.resolution == resolution
    assert (plan.channels(4), plan.channels(resolution)) == channels


def test_layers_have_as_many_weights_as_the_published_ones():
    plan = Plan(resolution=8, base=16_384, max_channels=512)
    generator = Generator(plan, z_dim=512, w_dim=512, depth=8)
    discriminator = Discriminator(plan)
    mapping, constant, convolution, colour = 8 * 262_656, 8_192, 2_622_465, 264_195
    skip, plain, last, dense, score = 262_144, 2_359_808, 2_364_416, 4_194_816, 513

    def weights(network: keras.Model) -> int:
        return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)

    assert weights(generator) == mapping + constant + 3 * convolution + 2 * colour
    assert weights(discriminator) == 2_048 + skip + 2 * plain + last + dense + score


def test_an_own_value_wins_over_the_preset():
    config = FaceConfig(preset="paper256", resolution=64, network={"base": 128}, training={"batch_size": 8})
    assert (config.resolution, config.network.base, config.network.group) == (64, 128, 8)
    assert (config.training.batch_size, config.training.learning_rate) == (8, 2.5e-3)
    assert FaceConfig(resolution=64, game={"gamma": None}).gamma == pytest.approx(0.0002 * 64**2 / 16)


def test_labels_matter_to_both_networks():
    generator, discriminator = _networks(8, classes=3)
    z, labels = tf.repeat(tf.random.stateless_normal([1, 4], [1, 2]), 3, axis=0), tf.eye(3)
    pictures = generator(z, labels)
    assert len(np.unique(pictures.numpy().reshape(3, -1).round(5), axis=0)) == 3
    same = tf.repeat(pictures[:1], 3, axis=0)
    assert len(np.unique(discriminator(same, labels).numpy().round(6))) == 3


def test_truncation_leads_to_the_average_face():
    generator, _ = _networks(8)
    z = tf.random.stateless_normal([4, 4], [1, 2])
    generator.mapping(z, training=True)
    average = generator.synthesis(generator.broadcast(generator.mapping.average[None]))
    np.testing.assert_allclose(generator(z, truncation=tf.zeros(4)), tf.repeat(average, 4, 0), atol=1e-5)
    np.testing.assert_allclose(generator(z, truncation=tf.ones(4)), generator(z), atol=1e-5)


@pytest.mark.parametrize("kind", [0, 1])
def test_networks_come_back_from_their_config(kind):
    network = _networks(16, classes=2)[kind]
    again = type(network).from_config(network.get_config())
    assert again.get_config() == network.get_config()
    again.set_weights(network.get_weights())
    rows = [tf.random.stateless_normal(shape, [1, 2]) for shape in ([2, 4], [2, 16, 16, 3])]
    np.testing.assert_array_equal(again(rows[kind], tf.eye(2)), network(rows[kind], tf.eye(2)))


def test_half_precision_is_for_high_resolutions_only():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        plan = Plan(resolution=32, base=64, max_channels=8, mixed_blocks=2)
        generator, discriminator = Generator(plan, z_dim=4, w_dim=4, depth=1), Discriminator(plan)
    finally:
        keras.config.set_dtype_policy("float32")
    for network in (generator.synthesis, discriminator.body):
        halves = {
            layer.name for layer in network.layers if layer.compute_dtype == "float16" and layer.weights
        }
        assert {name.split("_")[0] for name in halves} == {"b16", "b32"}
    pictures = generator(100.0 * tf.random.stateless_normal([2, 4], [1, 2]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(discriminator(pictures))
    gradients = tape.gradient(loss, [v.value for v in discriminator.trainable_variables])
    assert pictures.dtype == loss.dtype == tf.float32
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("policy", ["mixed_float16", "float32"])
def test_half_precision_alone_cuts_what_a_convolution_makes_to_256(policy):
    keras.config.set_dtype_policy(policy)
    try:
        plan = Plan(resolution=8, base=32, max_channels=4)
        synthesis, body = Generator(plan, z_dim=4, w_dim=4, depth=1).synthesis, Discriminator(plan).body
        networks = {"b8_conv_1": synthesis, "b8_colour": synthesis, "b8_conv_0": body, "b8_skip": body}
        parts = {
            network.get_layer(name): keras.Model(network.input, network.get_layer(name).output)
            for name, network in networks.items()
        }
    finally:
        keras.config.set_dtype_policy("float32")
    for layer, part in parts.items():
        for weight in layer.trainable_weights:
            # Colour gets its bias in full precision.
            if weight.path.split("/")[-2:] != ["b8_colour", "bias"]:
                weight.assign(tf.fill(weight.shape, 1e4))
        made = part(tf.ones([1, *part.input_shape[1:]])).numpy()
        peak = np.abs(made).max()
        assert peak == 256.0 if policy == "mixed_float16" else peak > 1e3, layer.name


def test_half_precision_makes_the_same_picture():
    made = {}
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(0)
            generator = Generator(Plan(resolution=16, base=64, max_channels=8), z_dim=4, w_dim=4, depth=1)
            # Far beyond float16 if styles were not normalised first.
            generator.synthesis.get_layer("b16_conv_1").convolution.affine.bias.assign([1e5] * 4)
            made[policy] = generator(tf.random.stateless_normal([2, 4], [1, 2])).numpy()
        finally:
            keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(made["mixed_float16"], made["float32"], atol=0.02)
