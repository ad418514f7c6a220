"""The fetched EfficientNet-Lite0 as a Keras model: numerics, names, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import efficientnet_lite0

from . import numpy_efficientnet_lite0, torch_files

LAST = (
    "stage1_block1_project_norm",
    "stage2_block2_add",
    "stage3_block2_add",
    "stage4_block3_add",
    "stage5_block3_add",
    "stage6_block4_add",
    "stage7_block1_project_norm",
)


def random_tensors() -> dict[str, Any]:
    """As large as He initialisation makes them, with statistics that are no identity."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for name, shape in numpy_efficientnet_lite0.shapes().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = np.array(3)
        elif len(shape) > 1:
            values = rng.standard_normal(shape) * (2.0 / np.prod(shape[1:])) ** 0.5
            tensors[name] = values.astype(np.float32)
        else:
            near = 0.0 if name.endswith(("bias", "running_mean")) else 1.0
            tensors[name] = (near + rng.uniform(-0.3, 0.3, shape)).astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    return random_tensors()


@pytest.fixture(scope="module")
def folder(tensors: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("efficientnet")
    torch_files.write(folder / efficientnet_lite0.FILE, tensors)
    return folder


def outputs(model: keras.Model) -> keras.Model:
    names = (*LAST, "head_relu", "classifier")
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


def test_outputs_equal_the_definition(folder: Path, tensors: dict[str, Any]) -> None:
    model = efficientnet_lite0.build(include_top=True)
    report = efficientnet_lite0.load_weights(model, folder)
    assert report.ignored == tuple(sorted(name for name in tensors if name.endswith("tracked")))
    assert len(report.loaded) == len(model.weights)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 65, 64, 3))
    made, features, logits = numpy_efficientnet_lite0.forward(tensors, pictures)
    for found, wanted in zip(outputs(model)(pictures), [*made, features, logits], strict=True):
        assert wanted.std() > 1e-2
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


def test_features_are_those_of_the_classifier(folder: Path) -> None:
    model = efficientnet_lite0.build(input_shape=(64, 64, 3), name="features")
    report = efficientnet_lite0.load_weights(model, folder)
    assert {"_fc.weight", "_fc.bias"} <= set(report.ignored)
    whole = efficientnet_lite0.build(include_top=True)
    efficientnet_lite0.load_weights(whole, folder)
    pictures = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    pooled = keras.ops.mean(model(pictures), axis=(1, 2))
    np.testing.assert_allclose(whole.get_layer("classifier")(pooled), whole(pictures), rtol=1e-4, atol=1e-4)


def test_stages_hold_all_weights_in_order() -> None:
    model = efficientnet_lite0.build(include_top=True)
    groups = efficientnet_lite0.stages(model)
    assert list(groups) == ["stem", *(f"stage{n}" for n in range(1, 8)), "head", "classifier"]
    grouped = [weight.path for layers in groups.values() for layer in layers for weight in layer.weights]
    assert sorted(grouped) == sorted(weight.path for weight in model.weights)
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 4_652_008
    assert "classifier" not in efficientnet_lite0.stages(efficientnet_lite0.build())


def test_half_precision_ends_in_whole_logits() -> None:
    model = efficientnet_lite0.build(include_top=True, dtype="mixed_bfloat16")
    assert model.get_layer("head_relu").compute_dtype == "bfloat16"
    assert model(np.zeros((1, 32, 32, 3))).dtype == "float32"


def test_it_survives_saving(tmp_path: Path) -> None:
    model = efficientnet_lite0.build(input_shape=(32, 32, 3), name="features")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    pictures = np.full((1, 32, 32, 3), 200.0, np.float32)
    np.testing.assert_array_equal(again(pictures), model(pictures))


def test_missing_and_wrong_tensors_are_named_and_change_nothing(
    tmp_path: Path, tensors: dict[str, Any]
) -> None:
    model = efficientnet_lite0.build()
    before = [np.asarray(weight) for weight in model.weights]
    with pytest.raises(PretrainedError, match=r"does not exist; run `kerasft fetch efficientnet_lite0`"):
        efficientnet_lite0.load_weights(model, tmp_path)
    name = "_blocks.3._depthwise_conv.weight"
    less = {key: value for key, value in tensors.items() if key != name}
    torch_files.write(tmp_path / efficientnet_lite0.FILE, less)
    with pytest.raises(PretrainedError, match=rf"lack {name}$"):
        efficientnet_lite0.load_weights(model, tmp_path)
    torch_files.write(tmp_path / efficientnet_lite0.FILE, {**less, name: tensors[name][:, :, :3, :3]})
    with pytest.raises(PretrainedError, match=rf"{name} has shape \(144, 1, 3, 3\), .* not \(5, 5, 144, 1\)"):
        efficientnet_lite0.load_weights(model, tmp_path)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.fetched
def test_the_fetched_weights_equal_numpy(weights: Callable[[str], Path]) -> None:
    reference = np.load(Path(__file__).parent / "fixtures" / "efficientnet_lite0_parity.npz")
    model = efficientnet_lite0.build(include_top=True)
    efficientnet_lite0.load_weights(model, weights("efficientnet_lite0"))
    *stages, features, logits = outputs(model)(reference["pictures"])
    for number, found in enumerate(stages, start=1):
        wanted = reference[f"stage{number}"]
        np.testing.assert_allclose(np.asarray(found)[:, ::5, ::5, ::3], wanted, atol=1e-4 * wanted.std())
    np.testing.assert_allclose(np.asarray(features)[..., ::7], reference["features"], atol=1e-4)
    assert reference["logits"].std() > 1.0
    np.testing.assert_allclose(logits, reference["logits"], atol=1e-4)


@pytest.mark.fetched
def test_it_names_what_photos_show(weights: Callable[[str], Path]) -> None:
    """Of the 1000 classes of the challenge, number 698 is palace and number 985 is daisy."""
    from PIL import Image

    datasets = pytest.importorskip("sklearn.datasets")
    model = efficientnet_lite0.build(include_top=True)
    efficientnet_lite0.load_weights(model, weights("efficientnet_lite0"))
    squares = []
    for photo in datasets.load_sample_images().images:  # a Chinese palace, a flower
        side = int(0.875 * min(photo.shape[:2]))
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        square = Image.fromarray(photo[top : top + side, left : left + side])
        squares.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), np.float32))
    assert np.argmax(model(np.stack(squares)), axis=1).tolist() == [698, 985]
