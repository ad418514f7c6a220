"""Pickles of the reference implementations: what is read, what it computes, and what is refused."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.cli import main
from kerasft.errors import ConfigError, PretrainedError, TrainingError
from kerasft_face import reference
from kerasft_face.task import Face

from ..pretrained.torch_files import Call
from . import reference_files as files

WRITERS = {"torch": files.write_torch, "tensorflow": files.write_tensorflow}
PLAIN, CLASSES = files.Sizes(), files.Sizes(classes=3, base=96)


def write(kind: str, path: Any, sizes: files.Sizes, **options: Any) -> Any:
    return WRITERS[kind](path, files.generator(sizes), files.discriminator(sizes), sizes, **options)


def load(kind: str, folder: Any, sizes: files.Sizes) -> Any:
    settings = {"mapping_lrmul": sizes.rate, "mbstd_group_size": 2} if kind == "tensorflow" else {}
    return kerasft.load(write(kind, folder / "net.pkl", sizes, **settings), task="face")


@pytest.mark.parametrize("kind", ["torch", "tensorflow"])
@pytest.mark.parametrize("sizes", [PLAIN, CLASSES], ids=["plain", "classes"])
def test_both_networks_compute_what_the_formulas_say(tmp_path: Any, kind: str, sizes: files.Sizes) -> None:
    task = load(kind, tmp_path, sizes)
    random = np.random.default_rng(2)
    z = random.standard_normal((4, sizes.z)).astype(np.float32)
    label = np.eye(sizes.classes)[[0, 2, 1, 1]].astype(np.float32) if sizes.classes else None
    made = task.models["generator"](z, label, truncation=np.full(4, 0.7, np.float32))
    wanted = files.make(files.generator(sizes), sizes, z, label, 0.7)
    assert wanted.std() > 0.5
    np.testing.assert_allclose(made, wanted.transpose(0, 2, 3, 1), atol=1e-5 * np.abs(wanted).max())
    scores = task.models["discriminator"](made, label)
    expected = files.judge(files.discriminator(sizes), sizes, wanted, label, 2)
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-5 * np.abs(expected).max())


def test_the_config_is_that_of_the_file(tmp_path: Any) -> None:
    task = load("torch", tmp_path, CLASSES)
    network = task.config.network
    assert (task.config.resolution, task.config.preset, task.labels) == (16, "paper256", ("0", "1", "2"))
    assert (network.max_channels, network.z_dim, network.w_dim, network.group) == (6, 5, 7, 2)
    assert (network.mapping_depth, network.label_depth, network.mapping_rate) == (2, 3, 0.01)
    assert "NVIDIA" in task.notice


def test_it_is_a_start_for_training(tmp_path: Any, discs: Any, capfd: Any) -> None:
    path = write("torch", tmp_path / "net.pkl", PLAIN)
    task = kerasft.create("face", **reference.read(path).config(), samples={"count": 0})
    task.finetune({"picture": discs(8, 16)}, init_from=path, epochs=1, learning_rate=1e-30, verbose="line")
    said = capfd.readouterr().err
    assert "research and evaluation" in said
    assert "weights taken over" in said
    kernel = task.models["generator"].synthesis.get_layer("b16_conv_0").convolution.kernel
    wanted = files.generator(PLAIN)["synthesis.b16.conv0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(kernel, wanted, atol=1e-6)
    other = kerasft.create("face", resolution=16, samples={"count": 0})
    with pytest.raises(
        TrainingError, match=r"generator/mapping/dense_0/kernel: \(64, 64\) here, \(5, 7\) the"
    ):
        other.finetune({"picture": discs(8, 16)}, init_from=path, epochs=1, verbose="quiet")


def test_the_command_line_takes_the_config_of_the_file(
    tmp_path: Any, discs: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    path, photos = write("tensorflow", tmp_path / "net.pkl", PLAIN), tmp_path / "photos"
    photos.mkdir()
    for number, picture in enumerate(discs(4, 20)):
        Image.fromarray(picture).save(photos / f"{number}.png")
    said = ["kerasft", "finetune", "face", "--data", photos, "--init-from", path, "--run", tmp_path / "run"]
    said += ["--epochs", "1", "--set", "samples.count=0", "--set", "game.augment=none"]
    monkeypatch.setattr("sys.argv", list(map(str, said)))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code, capfd.readouterr().err
    assert "research and evaluation" in capfd.readouterr().err
    task = kerasft.load(tmp_path / "run")
    assert task.config.network.max_channels == PLAIN.most
    assert task.notice == reference.NOTICE
    monkeypatch.setattr("sys.argv", ["kerasft", "finetune", "--data", "x", "--init-from", str(path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert "name the task that reads it" in capfd.readouterr().err


def test_a_malicious_pickle_is_refused_by_name_and_runs_nothing(tmp_path: Any) -> None:
    ran = tmp_path / "ran"
    path = write("torch", tmp_path / "net.pkl", PLAIN, extra=Call(os.system, f"touch {ran}"))
    with pytest.raises(PretrainedError, match=r"asks for (posix|nt)\.system.* not run"):
        Face.import_file(path)
    assert not ran.exists()


def test_other_files_are_one_sentence(tmp_path: Any) -> None:
    g, d = files.generator(PLAIN), files.discriminator(PLAIN)
    path = tmp_path / "net.pkl"
    with pytest.raises(PretrainedError, match=r"architecture 'orig'"):
        Face.import_file(files.write_tensorflow(path, g, d, PLAIN, architecture="orig"))
    less = {name: value for name, value in g.items() if name != "synthesis.b4.const"}
    with pytest.raises(PretrainedError, match=r"no StyleGAN2 generator \(it lacks synthesis.b4.const\)"):
        Face.import_file(files.write_torch(path, less, d, PLAIN))
    more = {**g, "synthesis.b8.skip.weight": np.zeros((1, 1, 1, 1), np.float32)}
    found = Face.import_file(files.write_torch(path, more, d, PLAIN))
    assert found is not None
    with pytest.raises(PretrainedError, match=r"have no place: G.synthesis.b8.skip.weight; only skip gen"):
        found.build()
    gone = {name: value for name, value in d.items() if name != "b4.out.bias"}
    found = Face.import_file(files.write_torch(path, g, gone, PLAIN))
    assert found is not None
    with pytest.raises(PretrainedError, match=r"lack D.b4.out.bias"):
        found.build()
    uneven = {**g, "synthesis.b8.conv1.weight": np.zeros((3, 6, 3, 3), np.float32)}
    with pytest.raises(PretrainedError, match=r"channels that no base and max_channels give"):
        Face.import_file(files.write_torch(path, uneven, d, PLAIN))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PretrainedError, match=r"damaged, cut short"):
        Face.import_file(path)
    other = tmp_path / "net.npz"
    other.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"a file that the task 'face' cannot start from"):
        kerasft.load(other, task="face")
