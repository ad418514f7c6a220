"""Where a network looked: both maps find what decides, and the report shows them."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft_image import explained, grad_cam, occlusion


@pytest.fixture(scope="module")
def corners(tmp_path_factory) -> kerasft.Task:
    """A task for which only the colour of a spot decides, anywhere on noise."""
    keras.utils.set_random_seed(0)
    settings = {"size": 32, "network": {"filters": (8, 16)}, "training": {"batch_size": 16}}
    task = kerasft.create("image", **settings)
    pictures, labels, _ = spots(96, seed=0)
    run = tmp_path_factory.mktemp("explain") / "run"
    task.finetune({"image": pictures, "label": labels}, epochs=10, run_dir=run, verbose="quiet")
    return task


def spots(count: int, *, seed: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    random = np.random.default_rng(seed)
    pictures = random.integers(90, 130, (count, 32, 32, 3)).astype(np.uint8)
    places = random.integers(0, 24, (count, 2))
    labels = ["red" if number % 2 else "blue" for number in range(count)]
    for picture, (top, left), label in zip(pictures, places, labels, strict=True):
        picture[top : top + 8, left : left + 8] = (250, 20, 20) if label == "red" else (20, 20, 250)
    return pictures, labels, places


@pytest.mark.parametrize("explain", [grad_cam, occlusion])
def test_the_map_is_highest_where_the_spot_is(corners, explain):
    pictures, labels, places = spots(16, seed=1)
    right = np.array([label.decode() for label in corners.predict({"image": pictures})["label"]]) == labels
    assert right.mean() > 0.9
    maps = explain(corners, pictures)
    assert maps.shape == (16, 32, 32)
    assert maps.min() >= 0
    assert maps.max() <= 1
    inside = [
        found[top : top + 8, left : left + 8].mean() for found, (top, left) in zip(maps, places, strict=True)
    ]
    assert np.mean(np.array(inside) > 1.5 * maps.mean((1, 2))) > 0.8


def test_another_label_may_be_asked_about(corners):
    pictures, _, _ = spots(4, seed=1)
    best, others = grad_cam(corners, pictures), grad_cam(corners, pictures, [0, 0, 0, 0])
    assert np.abs(best - others).max() > 0.1


def test_the_report_shows_where_it_looked(corners):
    picture = corners.run.folder / "samples/looked-at.png"
    assert Image.open(picture).size[0] > 300
    assert "looked-at" in (corners.run.folder / "report.html").read_text()


def test_a_picture_of_maps(corners):
    pictures, _, _ = spots(2, seed=1)
    assert Image.open(io.BytesIO(explained(corners, pictures))).format == "PNG"
