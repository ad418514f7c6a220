"""Cartoon faces: drawn from a seed, various, and data for the task."""

from __future__ import annotations

import numpy as np
import pytest

import kerasft
from kerasft.errors import ConfigError, DataError
from kerasft_face import cartoons


@pytest.mark.parametrize("domain", ["people", "aliens"])
def test_faces_are_various_and_the_same_for_a_seed(domain):
    faces = cartoons(domain, count=12, resolution=24)
    assert faces.dtype == np.uint8
    assert faces.shape == (12, 24, 24, 3)
    assert len({face.tobytes() for face in faces}) == 12
    np.testing.assert_array_equal(cartoons(domain, count=5, resolution=24), faces[:5])
    assert not np.array_equal(cartoons(domain, count=12, resolution=24, seed=1), faces)
    assert faces.std(axis=0).mean() > 30


def test_the_domains_differ_in_colour():
    people, aliens = (
        cartoons(domain, count=64, resolution=16)[:, 5:12, 5:11] for domain in ("people", "aliens")
    )
    redder = [float((faces[..., 0].astype(float) - faces[..., 1]).mean()) for faces in (people, aliens)]
    assert redder[0] > 15
    assert redder[1] < -15


def test_they_are_data_for_every_verb(tiny):
    task = kerasft.create("face", **tiny)
    history = task.finetune("cartoons:people?count=8&seed=3", epochs=1, verbose="quiet")
    assert np.isfinite(history.history["generator_loss"]).all()


def test_they_are_what_a_task_without_data_takes(tiny):
    task = kerasft.create("face", **tiny)
    task.finetune(epochs=1, batch_size=1000, verbose="quiet")
    assert np.isfinite(task.evaluate(verbose="quiet")["fid_random_v1"])
    train, test = (task.open_data(task.own_data(split))["picture"] for split in ("train", "test"))
    assert (len(train), len(test)) == (2000, 1000)
    assert not {face.tobytes() for face in train} & {face.tobytes() for face in test}
    with pytest.raises(DataError, match="no train data of its own"):
        kerasft.create("face", **tiny, conditional=True).finetune(epochs=1, verbose="quiet")


@pytest.mark.parametrize(
    "address",
    [
        "cartoons:",
        "cartoons:dogs",
        "cartoons:people?size=3",
        "cartoons:people?count=0",
        "cartoons:aliens?count=x",
    ],
)
def test_an_address_that_names_none_is_one_sentence(tiny, address):
    task = kerasft.create("face", **tiny)
    with pytest.raises(DataError, match=r"names no cartoons; write for example cartoons:people\?count=2000"):
        task.finetune(address, epochs=1, verbose="quiet")


def test_an_unknown_domain_is_one_sentence():
    with pytest.raises(ConfigError, match=r"there is no domain 'dogs'; take people or aliens"):
        cartoons("dogs")
