"""A backbone of pictures for each frame, and a recurrent layer over what it sees."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from kerasft.vision.backbones import Backbone
from kerasft_video.config import NetworkConfig
from kerasft_video.models.base import Network
from kerasft_video.models.folding import Differences, EachFrame


class Attention(keras.layers.Layer):
    """An average over time in which each moment counts as much as it deserves.

    Args:
        name: Of the layer.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.score = layers.Dense(1, use_bias=False, dtype="float32", name="score")

    def build(self, input_shape: Any) -> None:
        self.score.build(input_shape)
        self.built = True

    def call(self, moments: Any) -> Any:
        shares = ops.softmax(self.score(moments), axis=1)
        return ops.sum(shares * moments, axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[-1])


def cnn_lstm(backbone: Backbone, config: NetworkConfig, *, frames: int, side: int, burst: int) -> Network:
    """Builds a network that sees frames one by one, and then what becomes of them.

    With a frozen backbone its features are computed once for all epochs.

    Args:
        backbone: From pictures to maps.
        config: `recurrent`, `units`, `sees` and `dropout` are read.
        frames: Of a clip.
        side: Of a frame.
        burst: Frames that are neighbours, see `sampling.burst`.
    """
    pool: Any = layers.GlobalAveragePooling2D if len(backbone.model.output.shape) == 4 else None
    pool = pool or layers.GlobalAveragePooling1D
    seen = keras.Model(
        backbone.model.input, pool(dtype="float32", name="pool")(backbone.model.output), name="frame"
    )
    each = EachFrame(seen, name="frames")
    clip = keras.Input((frames, side, side, 3), name="clip")
    places = frames // burst
    parts = []
    if config.sees == "frames":
        parts.append(each(clip))
    if config.sees == "both":
        # Neighbours look the same: one of a burst is enough.
        parts.append(each(clip[:, ::burst]))
    if config.sees != "frames":
        parts.append(_as_many(each(Differences(burst, name="differences")(clip)), places))
    added: list[keras.Layer] = []

    def own(layer: keras.Layer) -> keras.Layer:
        added.append(layer)
        return layer

    x: Any = layers.Concatenate(name="seen")(parts) if len(parts) > 1 else parts[0]
    x = own(layers.BatchNormalization(momentum=0.9, name="seen_norm"))(x)
    x = layers.Dropout(config.dropout, name="seen_dropout")(x)
    if config.recurrent == "none":
        features = layers.GlobalAveragePooling1D(name="features")(x)
        return _network(clip, features, backbone, added)
    x = own(layers.Dense(config.units, activation="relu", name="narrow"))(x)
    recurrent = layers.GRU if config.recurrent == "gru" else layers.LSTM
    x = own(layers.Bidirectional(recurrent(config.units, return_sequences=True), name="recurrent"))(x)
    features = own(Attention(name="features"))(x)
    return _network(clip, features, backbone, added)


def _network(clip: Any, features: Any, backbone: Backbone, added: list[keras.Layer]) -> Network:
    return Network(
        model=keras.Model(clip, features, name="cnn_lstm"),
        groups=backbone.groups,
        head=added,
        load=backbone.load,
    )


def _as_many(moments: Any, count: int) -> Any:
    """Brings moments to a number: averaged within a burst, the last once more where one is missing."""
    if moments.shape[1] == count - 1:
        return ops.concatenate([moments, moments[:, -1:]], axis=1)
    if moments.shape[1] == count:
        return moments
    within = ops.reshape(moments, (-1, count, moments.shape[1] // count, moments.shape[2]))
    return ops.mean(within, axis=2)
