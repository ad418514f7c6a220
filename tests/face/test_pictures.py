"""Projection, mixing, morphs and directions, on a network that a second trains."""

from __future__ import annotations

import json
import sys
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.errors import ConfigError, DataError
from kerasft_face.__main__ import main
from kerasft_face.directions import (
    Direction,
    apply,
    factorize,
    found_directions,
    load_directions,
    save_directions,
)
from kerasft_face.mixing import mix, mixing_table
from kerasft_face.morphing import morph, walk
from kerasft_face.projection import noise_penalty, project
from kerasft_face.samples import faces, styles, synthesize
from kerasft_face.wspace import chosen_styles, face_styles, load_styles, middle, save_styles


@pytest.fixture(scope="module")
def trained(tmp_path_factory, discs) -> Any:
    from .conftest import TINY

    game = {"gamma": 0, "path_weight": 0}
    task = kerasft.create("face", **{**TINY, "resolution": 16, "seed": 3, "game": game})
    task.finetune(discs(16, 16), epochs=1, run_dir=tmp_path_factory.mktemp("face") / "run", verbose="quiet")
    return task


@pytest.fixture
def command(monkeypatch, capfd):
    """Calls `python -m kerasft_face ARGUMENTS`; returns its JSON, or the error if `code` is not 0."""

    def call(*arguments: object, code: int = 0) -> Any:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["kerasft_face", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert int(stopped.value.code or 0) == code, err
        return json.loads(out) if code == 0 else err.strip()

    return call


def test_a_face_that_the_generator_made_is_found_again(trained):
    (target,) = faces(trained, [5])
    before = [np.asarray(v) for v in trained.models["generator"].variables]
    done: list[int] = []
    found = project(trained, target, steps=120, extractor="random:v1", progress=done.append)
    assert found.losses[-1] < found.losses[0] / 100
    start = synthesize(trained, middle(trained)[0][None])[0]
    apart = [np.abs(x.astype(int) - target).mean() for x in (start, found.fitted)]
    assert apart[1] < apart[0] / 10
    assert found.styles.shape == (trained.models["generator"].styles, 8)
    assert (found.styles == found.styles[:1]).all()
    np.testing.assert_array_equal(found.picture, synthesize(trained, found.styles[None])[0])
    assert found.extractor.startswith("random:v1-")
    assert done == list(range(1, 121))
    for variable, value in zip(trained.models["generator"].variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_a_projection_is_a_function_of_its_seed(trained):
    (target,) = faces(trained, [5])
    one, again, other = (
        project(trained, target, steps=6, extractor="random:v1", each_style=True, seed=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.styles, again.styles)
    np.testing.assert_array_equal(one.fitted, again.fitted)
    assert (one.styles != other.styles).any()
    assert (one.styles != one.styles[:1]).any()


def test_white_noise_is_hardly_penalised_and_smooth_noise_is():
    random = np.random.default_rng(0).standard_normal((1, 32, 32, 1)).astype(np.float32)
    smooth = random[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    assert float(noise_penalty(random)) * 50 < float(noise_penalty(smooth))
    # By the formula, at 16 pixels and at 8.
    x, expected = random[0, :16, :16, 0].astype(np.float64), 0.0
    for _ in range(2):
        expected += sum((x * np.roll(x, 1, axis)).mean() ** 2 for axis in (0, 1))
        x = x.reshape(len(x) // 2, 2, -1, 2).sum((1, 3)) / 2
    assert float(noise_penalty(random[:, :16, :16])) == pytest.approx(expected, rel=1e-4)


def test_a_projection_refuses_what_does_not_fit(trained):
    with pytest.raises(
        DataError, match=r"the picture is uint8 \(8, 8, 3\), but the network makes uint8 \(16, 16, 3\)"
    ):
        project(trained, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="steps is 0"):
        project(trained, np.zeros((16, 16, 3), np.uint8), steps=0)
    with pytest.raises(ConfigError, match="no 'best' with feature maps"):
        project(trained, np.zeros((16, 16, 3), np.uint8), extractor="best")


def test_the_styles_of_a_resolution_change_that_one_and_no_lower(trained):
    generator = trained.models["generator"]
    assert generator.plan.sides == [4, 8, 16]
    assert [chosen_styles(w, [4, 8, 16]) for w in ("4", "8", "16", "<=8", ">=8", "all")] == [
        [0],
        [1, 2],
        [3, 4, 5],
        [0, 1, 2],
        [1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    with pytest.raises(ConfigError, match=r"'fine' is no resolution of this network \(4, 8, 16\)"):
        chosen_styles("fine", [4, 8, 16])


def test_mixing_takes_the_chosen_styles_from_rows(trained):
    rows, columns = face_styles(trained, [1, 2]), face_styles(trained, ["3..5"])
    mixed = mix(trained, rows, columns, styles="<=8")
    assert mixed.shape == (2, 3, 16, 16, 3)
    ws = columns[2:].copy()
    ws[:, :3] = rows[1:, :3]
    np.testing.assert_array_equal(mixed[1, 2], synthesize(trained, ws)[0])
    np.testing.assert_array_equal(
        mix(trained, rows, columns, styles="all")[1, 0], synthesize(trained, rows)[1]
    )
    table = mixing_table(trained, rows, columns, styles="<=8")
    assert table.shape == (3 * 16, 4 * 16, 3)
    np.testing.assert_array_equal(table[:16, 16:32], synthesize(trained, columns)[0])
    np.testing.assert_array_equal(table[32:, :16], synthesize(trained, rows)[1])
    np.testing.assert_array_equal(table[32:, 48:], mixed[1, 2])
    assert not table[:16, :16].any()


def test_a_walk_passes_each_face_and_returns(trained):
    ws = face_styles(trained, ["1..3"])
    way = walk(ws, steps=4)
    assert len(way) == 12
    np.testing.assert_array_equal(way[[0, 4, 8]], ws)
    np.testing.assert_allclose(way[10], (ws[2] + ws[0]) / 2, atol=1e-6)
    way = walk(ws, steps=4, loop=False)
    assert len(way) == 9
    np.testing.assert_array_equal(way[8], ws[2])
    with pytest.raises(ConfigError, match="at least two faces and one step, not 1 and 4"):
        walk(ws[:1], steps=4)


def test_films_hold_their_frames(trained, tmp_path):
    ws = face_styles(trained, ["1..3"])
    way = synthesize(trained, walk(ws, steps=5))
    assert morph(trained, ws, tmp_path / "a.gif", steps=5, fps=20, zoom=2) == 15
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.size, film.info["duration"], film.info["loop"]) == (15, (32, 32), 50, 0)
        film.seek(5)
        shown = np.asarray(film.convert("RGB"))[::2, ::2]
    assert np.abs(shown.astype(int) - way[5]).mean() < 8
    assert morph(trained, ws, tmp_path / "a.mp4", steps=5, fps=20) == 15
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(frames)
    assert (about["source_size"], about["fps"], about["codec"]) == ((256, 256), 20.0, "h264")
    shown = [np.frombuffer(frame, np.uint8).reshape(256, 256, 3) for frame in frames]
    assert len(shown) == 15
    assert np.abs(shown[5][8::16, 8::16].astype(int) - way[5]).mean() < 8
    with pytest.raises(ConfigError, match=r"a film ends in \.gif or \.mp4"):
        morph(trained, ws, tmp_path / "a.avi")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.mp4"]


def test_without_ffmpeg_an_mp4_is_refused_before_any_work(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install 'kerasft\[mp4\]', or write a \.gif"):
        morph(trained, face_styles(trained, [1, 2]), tmp_path / "a.mp4")


@pytest.mark.parametrize(("which", "parts"), [("all", None), ("8", ("b8_conv_0", "b8_conv_1", "b4_colour"))])
def test_directions_are_those_of_a_singular_value_decomposition(trained, which, parts):
    """The colour of 4x4 shares the style of the first convolution of 8x8."""
    generator = trained.models["generator"]
    layers = [layer for layer in generator.synthesis.layers if hasattr(layer, "convolution")]
    kept = [layer for layer in layers if parts is None or layer.name in parts]
    a = np.concatenate([np.asarray(layer.convolution.affine.kernel).T for layer in kept]) / np.sqrt(8)
    _, scales, expected = np.linalg.svd(a)
    found, values = factorize(generator, styles=which)
    np.testing.assert_allclose(values, scales**2, rtol=1e-4)
    np.testing.assert_allclose(np.abs((found * expected).sum(1)), 1.0, atol=1e-4)
    assert (found[np.arange(8), np.abs(found).argmax(1)] > 0).all()
    # A step along the first changes the styles by its eigenvalue, and more than a step along the last.
    step = np.square(a @ found[0]).sum()
    assert step == pytest.approx(values[0], rel=1e-4)


def test_a_direction_moves_the_chosen_styles_alone(trained, tmp_path):
    first, second = found_directions(trained, styles=">=16")[:2]
    ws = face_styles(trained, [4])
    moved = apply(trained, ws, [(first, 0.5), (second, -1.0)])
    np.testing.assert_array_equal(moved[:, :3], ws[:, :3])
    step = first.unit * (0.5 * first.vector - second.vector)
    np.testing.assert_allclose(moved[:, 3:] - ws[:, 3:], np.tile(step, (1, 3, 1)), atol=1e-5)
    assert first.unit == pytest.approx(middle(trained)[1])
    save_directions(tmp_path / "d.npz", {"hue": first, "glow": second})
    again = load_directions(tmp_path / "d.npz")
    assert list(again) == ["hue", "glow"]
    np.testing.assert_array_equal(again["hue"].vector, first.vector)
    assert (again["hue"].unit, again["hue"].styles) == (first.unit, ">=16")
    assert load_directions(tmp_path / "none.npz") == {}
    with pytest.raises(ConfigError, match="has 3 numbers, but w has 8"):
        apply(trained, ws, [(Direction(vector=np.ones(3, np.float32), unit=1.0), 1.0)])


def test_faces_are_seeds_and_files(trained, tmp_path):
    whole = face_styles(trained, [4, "4", "3..4"], truncation=0.5)
    np.testing.assert_array_equal(whole[[0, 1, 3]], whole[[1, 3, 0]])
    np.testing.assert_allclose(whole[0, 0], styles(trained, [4], truncation=0.5)[0], atol=1e-6)
    save_styles(tmp_path / "me.npz", whole[0])
    np.testing.assert_array_equal(face_styles(trained, [tmp_path / "me.npz"])[0], whole[0])
    save_styles(tmp_path / "other.npz", np.zeros((4, 8)))
    (tmp_path / "broken.npz").write_bytes(b"no file")
    for item, sentence in {
        tmp_path / "other.npz": r"styles \(4, 8\), but this network needs \(6, 8\): it is of another run",
        tmp_path / "none.npz": "does not exist; name a file that project wrote",
        tmp_path / "broken.npz": "holds no styles",
        "me.png": r"'me\.png' is no face; write seeds",
        "5..1": "a range of seeds must rise",
    }.items():
        with pytest.raises(DataError, match=sentence):
            face_styles(trained, [item])
    with pytest.raises(DataError, match="there is no face"):
        face_styles(trained, [])


def test_the_commands_work_together(trained, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained.run.folder
    Image.fromarray(faces(trained, [5])[0]).resize((40, 30)).save("me.jpg")
    found = command("project", run, "me.jpg", "--extractor", "random:v1", "--steps", 5, "--out", "found")
    assert found["distance"]["last"] < found["distance"]["first"]
    assert Image.open("found/me.png").size == (3 * 16, 16)
    table = command("mix", run, "--rows", "found/me.npz", "--rows", "1..2", "--columns", 4, "--styles", "4")
    assert (table["rows"], table["columns"]) == (3, 1)
    assert Image.open("mixed.png").size == (2 * 16, 4 * 16)
    assert command("morph", run, 1, "found/me.npz", "--steps", 3, "--no-loop")["frames"] == 4
    assert Image.open("morph.gif").n_frames == 4
    assert command("directions", run, "--count", 3, "--save", "hue=2")["names"] == ["hue"]
    assert Image.open("directions.png").size == (5 * 16, 3 * 16)
    changed = command(
        "directions",
        run,
        "--face",
        "found/me.npz",
        "--apply",
        "hue=0.8",
        "--out",
        "b.png",
        "--save-face",
        "b.npz",
    )
    assert changed["names"] == ["hue"]
    (moved,) = load_styles(tmp_path / "b.npz")
    np.testing.assert_array_equal(np.asarray(Image.open("b.png")), synthesize(trained, moved[None])[0])
    (start,) = load_styles(tmp_path / "found/me.npz")
    hue = load_directions(run / "directions.npz")["hue"]
    np.testing.assert_allclose(moved - start, np.tile(0.8 * hue.unit * hue.vector, (6, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["project", "RUN", "none.jpg"], "none.jpg does not exist; name a picture"),
        (["project", "RUN", "text.jpg"], "text.jpg is no readable picture"),
        (["mix", "RUN", "--rows", "x", "--columns", "1"], "'x' is no face; write seeds"),
        (
            ["mix", "RUN", "--rows", "1", "--columns", "1", "--out", "a.gif"],
            "--out a.gif: name a file that ends in .png",
        ),
        (["morph", "RUN", "1"], "a morph needs at least two faces"),
        (["morph", "RUN", "1..2", "--out", "a.avi"], "--out a.avi: name a file that ends in .gif or .mp4"),
        (["directions", "RUN", "--save", "smile"], "--save 'smile': write a name and a number"),
        (["directions", "RUN", "--save", "smile=99"], "--save smile=99: take a whole number from 1 to 8"),
        (["directions", "RUN", "--apply", "frown=1"], "--apply frown: no direction has this name"),
        (["directions", "RUN", "--face", "1..2", "--apply", "frown=1"], "--face 1..2 are 2 faces; name one"),
        (["directions", "RUN", "--save-face", "a.npz"], "--save-face keeps a changed face"),
        (["directions", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_request_is_one_sentence(trained, tmp_path, command, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("no picture")
    run = str(trained.run.folder)
    error = command(*[run if a == "RUN" else a for a in arguments], code=2)
    assert error.splitlines()[-1].startswith("error: ")
    assert sentence in error


def test_a_task_without_styles_is_refused(trained, tmp_path, command):
    other = kerasft.create("text", encoder="mlp")
    other.finetune((["good", "bad"] * 4, ["a", "b"] * 4), epochs=1, run_dir=tmp_path / "run", verbose="quiet")
    assert "has no styles, since it is no StyleGAN2" in command(
        "mix", tmp_path / "run", "--rows", 1, "--columns", 2, code=2
    )


def test_a_dcgan_has_no_styles_and_says_so():
    network = {"base": 64, "max_channels": 8, "z_dim": 4}
    task = kerasft.create("face", architecture="dcgan", resolution=16, network=network)
    task.build()
    for call in (lambda: face_styles(task, [1]), lambda: found_directions(task), lambda: middle(task)):
        with pytest.raises(
            ConfigError, match="the task face has no styles, since it is no StyleGAN2: take a run"
        ):
            call()
