"""The other architecture: a DCGAN in the same task, its weights, and its faces as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kerasft
from kerasft.errors import ConfigError, DataError
from kerasft.pretrained import cached
from kerasft.testing import check_task
from kerasft_face import synthetic
from kerasft_face.samples import between, faces
from kerasft_face.wspace import face_styles

TINY = {
    "architecture": "dcgan",
    "resolution": 8,
    "network": {"base": 64, "max_channels": 8, "z_dim": 8},
    "samples": {"count": 0},
    "metrics": {"samples": 8},
    "training": {"batch_size": 4, "epochs": 2},
}


@pytest.fixture
def fetched() -> None:
    if cached("dcgan_faces") is None:
        pytest.skip("the dcgan_faces weights are not cached; run: kerasft fetch dcgan_faces")


def test_it_keeps_every_promise() -> None:
    check_task("face", **TINY).raise_if_failed()


def test_a_step_has_two_turns_and_r1_on_request() -> None:
    names = []
    for gamma in (0.0, 1.0):
        task = kerasft.create("face", **TINY, game={"gamma": gamma})
        task.build()
        names.append([update.name for update in task.updates(lambda **settings: None)])
    assert names == [["discriminator", "generator"], ["discriminator", "r1", "generator"]]


def test_its_defaults_are_those_of_the_paper() -> None:
    config = kerasft.create("face", architecture="dcgan").config
    assert (config.resolution, config.network.z_dim, config.adam.beta_1) == (64, 100, 0.5)
    assert (config.training.learning_rate, config.game.path_weight) == (2e-4, 0.0)
    with pytest.raises(ConfigError, match=r"a DCGAN knows no conditional: leave it out, or take"):
        kerasft.create("face", architecture="dcgan", conditional=True)
    with pytest.raises(ConfigError, match=r"a DCGAN knows no preset paper256"):
        kerasft.create("face", architecture="dcgan", preset="paper256")
    with pytest.raises(ConfigError, match=r"a DCGAN knows no game.path_weight"):
        kerasft.create("face", architecture="dcgan", game={"path_weight": 2.0})
    with pytest.raises(ConfigError, match=r"pretrained dcgan_faces is a DCGAN: set architecture"):
        kerasft.create("face", pretrained="dcgan_faces")


def test_training_moves_it_towards_the_pictures(discs: Any) -> None:
    task = kerasft.create(
        "face", **{**TINY, "training": {"batch_size": 16, "learning_rate": 5e-3, "ema": 100.0, "epochs": 40}}
    )
    real = discs(64, 8)
    task.build()
    before = np.abs(faces(task, range(16)).mean((0, 1, 2)) - real.mean((0, 1, 2))).mean()
    task.finetune({"picture": real}, verbose="quiet")
    after = np.abs(faces(task, range(16)).mean((0, 1, 2)) - real.mean((0, 1, 2))).mean()
    assert after < before / 2


def test_what_it_answers() -> None:
    task = kerasft.create("face", **TINY)
    task.build()
    assert set(task.signatures()) == {"serving_default", "synthesize_z"}
    alone, three = faces(task, [5]), faces(task, [1, 5, 9])
    np.testing.assert_array_equal(alone[0], three[1])
    middle = faces(task, [1, 2], truncation=0.0)
    np.testing.assert_array_equal(middle[0], middle[1])
    walk = between(task, [1, 5], steps=4)
    np.testing.assert_array_equal(walk[0], three[0])
    with pytest.raises(ConfigError, match=r"has no styles, since it is no StyleGAN2"):
        face_styles(task, [1])


def test_addresses_of_its_faces() -> None:
    with pytest.raises(DataError, match=r"write for example dcgan_faces\?count=2000&seed=0, with at most"):
        kerasft.create("face").open_data("dcgan_faces?number=3")
    assert not synthetic.is_address("./dcgan_faces")


@pytest.mark.fetched
@pytest.mark.usefixtures("fetched")
def test_it_starts_from_the_fetched_weights_and_its_faces_are_data() -> None:
    task = kerasft.create("face", architecture="dcgan", pretrained="dcgan_faces")
    task.build()
    made = faces(task, range(4))
    # Faces: light in the middle, of more than one kind.
    assert made[:, 16:48, 16:48].mean() > made.mean()
    assert made.std(0).mean() > 10
    data = kerasft.create("face", resolution=16).open_data("dcgan_faces?count=5&seed=3")["picture"]
    assert data.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(data[:2], synthetic.dcgan_faces(count=2, resolution=16, seed=3))
    assert np.abs(data[:2].astype(int) - data[2:4]).mean() > 5
