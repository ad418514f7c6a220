"""`kerasft predict --input`: values by name, ranges, other signatures, and answers that are files."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft import Field
from kerasft.cli.asking import read_inputs
from kerasft.errors import ConfigError

FIELDS = (
    Field(name="seed", kind="integer"),
    Field(name="rate", kind="number"),
    Field(name="text"),
    Field(name="z", kind="any"),
    Field(name="label", kind="label", target=True),
)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["seed=5"], {"seed": ["5"]}),
        (["seed=-2..1"], {"seed": [-2, -1, 0, 1]}),
        (["seed=1", "seed=4,2..3"], {"seed": ["1", "4", 2, 3]}),
        (["seed=1..2", "rate=0.5"], {"seed": [1, 2], "rate": ["0.5", "0.5"]}),
        (["text=a, b = c"], {"text": ["a, b = c"]}),
        (["z=[0.5, 1]", "z=[2, 3]"], {"z": [[0.5, 1], [2, 3]]}),
    ],
)
def test_values_are_read_by_kind(items, expected):
    assert read_inputs(items, FIELDS) == expected


def test_for_bytes_the_value_names_a_file(tmp_path):
    fields = [Field(name="picture", kind="bytes")]
    (tmp_path / "a").write_bytes(b"\x00\xff")
    assert read_inputs([f"picture={tmp_path / 'a'}"], fields) == {"picture": [b"\x00\xff"]}
    with pytest.raises(ConfigError, match=r"picture=.*/b': .*/b cannot be read \(No such file"):
        read_inputs([f"picture={tmp_path / 'b'}"], fields)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["sed=1"], "--input 'sed=1': write it as NAME=VALUE with one of the names seed, rate, text, z"),
        (["seed"], "write it as NAME=VALUE"),
        (["label=a"], "one of the names seed, rate, text, z"),
        (["seed=3..1"], "the range must rise"),
        (["seed=1..99999999999"], "at most 1,000,000 values"),
        (["z=nothing"], "the value must be JSON"),
        (["seed=1..3", "rate=1,2"], "3 of seed, 2 of rate were given"),
    ],
)
def test_wrong_inputs_are_one_sentence(items, message):
    with pytest.raises(ConfigError) as caught:
        read_inputs(items, FIELDS)
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Run folder of a tiny face task."""
    pictures = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    folder = tmp_path_factory.mktemp("faces") / "run"
    network = {"base": 32, "max_channels": 8, "z_dim": 4, "w_dim": 4}
    task = kerasft.create("face", resolution=8, network=network, training={"batch_size": 8, "epochs": 1})
    task.finetune({"picture": pictures}, run_dir=folder, verbose="quiet")
    return folder


def test_pictures_go_into_a_folder(cli, faces, tmp_path):
    out = tmp_path / "made"
    said = cli("predict", faces, "--input", "seed=3..5", "--input", "truncation=0.5", "--out", out).out
    lines = [json.loads(line) for line in said.splitlines()]
    paths = [line.pop("image_bytes") for line in lines]
    assert paths == [str(out / f"0000{i}.png") for i in (1, 2, 3)]
    assert all("image" not in line for line in lines)
    expected = kerasft.load(faces).predict({"seed": [3, 4, 5], "truncation": [0.5] * 3})["image"]
    np.testing.assert_array_equal([np.asarray(Image.open(path)) for path in paths], expected)


def test_without_a_folder_files_are_base64_and_defaults_stand(cli, faces):
    line = json.loads(cli("predict", faces, "--input", "seed=3").out)
    picture = Image.open(io.BytesIO(base64.b64decode(line["image_bytes"]["b64"])))
    np.testing.assert_array_equal(np.asarray(picture), line["image"])
    np.testing.assert_array_equal(kerasft.load(faces).predict([3])["image"][0], line["image"])


def test_another_signature(cli, faces):
    z = [0.5, -1.0, 0.0, 2.0]
    found = json.loads(cli("predict", faces, "--signature", "synthesize_z", "--input", f"z={z}").out)
    task = kerasft.load(faces)
    expected = task.predict({"z": np.array([z], np.float32)}, signature="synthesize_z")["image"][0]
    np.testing.assert_array_equal(found["image"], expected)
    said = cli("predict", faces, "--signature", "synthesise_z", "--input", f"z={z}", code=2).err
    assert "has no 'synthesise_z'; did you mean \"synthesize_z\"?" in said


def test_a_vector_of_another_length_is_one_sentence(cli, faces):
    said = cli("predict", faces, "--signature", "synthesize_z", "--input", "z=[0.5, 1]", code=2).err
    assert "'z' is float32 (1, 2), but the signature 'synthesize_z' takes float32 (None, 4)" in said
    two = cli(
        *(
            "predict",
            faces,
            "--signature",
            "synthesize_z",
            "--input",
            "z=[1, 2]",
            "--input",
            "z=[1, 2, 3, 4]",
        ),
        code=2,
    ).err
    assert "The values of 'z' must have one shape, but row 1 has (2,) and row 2 has (4,)" in two
