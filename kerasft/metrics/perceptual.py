"""How different two pictures look, as a number that has a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.metrics.extractors import digest_of, random_kernels

NAMES = ("random:v1", "vgg16")
_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
_LARGEST = 256


class Perceptual:
    """The distance of feature maps at several depths of a network.

    Each map is scaled to length 1 over its channels; squared differences are averaged over the places and
    summed over the depths. The weights that the paper learns for its channels are all 1 here.
    Source: Zhang et al., 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

    Args:
        name: For results.
        maps: From float32 `[batch, side, side, 3]`, 0 to 255, to maps `[batch, height, width, channels]`.
        digest: Hash of the weights.
    """

    def __init__(self, *, name: str, maps: Callable[[Any], Sequence[Any]], digest: str) -> None:
        self.name = name
        self._maps = maps
        self._digest = digest

    @property
    def identity(self) -> str:
        """Name and hash of the weights."""
        return f"{self.name}-{self._digest}"

    def __call__(self, one: Any, other: Any) -> tf.Tensor:
        """Returns the distances, float32 `[batch]`.

        Args:
            one: float32 `[batch, side, side, 3]`, 0 to 255; what is larger than 256 is averaged down to it.
            other: As many of the same size.
        """
        return self.towards(other)(one)

    def towards(self, target: Any) -> Callable[[Any], tf.Tensor]:
        """Returns the distance from pictures to fixed ones, whose maps are made once.

        Args:
            target: float32 `[batch, side, side, 3]`, 0 to 255.
        """
        fixed = self._unit_maps(target)

        def distance(pictures: Any) -> tf.Tensor:
            total = tf.zeros(tf.shape(pictures)[0])
            for a, b in zip(self._unit_maps(pictures), fixed, strict=True):
                total += tf.reduce_mean(tf.reduce_sum(tf.square(a - b), axis=3), axis=[1, 2])
            return total

        return distance

    def _unit_maps(self, pictures: Any) -> list[Any]:
        factor = max(1, pictures.shape[1] // _LARGEST)
        if factor > 1:
            pictures = tf.nn.avg_pool2d(pictures, factor, factor, "VALID")
        return [_unit(x) for x in self._maps(pictures)]


def perceptual(source: str | keras.Model) -> Perceptual:
    """Returns a perceptual distance.

    Args:
        source: "vgg16" (four blocks of the weights of `kerasft fetch vgg16`), "random:v1" (fixed random
            convolutions: quick, needs no weights, and sees less than people do), or a Keras model whose
            outputs are maps, of pictures from 0 to 255.

    Raises:
        ConfigError: There is no such extractor, or the outputs of the model are no maps.
        PretrainedError: Its weights cannot be had.

    Example:
        >>> distance = perceptual("random:v1")
        >>> black, white = tf.zeros([1, 16, 16, 3]), tf.fill([1, 16, 16, 3], 255.0)
        >>> float(distance(black, black)[0]), float(distance(black, white)[0]) > 1
        (0.0, True)
    """
    if isinstance(source, keras.Model):
        if any(len(output.shape) != 4 for output in source.outputs):
            raise ConfigError(
                f"extractor: the outputs of the model {source.name} have to be maps [batch, height, width, "
                "channels]; make a model that ends in its convolutions"
            )
        return Perceptual(name=source.name, maps=_outputs(source), digest=digest_of(source.get_weights()))
    if source == "random:v1":
        kernels = random_kernels()
        return Perceptual(name=source, maps=lambda x: _random_maps(x, kernels), digest=digest_of(kernels))
    if source == "vgg16":
        from kerasft.pretrained.converters import vgg16

        whole = vgg16.pretrained(dtype="float32")
        model = keras.Model(whole.input, [whole.get_layer(name).output for name in _LAYERS])
        return Perceptual(name=source, maps=_outputs(model), digest=digest_of(model.get_weights()))
    raise ConfigError(
        f"extractor: there is no {source!r} with feature maps; take {', '.join(NAMES)} or a Keras model"
    )


def _outputs(model: keras.Model) -> Callable[[Any], Sequence[Any]]:
    def maps(pictures: Any) -> Sequence[Any]:
        found = model(pictures, training=False)
        return found if isinstance(found, (list, tuple)) else [found]

    return maps


def _random_maps(pictures: Any, kernels: Sequence[Any]) -> list[Any]:
    x, found = pictures / 127.5 - 1.0, []
    for kernel in kernels:
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, kernel, 1, "SAME"), 0.2)
        found.append(x)
        x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
    return found


def _unit(x: Any) -> tf.Tensor:
    return x * tf.math.rsqrt(tf.reduce_sum(tf.square(x), axis=3, keepdims=True) + 1e-8)
