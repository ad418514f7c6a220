"""Skeletons in motion: another pace, and random changes for training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.training import Augmentation
from kerasft_video.config import SkeletonConfig


def paced(xy: tf.Tensor, frames: int) -> tf.Tensor:
    """Returns skeletons in another number of frames, by linear interpolation over time.

    Args:
        xy: float32 `[batch, any, joints, dimensions]`.
        frames: How many there shall be.

    Example:
        >>> paced(tf.constant([0.0, 2.0, 4.0])[None, :, None, None], 5)[0, :, 0, 0].numpy().tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    count = tf.shape(xy)[1]
    places = tf.linspace(0.0, tf.cast(count - 1, tf.float32), frames)
    return _at(xy, tf.repeat(places[None], tf.shape(xy)[0], 0))


def _at(xy: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Returns skeletons at places between frames, `[batch, places]`."""
    last = tf.shape(xy)[1] - 1
    before = tf.clip_by_value(tf.cast(tf.floor(places), tf.int32), 0, last)
    share = (places - tf.cast(before, tf.float32))[..., None, None]
    after = tf.minimum(before + 1, last)
    return (1 - share) * tf.gather(xy, before, batch_dims=1) + share * tf.gather(xy, after, batch_dims=1)


class Changed(keras.layers.Layer):
    """Skeletons seen for a part of the time, mirrored, turned, larger or smaller, and a little off.

    Args:
        config: How much of each.
    """

    def __init__(self, config: SkeletonConfig) -> None:
        super().__init__(name="changed", dtype="float32")
        self.seed_generator = keras.random.SeedGenerator()
        self._config = config

    def call(self, xy: Any) -> Any:
        config, count = self._config, tf.shape(xy)[0]

        def drawn(least: float, most: float) -> tf.Tensor:
            return keras.random.uniform((count,), least, most, seed=self.seed_generator)

        frames = xy.shape[1]
        span = drawn(1 - config.crop, 1.0)
        begin = drawn(0.0, 1.0) * (1 - span)
        shares = begin[:, None] + span[:, None] * tf.linspace(0.0, 1.0, frames)[None]
        xy = _at(xy, shares * float(frames - 1))
        if config.flip:
            swapped = tf.gather(xy, self._swapped(xy.shape[2]), axis=2)
            sign = tf.constant([-1.0] + [1.0] * (xy.shape[3] - 1))
            xy = tf.where((drawn(0.0, 1.0) < 0.5)[:, None, None, None], swapped * sign, xy)
        angle = drawn(-1.0, 1.0) * (config.rotate * np.pi / 180)
        cos, sin = tf.cos(angle)[:, None, None], tf.sin(angle)[:, None, None]
        x, y = xy[..., 0], xy[..., 1]
        xy = tf.concat([tf.stack([cos * x - sin * y, sin * x + cos * y], -1), xy[..., 2:]], -1)
        xy *= drawn(1 - config.scale, 1 + config.scale)[:, None, None, None]
        size = tf.math.reduce_std(xy, axis=[1, 2, 3], keepdims=True)
        return xy + config.noise * size * keras.random.normal(tf.shape(xy), seed=self.seed_generator)

    def _swapped(self, joints: int) -> np.ndarray:
        order = np.arange(joints)
        for left, right in self._config.pairs:
            order[[left, right]] = right, left
        return order


def augmentation(config: SkeletonConfig) -> Augmentation | None:
    """Returns what a config asks for; None for nothing."""
    if not (config.crop or config.flip or config.rotate or config.scale or config.noise):
        return None
    layer = Changed(config)

    def change(features: dict[str, Any], targets: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {**features, "xy": layer(features["xy"])}, targets

    return Augmentation(change=change, layers=[layer])


def drawn(count: int, *, joints: int, dimensions: int, frames: int = 12, seed: int = 0) -> np.ndarray:
    """Draws skeletons that swing faster and slower in turn: the example of the task.

    Returns:
        float32 `[count, frames, joints, dimensions]`.
    """
    random = np.random.default_rng(seed)
    rest = random.normal(size=(count, 1, joints, dimensions))
    swing = random.normal(size=(count, 1, joints, dimensions)) * 0.3
    speed = np.where(np.arange(count) % 2, 4.0, 1.0)[:, None]
    time = np.sin(2 * np.pi * speed * np.linspace(0, 1, frames)[None])
    return (rest + swing * time[:, :, None, None]).astype(np.float32)
