"""DCGAN's generator, with the weights that `kerasft fetch dcgan_faces` brings, as a Keras model.

These were trained on drawn people (DigiFace-1M), so that their faces are nobody's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport
from kerasft.pretrained.readers import read_torch
from kerasft.pretrained.resolve import resolve

FILE = "weights.tar"
LATENT, FILTERS = 100, (512, 256, 128, 64)

_MODULE = "netG_state_dict.main"


def pretrained(
    source: str | os.PathLike[str] = "dcgan_faces",
    *,
    name: str = "dcgan",
    dtype: Any = None,
    progress: bool = True,
) -> keras.Model:
    """Returns the generator of faces with its weights, which are fetched if they are not cached.

    Args:
        source: A name of the catalogue, or a folder that holds the file.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.
        progress: Show download progress.

    Returns:
        From latents `[batch, 100]`, normally distributed, to pictures `[batch, 64, 64, 3]` from -1 to 1.

    Raises:
        PretrainedError: The weights cannot be had, or do not fit.

    Example:
        >>> faces = pretrained()(keras.random.normal((4, 100)))                # doctest: +SKIP
    """
    folder = resolve(source, progress=progress)
    model = build(name=name, dtype=dtype)
    load_weights(model, folder)
    return model


def build(
    *,
    latent: int = LATENT,
    filters: Sequence[int] = FILTERS,
    name: str = "dcgan",
    dtype: Any = None,
) -> keras.Model:
    """Builds a generator with random weights.

    Source: Radford, Metz and Chintala, 2016, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks".

    Args:
        latent: Length of a latent vector.
        filters: Channels at 4x4 and at each doubling but the last, which makes red, green and blue.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.

    Returns:
        From latents `[batch, latent]` to pictures, -1 to 1. The names of its layers begin with the resolution
        that they make, such as ``b8_conv``.

    Example:
        >>> build(latent=8, filters=(16, 8)).output.shape
        (None, 16, 16, 3)
    """
    normal = keras.initializers.RandomNormal(0.0, 0.02)
    z = keras.Input((latent,), name="z")
    x, side = keras.layers.Reshape((1, 1, latent), dtype=dtype, name="z_place")(z), 4
    for number, channels in enumerate((*filters, 3)):
        x = keras.layers.Conv2DTranspose(
            channels,
            4,
            strides=2 if number else 1,
            padding="same" if number else "valid",
            use_bias=False,
            kernel_initializer=normal,
            dtype=dtype,
            name=f"b{side}_conv",
        )(x)
        if number < len(filters):
            x = keras.layers.BatchNormalization(
                momentum=0.9,
                epsilon=1e-5,
                gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02),
                dtype=dtype,
                name=f"b{side}_norm",
            )(x)
            x = keras.layers.ReLU(dtype=dtype, name=f"b{side}_relu")(x)
        side *= 2
    return keras.Model(z, keras.layers.Activation("tanh", dtype=dtype, name="picture")(x), name=name)


def load_weights(model: keras.Model, folder: Path) -> LoadReport:
    """Copies the weights of a folder into a model that `build` made.

    Args:
        model: The model, with the sizes that `build` has by default.
        folder: Holds the file.

    Returns:
        What became of each tensor.

    Raises:
        PretrainedError: The file is missing, unreadable, or does not fit. The model is then unchanged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise PretrainedError(
            f"{path} does not exist; run `kerasft fetch dcgan_faces`, or give a folder that holds it"
        )
    places = []
    convolutions = [layer for layer in model.layers if layer.name.endswith("_conv")]
    for number, convolution in enumerate(convolutions):
        # Of the file's modules, every third is a convolution, the next its normalisation.
        theirs = f"{_MODULE}.{3 * number}"
        places.append(Place(tensor=f"{theirs}.weight", variable=convolution.kernel, layout=_turned))
        if convolution is convolutions[-1]:
            break
        norm, theirs = model.get_layer(f"{convolution.name[:-5]}_norm"), f"{_MODULE}.{3 * number + 1}"
        places += [
            Place(tensor=f"{theirs}.weight", variable=norm.gamma),
            Place(tensor=f"{theirs}.bias", variable=norm.beta),
            Place(tensor=f"{theirs}.running_mean", variable=norm.moving_mean),
            Place(tensor=f"{theirs}.running_var", variable=norm.moving_variance),
        ]
    return fill(places, read_torch(path), source=path)


def _turned(kernel: Any) -> Any:
    """From `[in, out, height, width]`."""
    return kernel.transpose(2, 3, 1, 0)
