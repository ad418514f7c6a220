"""A backbone of pictures, inflated to see motion: I3D (Carreira and Zisserman 2017)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasft.errors import ConfigError
from kerasft.vision.backbones import Backbone
from kerasft_video.models.base import Network
from kerasft_video.models.folding import EachFrame

SPAN = 3
"""Frames that an inflated convolution sees at once."""


class Inflated(keras.layers.Layer):
    """A convolution of pictures that also goes over neighbouring frames.

    It takes all frames of all clips as one batch of pictures, as the layers around it do. Before the first
    and after the last frame the clip stands still, so a clip that stands still gives what its picture does.

    Args:
        flat: The convolution, or depthwise convolution, that it is made from.
        frames: Of a clip.
    """

    def __init__(self, flat: keras.layers.Layer, *, frames: int) -> None:
        super().__init__(name=flat.name, dtype=flat.dtype_policy)
        self.flat_config, self.frames = flat.get_config(), frames
        self._depthwise = isinstance(flat, keras.layers.DepthwiseConv2D)
        self._strides, self._padding = flat.strides, flat.padding
        self._dilation = flat.dilation_rate
        self._activation, self._use_bias = flat.activation, flat.use_bias
        self._kernel_shape = tuple(flat.kernel.shape)

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(SPAN, *self._kernel_shape), initializer="glorot_uniform"
        )
        self.bias = None
        if self._use_bias:
            outputs = self._kernel_shape[-1] * (self._kernel_shape[-2] if self._depthwise else 1)
            self.bias = self.add_weight(name="bias", shape=(outputs,), initializer="zeros")

    def inflate(self, flat: keras.layers.Layer) -> None:
        """Takes the weights of the convolution of pictures, spread evenly over time."""
        self.kernel.assign(ops.repeat(ops.expand_dims(flat.kernel, 0), SPAN, 0) / SPAN)
        if self.bias is not None:
            self.bias.assign(flat.bias)

    def call(self, pictures: Any) -> Any:
        side = pictures.shape[1:]
        clips = ops.reshape(pictures, (-1, self.frames, *side))
        before, after = [clips[:, :1]] * (SPAN // 2), [clips[:, -1:]] * (SPAN // 2)
        longer = ops.concatenate([*before, clips, *after], axis=1)
        convolve = ops.depthwise_conv if self._depthwise else ops.conv
        outputs: Any = 0
        for place in range(SPAN):
            shifted = ops.reshape(longer[:, place : place + self.frames], (-1, *side))
            outputs = outputs + convolve(
                shifted,
                self.kernel[place],
                strides=self._strides,
                padding=self._padding,
                dilation_rate=self._dilation,
            )
        if self.bias is not None:
            outputs = outputs + self.bias
        return self._activation(outputs)


def inflated(backbone: Backbone, *, frames: int, side: int) -> Network:
    """Builds a network for clips from a backbone of pictures; time keeps its length until the end.

    Convolutions that see more than one pixel see neighbouring frames too, with the weights of the backbone
    divided by their number; all other layers are as they are. The features are averaged over time.

    Args:
        backbone: A functional model without models in it.
        frames: Of a clip.
        side: Of a frame.

    Raises:
        ConfigError: The backbone has models in it.
    """
    flat = backbone.model
    if any(isinstance(layer, keras.Model) for layer in flat.layers):
        raise ConfigError(
            "network.backbone: i3d takes a backbone of one piece, such as efficientnet_lite0 or one of "
            "keras.applications; this one is made of several."
        )

    def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
        kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        if isinstance(layer, kinds) and max(layer.kernel_size) > 1:
            return Inflated(layer, frames=frames)
        return type(layer).from_config(layer.get_config())

    deep = keras.models.clone_model(flat, clone_function=cloned)
    # Frames are folded into the batch, and the layers of `deep` see all of a clip: no frame stands alone.
    pooled = keras.Model(
        deep.input, keras.layers.GlobalAveragePooling2D(dtype="float32")(deep.output), name="frames"
    )
    clip = keras.Input((frames, side, side, 3), name="clip")
    features = keras.layers.GlobalAveragePooling1D(name="features")(EachFrame(pooled, name="i3d")(clip))

    def transfer() -> None:
        for source in flat.layers:
            target = deep.get_layer(source.name)
            if isinstance(target, Inflated):
                target.inflate(source)
            elif source.weights:
                target.set_weights(source.get_weights())

    def load() -> None:
        if backbone.load is not None:
            backbone.load()
        transfer()

    transfer()
    groups = {
        name: [deep.get_layer(layer.name) for layer in layers] for name, layers in backbone.groups.items()
    }
    return Network(model=keras.Model(clip, features, name="i3d"), groups=groups, load=load)
