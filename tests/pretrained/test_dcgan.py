"""The fetched DCGAN as a Keras model: numerics, names, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import dcgan

from . import numpy_dcgan, torch_files


def random_tensors(filters: tuple[int, ...], latent: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for name, shape in numpy_dcgan.shapes(filters, latent).items():
        if name.endswith("tracked"):
            tensors[name] = np.array(3)
        elif len(shape) > 1:
            # A pixel is reached by a quarter of a kernel.
            scale = (2.0 / (4 * shape[0])) ** 0.5
            tensors[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
        else:
            near = 0.0 if name.endswith(("bias", "running_mean")) else 1.0
            tensors[name] = (near + rng.uniform(-0.3, 0.3, shape)).astype(np.float32)
    return tensors


def test_outputs_equal_the_definition(tmp_path: Path) -> None:
    tensors = random_tensors((12, 8), 5)
    torch_files.write(tmp_path / dcgan.FILE, tensors)
    model = dcgan.build(latent=5, filters=(12, 8))
    report = dcgan.load_weights(model, tmp_path)
    assert len(report.loaded) == len(model.weights)
    assert all(name.endswith("tracked") for name in report.ignored)
    z = np.random.default_rng(1).standard_normal((3, 5))
    wanted = numpy_dcgan.forward(tensors, z)
    assert wanted.std() > 0.1
    np.testing.assert_allclose(model(z), wanted, atol=1e-5)


@pytest.mark.fetched
def test_the_fetched_weights_equal_numpy(weights: Callable[[str], Path]) -> None:
    reference = np.load(Path(__file__).parent / "fixtures" / "dcgan_parity.npz")
    model = dcgan.build()
    dcgan.load_weights(model, weights("dcgan_faces"))
    assert reference["pictures"].std() > 0.3
    found = np.asarray(model(reference["z"]))[:, ::3, ::3]
    np.testing.assert_allclose(found, reference["pictures"], atol=1e-5)


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"does not exist; run `kerasft fetch dcgan_faces`"):
        dcgan.load_weights(dcgan.build(latent=5, filters=(12, 8)), tmp_path)
    torch_files.write(tmp_path / dcgan.FILE, random_tensors((12, 8), 5))
    model = dcgan.build(latent=6, filters=(12, 8))
    before = [np.asarray(weight) for weight in model.weights]
    with pytest.raises(
        PretrainedError, match=r"main.0.weight has shape \(5, 12, 4, 4\).*not \(4, 4, 12, 6\)"
    ):
        dcgan.load_weights(model, tmp_path)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)
