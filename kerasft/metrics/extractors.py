"""Networks that turn pictures into features, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError, PretrainedError

NAMES = ("random:v1", "vgg16", "efficientnet_lite0", "inception")


class Extractor:
    """From pictures to features.

    Args:
        name: For results.
        call: From float32 `[batch, size, size, 3]`, 0 to 255, to `[batch, features]`.
        size: Side that pictures are resized to; None leaves them.
        digest: Hash of the weights.
        lasting: Whether name and digest mean the same in another process, so that features can be kept.
    """

    def __init__(
        self,
        *,
        name: str,
        call: Callable[[Any], Any],
        size: int | None,
        digest: str,
        lasting: bool = True,
    ) -> None:
        self.name = name
        self.lasting = lasting
        self.digest = digest
        self._call = call
        self._size = size

    @property
    def identity(self) -> str:
        """Name, size of the pictures, and hash of the weights."""
        return f"{self.name}@{self._size or 'own'}-{self.digest}"

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Returns float32 `[pictures, features]` for uint8 `[pictures, height, width, 3]`."""
        values = resize(pictures, self._size) if self._size is not None else pictures.astype(np.float32)
        return np.asarray(self._call(values), np.float32)


def extractor(source: str | keras.Model | Callable[[Any], Any]) -> Extractor:
    """Returns an extractor.

    Args:
        source: "vgg16" (mean of block4_conv3 at 64x64, by the weights of `kerasft fetch vgg16`),
            "efficientnet_lite0" (mean of its features at 224x224, by those of `kerasft fetch
            efficientnet_lite0`), "inception" (the last pooling of `keras.applications.InceptionV3` at
            299x299, which is not the Inception of published FIDs), "random:v1" (fixed random convolutions at
            32x32: quick, needs no weights, and can mislead), a Keras model with one input and one output
            (pictures from 0 to 255; averaged over height and width), or a function, whose features cannot be
            kept.

    Raises:
        ConfigError: There is no such extractor.
        PretrainedError: Its weights cannot be had.

    Example:
        >>> extractor("random:v1")(np.zeros((2, 32, 32, 3), np.uint8)).shape
        (2, 512)
    """
    if isinstance(source, keras.Model):
        side = source.input_shape[1]
        return Extractor(
            name=source.name, call=_pooled(source), size=side, digest=digest_of(source.get_weights())
        )
    if callable(source):
        name = getattr(source, "__qualname__", type(source).__qualname__)
        return Extractor(name=name, call=source, size=None, digest=f"{id(source):x}", lasting=False)
    if source == "random:v1":
        return _random_v1()
    if source == "vgg16":
        from kerasft.pretrained.converters import vgg16

        whole = vgg16.pretrained(input_shape=(64, 64, 3), dtype="float32")
        model = keras.Model(whole.input, whole.get_layer("block4_conv3").output)
        return Extractor(name="vgg16", call=_pooled(model), size=64, digest=digest_of(model.get_weights()))
    if source == "efficientnet_lite0":
        from kerasft.pretrained.converters import efficientnet_lite0

        model = efficientnet_lite0.pretrained(input_shape=(224, 224, 3), dtype="float32")
        return Extractor(name=source, call=_pooled(model), size=224, digest=digest_of(model.get_weights()))
    if source == "inception":
        return _inception()
    raise ConfigError(
        f"extractor: there is no {source!r}; take {', '.join(NAMES)}, a Keras model or a function"
    )


def resize(pictures: np.ndarray, side: int) -> np.ndarray:
    """Resizes as clean-fid does: Pillow's antialiased bicubic filter on each channel in float32.

    Source: Parmar et al., 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation".

    Args:
        pictures: uint8 `[pictures, height, width, 3]`.
        side: Height and width of the result.

    Returns:
        float32 `[pictures, side, side, 3]`, 0 to 255.
    """
    from PIL import Image

    if pictures.shape[1:3] == (side, side):
        return pictures.astype(np.float32)
    result = np.empty((len(pictures), side, side, 3), np.float32)
    for picture, resized in zip(pictures, result, strict=True):
        for channel in range(3):
            plane = Image.fromarray(picture[..., channel].astype(np.float32))
            resized[..., channel] = plane.resize((side, side), Image.Resampling.BICUBIC)
    return result.clip(0.0, 255.0)


def _pooled(model: keras.Model) -> Callable[[Any], Any]:
    @tf.function(reduce_retracing=True, autograph=False)
    def call(pictures: Any) -> Any:
        features = model(pictures, training=False)
        return tf.reduce_mean(features, axis=[1, 2]) if features.shape.rank == 4 else features

    return lambda pictures: call(tf.constant(pictures)).numpy()


def random_kernels() -> list[np.ndarray]:
    """Returns the kernels of "random:v1", float32 `[3, 3, in, out]`."""
    # RandomState, because its numbers are promised never to change.
    random, kernels, channels = np.random.RandomState(1234), [], 3
    for filters in (32, 64, 128):
        kernel = random.standard_normal((3, 3, channels, filters)) * np.sqrt(2.0 / (9 * channels))
        kernels.append(kernel.astype(np.float32))
        channels = filters
    return kernels


def _random_v1() -> Extractor:
    kernels = random_kernels()
    digest = digest_of(kernels)

    @tf.function(reduce_retracing=True, autograph=False)
    def call(pictures: Any) -> Any:
        x, found = pictures / 127.5 - 1.0, []
        for kernel in kernels:
            x = tf.nn.leaky_relu(tf.nn.conv2d(x, kernel, 1, "SAME"), 0.2)
            mean, variance = tf.nn.moments(x, [1, 2])
            found += [mean, tf.sqrt(variance + 1e-6)]
            x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
        layout = tf.nn.avg_pool2d(x, 2, 2, "SAME")[..., :16]
        return tf.concat([*found, tf.reshape(layout, [tf.shape(x)[0], 4 * 16])], axis=1)

    return Extractor(name="random:v1", call=lambda x: call(tf.constant(x)).numpy(), size=32, digest=digest)


def _inception() -> Extractor:
    try:
        model = keras.applications.InceptionV3(include_top=False, pooling="avg", weights="imagenet")
    except Exception as error:  # Keras raises whatever its download met
        raise PretrainedError(
            f"the weights of keras.applications.InceptionV3 cannot be downloaded ({error}); connect to a "
            "network, or take the extractor vgg16, which pip fetches"
        ) from error
    pooled = _pooled(model)
    return Extractor(
        name="inception",
        call=lambda pictures: pooled(pictures / 127.5 - 1.0),
        size=299,
        digest=digest_of(model.get_weights()),
    )


def digest_of(arrays: Sequence[np.ndarray]) -> str:
    """Returns a hash of arrays, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
