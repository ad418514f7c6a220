"""Random changes of training clips, the same for all frames of a clip."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft.training import Augmentation
from kerasft_video.config import AugmentConfig


def augmentation(config: AugmentConfig) -> Augmentation | None:
    """Returns what a config asks for, in the order mirrored, moved, recoloured; None for nothing."""
    layers: list[keras.layers.Layer] = []
    if config.flip:
        layers.append(keras.layers.RandomFlip("horizontal", dtype="float32"))
    if config.shift:
        move = keras.layers.RandomTranslation(
            config.shift, config.shift, fill_mode="reflect", dtype="float32"
        )
        layers.append(move)
    if config.brightness:
        layers.append(keras.layers.RandomBrightness(config.brightness, value_range=(0, 255), dtype="float32"))
    if not layers:
        return None

    def change(features: dict[str, Any], targets: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        clip = tf.cast(features["clip"], tf.float32)
        frames, height, width, channels = clip.shape[1:]
        # The layers draw once for each picture: a clip is one, with the channels of all its frames.
        picture = tf.reshape(tf.transpose(clip, [0, 2, 3, 1, 4]), [-1, height, width, frames * channels])
        for layer in layers:
            picture = layer(picture, training=True)
        apart = tf.reshape(picture, [-1, height, width, frames, channels])
        return {**features, "clip": tf.transpose(apart, [0, 3, 1, 2, 4])}, targets

    return Augmentation(change=change, layers=layers)
