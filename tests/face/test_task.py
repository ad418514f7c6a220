from __future__ import annotations

import io
import zipfile
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kerasft
from kerasft.errors import ConfigError, DataError
from kerasft.export.runtime import Model
from kerasft.prediction import trace
from kerasft.testing import check_task
from kerasft.training.lazy import correct_lazy
from kerasft_face import pictures


@pytest.fixture(scope="session")
def trained(tmp_path_factory, discs) -> Any:
    """A task whose average w is no longer zero, in a run folder."""
    from .conftest import TINY

    task = kerasft.create("face", **{**TINY, "game": {"r1_every": 1, "path_every": 1, "path_weight": 2.0}})
    task.finetune(discs(16, 8), run_dir=tmp_path_factory.mktemp("face") / "run", verbose="quiet")
    return task


def test_it_keeps_every_promise(tiny):
    check_task("face", **tiny).raise_if_failed()


def test_with_classes_it_keeps_the_promises_about_data_and_answers(tiny):
    report = check_task(
        "face",
        **tiny,
        conditional=True,
        only=["class", "config", "example", "signatures", "build", "groups", "preprocess", "freezing"],
    )
    report.raise_if_failed()


def test_a_step_has_four_turns_and_two_optimizers(tiny):
    task = kerasft.create("face", **{**tiny, "game": {"path_weight": 2.0}})
    task.build()
    updates = correct_lazy(task.updates(lambda **settings: keras.optimizers.Adam(0.1, **settings)))

    assert [(update.name, update.every) for update in updates] == [
        ("discriminator", 1),
        ("r1", 16),
        ("generator", 1),
        ("path_length", 4),
    ]
    judge, again, make, too = (update.optimizer for update in updates)
    assert judge is again
    assert make is too
    assert float(judge.learning_rate) == pytest.approx(0.1 * 16 / 17)
    assert (judge.beta_1, judge.beta_2) == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert float(make.learning_rate) == pytest.approx(0.1 * 4 / 5)
    assert make.beta_2 == pytest.approx(0.99 ** (4 / 5))


def test_a_regulariser_of_weight_zero_takes_no_turn(tiny):
    task = kerasft.create("face", **{**tiny, "game": {"gamma": 0, "path_weight": 0}})
    task.build()
    updates = correct_lazy(task.updates(lambda **settings: keras.optimizers.Adam(0.1, **settings)))
    assert [update.name for update in updates] == ["discriminator", "generator"]
    assert float(updates[0].optimizer.learning_rate) == pytest.approx(0.1)


def test_state_is_in_the_run(trained):
    names = [variable.path for variable in trained.models["generator"].variables]
    assert "mapping/average" in names
    assert "path_length/average" in names
    assert trained.models["generator"].mapping.average.numpy().any()
    assert float(trained.models["generator"].path_length.average) > 0


def test_a_seed_is_one_face_everywhere(trained, tmp_path):
    seeds = [5, -3, 2**40, 5, 0, 17, 4]
    truncation = np.linspace(0.4, 1.0, len(seeds))
    asked = {"seed": seeds, "truncation": truncation}
    images = trained.predict(asked)["image"]

    assert images.dtype == np.uint8
    assert images.shape == (len(seeds), 8, 8, 3)
    alone = [
        trained.predict({"seed": [s], "truncation": [t]})["image"][0]
        for s, t in zip(seeds, truncation, strict=True)
    ]
    np.testing.assert_array_equal(images, alone)
    np.testing.assert_array_equal(kerasft.load(trained.run.folder).predict(asked)["image"], images)
    with Model(trained.export(tmp_path / "face").path) as served:
        answer = served.call(
            "serving_default",
            {"seed": np.array(seeds, np.int64), "truncation": truncation.astype(np.float32)},
        )
    np.testing.assert_array_equal(answer["image"], images)


def test_a_picture_also_comes_as_png(trained):
    answer = trained.predict({"seed": [1, 2]})
    for image, encoded in zip(answer["image"], answer["image_bytes"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), image)


def test_truncation_zero_is_the_average_face(trained):
    images = trained.predict({"seed": [1, 2, 3], "truncation": [0.0] * 3})["image"]
    assert (images == images[0]).all()
    free = trained.predict({"seed": [1, 2], "truncation": [1.0] * 2})["image"]
    np.testing.assert_array_equal(trained.predict({"seed": [1, 2]})["image"], free)
    assert (free[0] != free[1]).any()


def test_questions_out_of_range_are_refused(trained):
    with pytest.raises(DataError, match=r"truncation must be between 0 .* and 1 .*, not 1\.5"):
        trained.predict({"seed": [1], "truncation": [1.5]})
    z = np.zeros((2, 8), np.float32)
    z[1, 3] = np.nan
    with pytest.raises(DataError, match="z of row 2 holds NaN or an infinity"):
        trained.predict({"z": z}, signature="synthesize_z")
    with pytest.raises(tf.errors.InvalidArgumentError, match="z holds NaN or an infinity"):
        trace(trained, "synthesize_z")(z=tf.constant(z), truncation=tf.ones(2))
    with pytest.raises(DataError, match=r"column 'seed' holds 'a', which is not a whole number"):
        trained.predict({"seed": ["a"]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="truncation must be between 0"):
        trace(trained, "serving_default")(seed=tf.constant([1], tf.int64), truncation=tf.constant([-0.5]))


def test_a_class_can_be_asked_for(tiny):
    task = kerasft.create("face", **tiny, conditional=True, labels=["old", "young"])
    task.build()
    one, other = task.predict({"seed": [1, 1], "label": ["old", "young"]})["image"]
    assert (one != other).any()


def test_a_folder_and_a_zip_give_the_same_pictures(tmp_path, discs):
    folder = tmp_path / "faces"
    (folder / "old").mkdir(parents=True)
    (folder / "young").mkdir()
    first, second = discs(2, 16)
    Image.fromarray(first).save(folder / "old" / "a.png")
    Image.fromarray(second).convert("L").resize((24, 16)).save(folder / "young" / "b.png")
    (folder / "note.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed:
        for file in sorted(folder.rglob("*.*")):
            packed.write(file, file.relative_to(folder))
    fields = kerasft.create("face", conditional=True).fields()

    one = kerasft.data.open_source(pictures(folder, resolution=8), fields=fields)
    other = kerasft.data.open_source(pictures(tmp_path / "faces.zip", resolution=8), fields=fields)

    assert one.take([0, 1])["label"] == ["old", "young"]
    found = one.take([0, 1])["picture"]
    assert (found.dtype, found.shape) == (np.uint8, (2, 8, 8, 3))
    np.testing.assert_array_equal(found, other.take([0, 1])["picture"])
    np.testing.assert_allclose(found[0], first.reshape(8, 2, 8, 2, 3).mean((1, 3)), atol=30)
    assert one.fingerprint() == other.fingerprint()
    assert one.where(1) == "faces, young/b.png"


def test_a_folder_is_trained_on_at_the_resolution_of_the_task(tmp_path, tiny, discs):
    for number, picture in enumerate(discs(4, 16)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    found, expected = [], []
    for data, losses in ((str(tmp_path), found), (pictures(tmp_path, resolution=8), expected)):
        task = kerasft.create("face", **tiny)
        losses.append(task.finetune(data, epochs=1, verbose="quiet").history["generator_loss"])
    assert found == expected
    assert kerasft.create("face", **tiny).open_data("tfds:celeb_a") == "tfds:celeb_a"


def test_transparent_pictures_stand_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    source = kerasft.data.open_source(
        pictures(tmp_path, resolution=8), fields=kerasft.create("face").fields()
    )
    (found,) = source.take([0])["picture"]
    assert (found[:4] == 0).all()
    assert (found[4:] == 255).all()


def test_bad_pictures_are_named(tmp_path, discs):
    Image.fromarray(discs(1, 16)[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    fields = kerasft.create("face").fields()
    with pytest.raises(DataError, match=r"bad\.png: is no readable picture .* repair or remove it"):
        kerasft.data.open_source(pictures(tmp_path, resolution=8), fields=fields)
    rest = kerasft.data.open_source(pictures(tmp_path, resolution=8), fields=fields, on_error="skip")
    assert (len(rest), rest.skipped) == (1, 1)


def test_nothing_to_open_is_said(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        pictures(tmp_path, resolution=8)
    with pytest.raises(DataError, match="does not exist"):
        pictures(tmp_path / "none.zip", resolution=8)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match=r"is no \.zip"):
        pictures(tmp_path / "text.zip", resolution=8)


def test_one_picture_is_refused(tiny, discs):
    with pytest.raises(DataError, match="one picture; give at least two"):
        kerasft.create("face", **tiny).finetune(discs(1, 8), verbose="quiet")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"resolution": 48}, "48 is no power of two"),
        ({"resolution": 4}, "resolution"),
        ({"labels": ["a"]}, "conditional=true"),
        ({"labels": ["a", "a"], "conditional": True}, "each once"),
        ({"preset": "huge"}, "preset"),
    ],
)
def test_wrong_settings_are_refused(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        kerasft.create("face", **values)


@pytest.mark.parametrize("values", [["a.png", "b.png"], [0.5, 1.0], [b"x", b"y"], [None, None]])
def test_what_is_no_picture_is_one_sentence(tiny, values):
    with pytest.raises(DataError, match=r"picture"):
        kerasft.create("face", **tiny).finetune({"picture": values}, verbose="quiet")


def test_each_signature_is_a_call_of_clients(tiny):
    task = kerasft.create("face", **tiny)
    assert set(task.calls().values()) == set(task.signatures())
    assert task.calls()["generate"] == "serving_default"


@pytest.mark.parametrize(
    "precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_under_mixed_precision_all_turns_are_finite_and_answers_are_float32(tiny, discs, precision):
    """The highest resolution computes in half precision; losses, colours, w and weights stay in float32."""
    network = {**tiny["network"], "mixed_blocks": 1}
    game = {"r1_every": 1, "path_every": 1, "path_weight": 2.0}
    task = kerasft.create("face", **{**tiny, "network": network, "game": game, "precision": precision})
    history = task.finetune(discs(8, 8), epochs=1, verbose="quiet").history
    assert {"discriminator_loss", "r1_loss", "generator_loss", "path_length_loss"} <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    generator, discriminator = task.models["generator"], task.models["discriminator"]
    half = precision.removeprefix("mixed_")
    assert generator.synthesis.get_layer("b8_conv_1").compute_dtype == half
    assert generator.synthesis.get_layer("b4_conv_1").compute_dtype == "float32"
    made = generator(np.zeros((2, 8), np.float32))
    assert made.dtype == "float32"
    assert discriminator(made).dtype == "float32"
    assert {v.dtype for model in (generator, discriminator) for v in model.trainable_variables} == {"float32"}
    assert all(np.isfinite(v.numpy()).all() for v in generator.trainable_variables)
    answer = task.predict({"seed": [1, 2]})
    assert (answer["w"].dtype, answer["image"].dtype) == (np.float32, np.uint8)
