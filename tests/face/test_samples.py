"""Pictures of a training in the run folder, TensorBoard and the report, and faces from styles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.export.runtime import Model
from kerasft_face.samples import between, faces, grid, styles, synthesize


@pytest.fixture(scope="module")
def trained(tmp_path_factory, discs):
    from .conftest import TINY

    samples = {"count": 5, "every": 2}
    task = kerasft.create("face", **{**TINY, "samples": samples})
    task.finetune(discs(8, 8), epochs=5, run_dir=tmp_path_factory.mktemp("face") / "run", verbose="quiet")
    return task


def test_pictures_are_written_every_few_epochs_and_at_the_end(trained, discs):
    folder = trained.run.folder / "samples"
    names = sorted(path.name for path in folder.iterdir())
    epochs = ("00002", "00004", "00005")
    expected = [f"{series}-{epoch}.png" for series in ("between", "faces") for epoch in epochs]
    assert names == sorted([*expected, "data.png"])
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "data.png")), grid(discs(8, 8)))
    last = np.asarray(Image.open(folder / "faces-00005.png"))
    # With the average of the weights, which is what stays.
    np.testing.assert_array_equal(last, grid(faces(trained, range(5))))
    assert list((trained.run.tensorboard / "samples").iterdir())


def test_the_report_shows_the_last_picture_of_each_series(trained):
    page = trained.run.report.read_text()
    for name in ("data.png", "faces-00005.png", "between-00005.png"):
        assert f'alt="{name}"' in page
    assert 'alt="faces-00004.png"' not in page


def test_without_a_run_nothing_is_written(tiny, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = kerasft.create("face", **{**tiny, "samples": {"count": 2}})
    task.finetune(discs(4, 8), epochs=1, verbose="quiet")
    assert list(tmp_path.iterdir()) == []


def test_styles_make_the_faces_of_their_seeds_everywhere(trained, tmp_path):
    asked = {"seed": [3, 4, 5], "truncation": [0.5] * 3}
    answer = trained.predict(asked)
    ws = styles(trained, [3, 4, 5], truncation=0.5)
    np.testing.assert_allclose(answer["w"], ws, atol=1e-5)
    np.testing.assert_array_equal(synthesize(trained, answer["w"]), answer["image"])
    np.testing.assert_array_equal(synthesize(trained, answer["w"][1:2]), answer["image"][1:2])
    whole = np.repeat(answer["w"][:, None], trained.models["generator"].styles, axis=1)
    with Model(trained.export(tmp_path / "face").path) as served:
        np.testing.assert_array_equal(served.call("synthesize_w", {"w": whole})["image"], answer["image"])


def test_a_walk_begins_at_each_face(trained):
    walk = between(trained, [1, 2, 3], steps=4)
    assert walk.shape == (8, 8, 8, 3)
    np.testing.assert_array_equal(walk[[0, 4]], synthesize(trained, styles(trained, [1, 2])))


def test_a_grid_fills_rows_and_leaves_the_rest_black():
    pictures = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (10, 20, 30)])
    laid = grid(pictures)
    assert laid[::2, ::2, 0].tolist() == [[10, 20], [30, 0]]
    assert grid(pictures, columns=3).shape == (2, 6, 3)
