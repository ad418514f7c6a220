"""Augmentation with the layers of Keras: of pictures alone, and of pictures together with their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from kerasft.training import Augmentation
from kerasft_image.config import AugmentConfig

_RANGE = (0, 255)


def augmentation(
    config: AugmentConfig, *, target: str, hot: Callable[[Any], tf.Tensor]
) -> Augmentation | None:
    """Returns what a config asks for, in the order in which it is applied; None for nothing.

    Pictures are flipped, moved, turned and zoomed, then recoloured, then RandAugment (Cubuk et al. 2019)
    picks two changes, then a part is erased (Zhong et al. 2017). Last, pairs of pictures and their labels are
    mixed: MixUp (Zhang et al. 2017) blends, CutMix (Yun et al. 2019) pastes; with both, each batch gets one
    of them.

    Args:
        config: What to do.
        target: Name of the target.
        hot: Turns targets into float32 `[batch, labels]`, so that they can be mixed.
    """
    alone, mixing = _alone(config), _mixing(config)
    if not alone and not mixing:
        return None
    chance = keras.layers.Dropout(0.5, dtype="float32") if len(mixing) > 1 else None

    def change(features: dict[str, Any], targets: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        picture = tf.cast(features["image"], tf.float32)
        for layer in alone:
            picture = layer(picture, training=True)
        if mixing:
            pair = {"images": picture, "labels": hot(targets[target])}
            pair = _mixed(pair, mixing, chance)
            picture, targets = pair["images"], {**targets, target: pair["labels"]}
        return {**features, "image": tf.clip_by_value(picture, *map(float, _RANGE))}, targets

    drawing = [*alone, *mixing] + ([chance] if chance is not None else [])
    return Augmentation(change=change, layers=drawing)


def _mixed(
    pair: dict[str, Any], mixing: list[keras.Layer], chance: keras.Layer | None
) -> dict[str, tf.Tensor]:
    if chance is None:
        return mixing[0](pair, training=True)
    first = tf.reduce_sum(chance(tf.ones([1]), training=True)) > 0.0
    return tf.cond(first, lambda: mixing[0](pair, training=True), lambda: mixing[1](pair, training=True))


def _alone(config: AugmentConfig) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    # float32 whatever the precision of the model: in halves, neighbouring greys become one.
    plain: dict[str, Any] = {"dtype": "float32"}
    moving: dict[str, Any] = {**plain, "fill_mode": "reflect"}
    if config.flip != "none":
        mode = {"both": "horizontal_and_vertical"}.get(config.flip, config.flip)
        found.append(layers.RandomFlip(mode, **plain))
    if config.shift:
        found.append(layers.RandomTranslation(config.shift, config.shift, interpolation="nearest", **moving))
    if config.rotate:
        found.append(layers.RandomRotation(config.rotate / 360, **moving))
    if config.zoom:
        found.append(layers.RandomZoom(config.zoom, **moving))
    if config.brightness:
        found.append(layers.RandomBrightness(config.brightness, value_range=_RANGE, **plain))
    if config.contrast:
        found.append(layers.RandomContrast(config.contrast, value_range=_RANGE, **plain))
    if config.rand_augment:
        found.append(layers.RandAugment(value_range=_RANGE, factor=config.rand_augment, **plain))
    if config.erase:
        found.append(layers.RandomErasing(factor=(config.erase, config.erase), value_range=_RANGE, **plain))
    return found


def _mixing(config: AugmentConfig) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    if config.mixup:
        found.append(layers.MixUp(alpha=config.mixup, dtype="float32"))
    if config.cutmix:
        found.append(layers.CutMix(factor=config.cutmix, dtype="float32"))
    return found
