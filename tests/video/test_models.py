"""What the layers of models compute; an inflated model sees a still clip as its picture."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kerasft
from kerasft.errors import ConfigError
from kerasft.vision.backbones import build_backbone
from kerasft_video.config import NetworkConfig, VideoConfig
from kerasft_video.drawn import draw
from kerasft_video.models import build_network
from kerasft_video.models.folding import Differences, EachFrame
from kerasft_video.models.inflated import Inflated, inflated
from kerasft_video.models.skeleton import Distances, Moved, Normalized
from kerasft_video.skeletons import drawn

Tiny = dict[str, Any]


def shaken(model: keras.Model) -> None:
    """Gives all weights, statistics of norms included, values as training leaves them."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        spread = 0.5 if weight.name.endswith("variance") else 0.1
        weight.assign(np.asarray(weight) + random.uniform(0, spread, weight.shape))


@pytest.mark.parametrize("name", ["resnet20", "efficientnet_lite0", "MobileNetV2"])
def test_a_still_clip_gives_what_its_picture_gives(name: str) -> None:
    backbone = build_backbone(name, side=32)
    shaken(backbone.model)
    network = inflated(backbone, frames=4, side=32)
    assert sum(isinstance(layer, Inflated) for layer in network.model.get_layer("i3d").model.layers) > 10
    pictures = draw(2, frames=1)[:, 0].astype(np.float32)
    still = np.repeat(pictures[:, None], 4, axis=1)
    of_picture = np.asarray(backbone.model(pictures, training=False)).mean(axis=(1, 2))
    of_clip = np.asarray(network.model(still, training=False))
    np.testing.assert_allclose(of_clip, of_picture, rtol=1e-4, atol=1e-5)


def test_a_still_clip_gives_the_logits_of_the_image_task() -> None:
    labels = {"labels": ["a", "b", "c"], "head": {"dropout": 0.0}}
    image = kerasft.create("image", backbone="resnet20", **labels)
    video = kerasft.create(
        "video", model="i3d", size=32, network={"backbone": "resnet20"}, sampling={"frames": 3}, **labels
    )
    flat, deep = image.build(), video.build()
    shaken(flat)
    backbone = flat.get_layer("resnet20")
    for layer in deep.get_layer("i3d").model.layers:
        if isinstance(layer, Inflated):
            layer.inflate(backbone.get_layer(layer.name))
        elif layer.weights:
            layer.set_weights(backbone.get_layer(layer.name).get_weights())
    deep.get_layer("logits").set_weights(flat.get_layer("logits").get_weights())
    pictures = draw(3, frames=1)[:, 0]
    of_picture = image.predict({"image": pictures}, signature="image", verbose="quiet")
    of_clip = video.predict({"clip": np.repeat(pictures[:, None], 3, axis=1)}, verbose="quiet")
    np.testing.assert_allclose(of_clip["scores"], of_picture["scores"], atol=1e-5)


def test_an_inflated_model_tells_a_clip_from_its_reverse() -> None:
    network = inflated(build_backbone("resnet20", side=32), frames=4, side=32)
    shaken(network.model)
    clip = draw(1, frames=4).astype(np.float32)
    forth, back = (np.asarray(network.model(frames, training=False)) for frames in (clip, clip[:, ::-1]))
    assert np.abs(forth - back).max() > 1e-3


def test_a_backbone_of_several_models_cannot_be_inflated() -> None:
    inner = build_backbone("cnn", side=16, filters=(4,)).model
    picture = keras.Input((16, 16, 3))
    backbone = build_backbone("cnn", side=16, filters=(4,))
    nested = type(backbone)(model=keras.Model(picture, inner(picture)), groups=backbone.groups)
    with pytest.raises(ConfigError, match="i3d takes a backbone of one piece"):
        inflated(nested, frames=2, side=16)


def test_frames_are_seen_one_by_one() -> None:
    backbone = build_backbone("cnn", side=16, filters=(4,)).model
    clips = draw(2, frames=3, side=16).astype(np.float32)
    together = np.asarray(EachFrame(backbone, name="each")(clips))
    assert together.shape[:2] == (2, 3)
    for clip, seen in zip(clips, together, strict=True):
        np.testing.assert_allclose(seen, np.asarray(backbone(clip)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("burst", "places"),
    [(1, [(0, 1), (1, 2), (2, 3)]), (2, [(0, 1), (2, 3)]), (4, [(0, 1), (0, 2), (0, 3)])],
)
def test_differences_are_of_neighbours(burst: int, places: list[tuple[int, int]]) -> None:
    clip = draw(1, frames=4, side=8)
    changes = np.asarray(Differences(burst, name="d")(clip))[0]
    for change, (one, other) in zip(changes, places, strict=True):
        expected = (clip[0, other].astype(float) - clip[0, one]) * 2 + 128
        np.testing.assert_allclose(change, np.clip(expected, 0, 255))


def test_skeletons_are_seen_wherever_they_stand_and_however_large_they_are() -> None:
    xy = drawn(2, joints=4, dimensions=2)
    plain, moved = (np.asarray(Normalized()(value)) for value in (xy, xy * 7 + 100))
    np.testing.assert_allclose(plain, moved, atol=1e-3)
    distances = np.asarray(Distances()(xy))
    assert distances.shape == (2, 12, 6)
    np.testing.assert_allclose(distances[1, 5, 0], np.linalg.norm(xy[1, 5, 0] - xy[1, 5, 1]), rtol=1e-3)
    slow, fast = (np.asarray(Moved(step, name="m")(xy)) for step in (1, 2))
    np.testing.assert_allclose(slow[0, 3], (xy[0, 4] - xy[0, 3]).ravel(), rtol=1e-5)
    np.testing.assert_allclose(fast[0, 3], (xy[0, 8] - xy[0, 6]).ravel(), rtol=1e-5)


@pytest.mark.parametrize("sees", ["frames", "motion", "both"])
@pytest.mark.parametrize(("burst", "recurrent", "width"), [(1, "gru", 10), (2, "lstm", 10), (3, "none", 128)])
def test_the_recurrent_model_takes_any_bursts(sees: Any, burst: int, recurrent: Any, width: int) -> None:
    config = VideoConfig(
        model="cnn_lstm",
        size=16,
        sampling={"frames": 6, "burst": burst},
        network=NetworkConfig(backbone="cnn", sees=sees, recurrent=recurrent, units=5),
    )
    network = build_network(config)
    features = network.model(draw(2, frames=6, side=16).astype(np.float32))
    assert features.shape == (2, width * (2 if sees == "both" and recurrent == "none" else 1))
    assert list(network.groups) == ["stage_0", "stage_1", "stage_2"]
    assert len(network.head) == (1 if recurrent == "none" else 4)


def test_a_frozen_backbone_is_computed_once(capsys: pytest.CaptureFixture[str]) -> None:
    task = kerasft.create(
        "video",
        model="cnn_lstm",
        size=16,
        sampling={"frames": 4},
        network={"backbone": "cnn", "sees": "both", "recurrent": "none"},
    )
    data = {"clip": draw(16, frames=4, side=16), "label": ["a", "b"] * 8}
    task.finetune(data, epochs=2, freeze="backbone", verbose="line")
    assert "feature cache on" in capsys.readouterr().err
    before = task.predict(data, verbose="quiet")["scores"]
    task.finetune(data, epochs=2, freeze="stage_0", verbose="line")
    assert "feature cache off" in capsys.readouterr().err
    assert np.abs(task.predict(data, verbose="quiet")["scores"] - before).max() > 0
