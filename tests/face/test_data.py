"""Pictures of all sorts of sizes, channels and origins, and faces aligned by landmarks."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw

import kerasft
from kerasft.errors import DataError
from kerasft_face import pictures
from kerasft_face.alignment import POINTS, TEMPLATE, align, landmarks, read_landmarks, similarity
from kerasft_face.data import fit
from kerasft_face.samples import grid


def source(task, data):
    source = kerasft.data.open_source(task.open_data(data), fields=task.fields())
    return task.arrange(source, training=True)


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def test_arrays_of_all_sizes_and_channels_come_to_one_size(tiny, discs):
    task = kerasft.create("face", **tiny)
    (wide,) = discs(1, 16)
    wide = np.pad(wide, ((0, 0), (8, 8), (0, 0)))  # 16x32 with the disc in its middle
    grey, alpha = discs(1, 32)[0].mean(2).astype(np.uint8), np.zeros((12, 12, 4), np.uint8)
    rows = [wide, grey, grey[..., None], alpha, discs(1, 8)[0], encoded(wide, "BMP")]
    found = source(task, {"picture": rows}).take(range(6))["picture"]
    assert (found.dtype, found.shape) == (np.uint8, (6, 8, 8, 3))
    mean = discs(1, 16)[0].reshape(8, 2, 8, 2, 3).mean((1, 3))
    np.testing.assert_allclose(found[0], mean, atol=30)
    assert (found[1] == found[1][..., :1]).all()
    np.testing.assert_array_equal(found[1], found[2])
    assert (found[3] == 255).all()
    np.testing.assert_array_equal(found[4], discs(1, 8)[0])
    np.testing.assert_array_equal(found[5], found[0])


def test_they_are_resized_with_antialiasing():
    """Stripes of one pixel become grey; without a low-pass filter they would stay stripes or vanish."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = fit(stripes, 16)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() < 10
    expected = np.asarray(Image.fromarray(stripes).resize((16, 16), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(small, expected)


def test_mixed_arrays_are_trained_on_and_shown_as_the_network_sees_them(tiny, discs, tmp_path):
    rows = [discs(1, 16)[0], *discs(2, 8), discs(1, 9, seed=1)[0]]
    game = {"gamma": 0, "path_weight": 0}
    task = kerasft.create("face", **{**tiny, "game": game, "samples": {"count": 2}})
    history = task.finetune({"picture": rows}, epochs=1, run_dir=tmp_path / "run", verbose="quiet").history
    assert np.isfinite(history["generator_loss"]).all()
    shown = np.asarray(Image.open(tmp_path / "run" / "samples" / "data.png"))
    np.testing.assert_array_equal(shown, grid(np.stack([fit(row, 8) for row in rows])))
    assert set(task.evaluate({"picture": rows * 2}, verbose="quiet"))


def test_a_part_of_the_rows_reads_the_same_pictures(tiny, discs):
    task = kerasft.create("face", **tiny)
    whole = source(task, {"picture": discs(20, 16)})
    part = whole.subset([19, 3])
    np.testing.assert_array_equal(part.take([0, 1])["picture"], whole.take([19, 3])["picture"])
    assert part.where(0) == whole.where(19)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.zeros((8, 8, 3)), r"is float64 \(8, 8, 3\) and no picture"),
        (np.zeros((8, 8, 2), np.uint8), r"is uint8 \(8, 8, 2\) and no picture"),
        (np.zeros((0, 8, 3), np.uint8), r"is uint8 \(0, 8, 3\) and no picture"),
        (np.zeros(8, np.uint8), r"is uint8 \(8,\) and no picture"),
        (b"no picture", "is no readable picture"),
        ("a.png", "is str and no picture"),
        (7, "is int64 and no picture"),
    ],
)
def test_a_value_that_is_no_picture_is_named_by_its_row(tiny, discs, value, problem):
    task = kerasft.create("face", **tiny)
    with pytest.raises(DataError, match=rf"row 1: {problem}.*; give uint8 \[height, width, 3\]"):
        task.finetune({"picture": [discs(1, 8)[0], value]}, epochs=1, verbose="quiet")


def test_points_come_back_to_their_template():
    random = np.random.default_rng(0)
    t = np.array(TEMPLATE) @ (1, 1j)
    a, b = 0.004 * np.exp(0.4j), 0.3 - 0.2j
    p = (t - b) / a
    found = similarity(np.stack([p.real, p.imag], axis=1))
    np.testing.assert_allclose(found, (a, b), rtol=1e-9)
    # With errors it is the least-squares solution of the four numbers, by numpy.
    p = p + random.normal(0, 5, 5) + 1j * random.normal(0, 5, 5)
    rows = np.zeros((10, 4))
    rows[::2], rows[1::2] = (
        np.stack([p.real, -p.imag, np.ones(5), np.zeros(5)], axis=1),
        np.stack([p.imag, p.real, np.zeros(5), np.ones(5)], axis=1),
    )
    flat = np.stack([t.real, t.imag], axis=1).ravel()
    expected = np.linalg.lstsq(rows, flat, rcond=None)[0]
    one, other = similarity(np.stack([p.real, p.imag], axis=1))
    np.testing.assert_allclose([one.real, one.imag, other.real, other.imag], expected, rtol=1e-9)
    with pytest.raises(ValueError, match="one and the same"):
        similarity([(1, 1)] * 5)


@pytest.mark.parametrize(("scale", "turn"), [(0.7, 0.0), (1.0, 0.5), (1.5, -2.5), (6.0, 1.0)])
def test_an_aligned_face_has_its_points_in_place(scale, turn):
    """Discs are drawn around the points of a face that is turned and scaled; they land on the template."""
    side, large = 64, 400
    t = np.array(TEMPLATE) @ (1, 1j)
    p = (t - (0.5 + 0.5j)) * side * scale * np.exp(1j * turn) + (180 + 210j)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    image = Image.new("RGB", (large, large), "black")
    draw, radius = ImageDraw.Draw(image), max(2.0, 3 * scale)
    for point, colour in zip(p, colours, strict=True):
        draw.ellipse(
            [point.real - radius, point.imag - radius, point.real + radius, point.imag + radius], fill=colour
        )
    made = align(image, [(x.real, x.imag) for x in p], side).astype(float)
    assert made.shape == (side, side, 3)
    y, x = np.mgrid[:side, :side] + 0.5
    for place, colour in zip(TEMPLATE, colours, strict=True):
        near = (np.abs(made - colour).max(2) < 120) & (made.max(2) > 100)
        assert near.any()
        found = x[near].mean() / side, y[near].mean() / side
        np.testing.assert_allclose(found, place, atol=1.2 / side)


def test_a_face_at_the_edge_is_mirrored_there():
    white = Image.new("RGB", (40, 40), "white")
    points = [(20 * x - 5, 20 * y - 5) for x, y in TEMPLATE]
    assert (align(white, points, 32) > 250).all()


def table(rows: dict[str, list[tuple[float, float]]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["file", *(f"{point}_{axis}" for point in POINTS for axis in "xy")])
    writer.writerows([name, *np.ravel(points)] for name, points in rows.items())
    return file.getvalue()


def test_a_folder_with_landmarks_is_aligned_and_a_zip_too(tmp_path, discs, tiny):
    folder = tmp_path / "faces"
    (folder / "old").mkdir(parents=True)
    points = {
        "old/a.png": [(16 * x + 3, 16 * y) for x, y in TEMPLATE],
        "old/b.png": [(8.0 * x, 8.0 * y) for x, y in TEMPLATE],
    }
    for name, picture in zip(points, discs(2, 24), strict=True):
        Image.fromarray(picture).save(folder / name)
    (folder / "landmarks.csv").write_text(table(points))
    (tmp_path / "points.json").write_text(json.dumps(points))
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed:
        for file in sorted(folder.rglob("*.*")):
            packed.write(file, file.relative_to(folder))
    task = kerasft.create("face", **tiny)
    found = source(task, folder).take([0, 1])["picture"]
    expected = [align(Image.fromarray(p), points[n], 8) for n, p in zip(points, discs(2, 24), strict=True)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(source(task, tmp_path / "faces.zip").take([0, 1])["picture"], expected)
    (folder / "landmarks.csv").unlink()
    plain = source(task, folder)
    assert (plain.take([0, 1])["picture"] != expected).any()
    given = source(task, pictures(folder, resolution=8, points=tmp_path / "points.json"))
    np.testing.assert_array_equal(given.take([0, 1])["picture"], expected)
    assert given.fingerprint() != plain.fingerprint()
    Image.fromarray(discs(1, 8)[0]).save(folder / "old" / "c.png")
    with pytest.raises(
        DataError, match=r"faces, old/c\.png: has no landmarks; add its five points, or remove it"
    ):
        source(task, pictures(folder, resolution=8, points=tmp_path / "points.json"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "file,x\na.png,1\n", "a.csv has no column left_eye_x; the header must be file,left_eye_x"),
        (
            "a.csv",
            table({"a.png": [("x", 1)] * 5}),
            r"a\.csv, a\.png: give five points of two finite numbers",
        ),
        ("a.json", "[1]", "a.json holds no landmarks"),
        ("a.json", "{", "a.json holds no landmarks"),
        ("a.json", '{"a.png": [[1, 2]]}', "give five points of two finite numbers each, left_eye, right_eye"),
        ("a.json", '{"a.png": [[1, 2], [1, 2], [1, 2], [1, 2], [1, NaN]]}', "give five points of two finite"),
    ],
)
def test_wrong_landmarks_are_one_sentence(name, content, sentence):
    with pytest.raises(DataError, match=sentence):
        landmarks(content.encode(), name)


def test_a_missing_file_of_landmarks_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"none\.csv does not exist; name a \.csv or \.json file of landmarks"
    ):
        read_landmarks(tmp_path / "none.csv")
