"""The fetched VGG16 as a Keras model: numerics, names, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import vgg16

from . import numpy_vgg16

LAST = tuple(f"block{block}_conv{2 if block < 3 else 3}" for block in range(1, 6))


def write(folder: Path, tensors: dict[str, Any]) -> Path:
    with h5py.File(folder / vgg16.FILE, "w") as file:
        for name, tensor in tensors.items():
            file[name] = tensor
    return folder


def random_tensors() -> dict[str, Any]:
    """As large as He initialisation makes them, so that every block matters."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.standard_normal(shape) * (2.0 / np.prod(shape[:-1])) ** 0.5).astype(np.float32)
        for name, shape in numpy_vgg16.shapes().items()
    }


def blocks(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, [model.get_layer(name).output for name in LAST])


def test_outputs_equal_the_definition(tmp_path: Path) -> None:
    tensors = random_tensors()
    folder = write(tmp_path, {**tensors, "fuse/vars/0": np.zeros((1, 1, 5, 1))})
    model = vgg16.build()
    report = vgg16.load_weights(model, folder)
    assert set(report.loaded) == set(tensors)
    assert report.ignored == ("fuse/vars/0",)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 33, 32, 3))
    expected = numpy_vgg16.forward(tensors, pictures)
    for found, wanted in zip(blocks(model)(pictures), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert model(pictures).shape == (2, 1, 1, 512)


def test_it_survives_saving(tmp_path: Path) -> None:
    model = vgg16.build(input_shape=(32, 32, 3), name="features")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    pictures = np.full((1, 32, 32, 3), 200.0, np.float32)
    np.testing.assert_array_equal(again(pictures), model(pictures))
    assert again.name == "features"


@pytest.mark.fetched
def test_the_fetched_weights_equal_numpy(weights: Callable[[str], Path]) -> None:
    reference = np.load(Path(__file__).parent / "fixtures" / "vgg16_parity.npz")
    model = vgg16.build()
    vgg16.load_weights(model, weights("vgg16"))
    for number, found in enumerate(blocks(model)(reference["pictures"]), start=1):
        wanted = reference[f"block{number}"]
        assert wanted.std() > 1.0  # block by block, something is seen
        np.testing.assert_allclose(
            np.asarray(found)[:, ::7, ::7, ::3], wanted, atol=1e-5 * wanted.max(), err_msg=str(number)
        )


def test_missing_and_wrong_tensors_are_named_and_change_nothing(tmp_path: Path) -> None:
    tensors = random_tensors()
    model = vgg16.build()
    before = [np.asarray(weight) for weight in model.weights]
    gone = tensors.pop("block2/layers/conv2d/vars/1")
    with pytest.raises(PretrainedError, match=r"lack block2/layers/conv2d/vars/1$"):
        vgg16.load_weights(model, write(tmp_path, tensors))
    tensors["block2/layers/conv2d/vars/1"] = gone[:5]
    with pytest.raises(PretrainedError, match=r"conv2d/vars/1 has shape \(5,\), .* not \(128,\)"):
        vgg16.load_weights(model, write(tmp_path, tensors))
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"does not exist; run `kerasft fetch vgg16`"):
        vgg16.load_weights(vgg16.build(), tmp_path)
    (tmp_path / vgg16.FILE).write_bytes(b"not HDF5")
    with pytest.raises(PretrainedError, match="no HDF5 file, or is cut short"):
        vgg16.load_weights(vgg16.build(), tmp_path)


def test_it_needs_no_keras_hub() -> None:
    code = "import sys; sys.modules['keras_hub'] = None; import kerasft.pretrained.converters.vgg16"
    subprocess.run([sys.executable, "-c", code], check=True)
