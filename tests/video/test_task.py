"""The whole way: files in, a run, an export that answers as `predict` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, DataError
from kerasft.testing import check_task
from kerasft.training import Batch
from kerasft_video.drawn import WAYS, draw, moving_shapes
from kerasft_video.scores import OverClips

Tiny = dict[str, Any]


def test_it_keeps_the_promises_of_tasks() -> None:
    settings: Tiny = {"model": "c3d", "size": 16, "network": {"filters": (4, 8)}}
    frames = {"sampling": {"frames": 4}, "training": {"epochs": 2}}
    check_task("video", **settings, **frames, only=[*_UNTRAINED, *_TRAINED]).raise_if_failed()


def test_it_keeps_the_promises_of_tasks_with_skeletons() -> None:
    """What a trained one answers is seen in test_skeletons.py."""
    settings: Tiny = {"model": "skeleton", "skeleton": {"filters": (4,)}, "sampling": {"frames": 4}}
    check_task("video", **settings, only=_UNTRAINED).raise_if_failed()


_UNTRAINED = [
    "class",
    "config",
    "example",
    "signatures",
    "build",
    "groups",
    "preprocess",
    "targets",
    "request",
    "loss",
    "gradients",
    "metrics",
]
_TRAINED = ["outputs", "serve", "batches"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["r2plus1d", "c3d", "movinet_stream", "skeleton", "cnn_lstm", "i3d"])
def test_it_keeps_all_promises_of_tasks(model: str) -> None:
    backbone = {"network": {"backbone": "resnet20"}, "size": 32} if model in ("cnn_lstm", "i3d") else {}
    # Its many normalisations need some steps until what they have seen tells such similar clips apart.
    slowly = {"training": {"epochs": 30, "learning_rate": 5e-4}} if model == "movinet_stream" else {}
    check_task("video", model=model, sampling={"frames": 4}, **backbone, **slowly).raise_if_failed()


@pytest.mark.slow
def test_shapes_that_move_are_learned() -> None:
    task = kerasft.create("video")
    task.finetune(epochs=5, verbose="quiet")
    assert task.evaluate(verbose="quiet")["accuracy"] >= 0.95


def test_no_frame_alone_tells_how_a_shape_moves() -> None:
    clips = moving_shapes("train")["clip"].astype(np.float32)
    ways = {way: clips[number :: len(WAYS)].mean(axis=(0, 1, 4)) for number, way in enumerate(WAYS)}
    for way in ("left", "right", "up", "down"):
        assert np.abs(ways[way] - ways["left"]).mean() < 6
    assert np.abs(ways["grow"] - ways["shrink"]).mean() < 6


def test_a_run_of_files(tiny: Tiny, video: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(8):
        video(f"data/{'ab'[number % 2]}/{number}.mp4", count=6 + number, seed=number)
    task = kerasft.create("video", **tiny)
    task.finetune(tmp_path / "data", run_dir=tmp_path / "run", verbose="quiet")
    again = kerasft.load(tmp_path / "run")
    answers = [t.predict(tmp_path / "data", verbose="quiet")["scores"] for t in (task, again)]
    np.testing.assert_allclose(*answers, atol=1e-6)
    one = again.predict([tmp_path / "data/a/0.mp4"], verbose="quiet")
    np.testing.assert_allclose(one["scores"], answers[0][:1], atol=1e-5)
    assert set(one["label"].astype(str)) <= {"a", "b"}


def test_frames_of_any_size_are_brought_to_that_of_the_model(tiny: Tiny) -> None:
    task = kerasft.create("video", **tiny, labels=["a", "b"])
    task.build()
    clip = draw(1, frames=4, side=16)
    large = np.repeat(np.repeat(clip, 3, axis=2), 3, axis=3)
    wide = np.concatenate([np.zeros_like(large)[..., :10, :], large, np.zeros_like(large)[..., :10, :]], 3)
    small, other = (task.predict({"clip": value}, verbose="quiet")["scores"] for value in (clip, wide))
    np.testing.assert_allclose(small, other, atol=1e-2)


def test_scores_are_averaged_over_clips_in_evaluation_and_in_serving(tiny: Tiny) -> None:
    settings = {**tiny, "sampling": {"frames": 4, "clips": 3, "mirror": True}}
    task = kerasft.create("video", **settings)
    data = {"clip": draw(10, frames=20, side=16), "label": ["a", "b"] * 5}
    task.finetune(data, epochs=1, verbose="quiet")
    scores = task.predict(data, signature="clips", verbose="quiet")["scores"]
    alone = [
        task.predict({"clip": clips[:, view]}, verbose="quiet")["scores"]
        for clips in [np.stack([task.input.made(value, "") for value in data["clip"]])]
        for view in range(6)
    ]
    np.testing.assert_allclose(scores, np.mean(alone, axis=0), atol=1e-6)
    right = np.mean(np.array(["a", "b"])[scores.argmax(-1)] == data["label"])
    for batch_size in (4, 7, 64):
        found = task.evaluate(data, batch_size=batch_size, verbose="quiet")["accuracy"]
        assert found == pytest.approx(right)


@pytest.mark.parametrize(("training", "right"), [(True, 1.0), (False, 0.0)])
def test_clips_are_judged_one_by_one_in_training_where_they_are_shuffled(
    tiny: Tiny, training: bool, right: float
) -> None:
    task = kerasft.create("video", **{**tiny, "sampling": {"frames": 4, "clips": 2}}, labels=["a", "b"])
    metrics = task.metrics()
    batch = Batch(features={}, targets={"label": tf.constant([0, 1])})
    task.update_metrics(metrics, batch, tf.constant([[5.0, 0.0], [0.0, 1.0]]), training=training)
    assert float(metrics["classification"].result()["accuracy"]) == right


def test_clips_of_a_video_may_lie_in_two_batches() -> None:
    metric = OverClips(keras.metrics.SparseCategoricalAccuracy(), clips=3, classes=2)
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8], [0.9, 0.1]])
    for start, end in ((0, 1), (1, 2), (2, 5), (5, 6)):
        metric.update_state(np.array([0, 0, 0, 1, 1, 1])[start:end], scores[start:end])
    assert float(metric.result()) == 1.0
    metric.reset_state()
    metric.update_state([1, 1, 1], scores[:3])
    assert float(metric.result()) == 0.0


def test_settings_that_do_nothing_are_refused() -> None:
    for settings, message in (
        ({"model": "c3d", "network": {"units": 3}}, "network.units does nothing for the model 'c3d'"),
        ({"model": "skeleton", "size": 64}, "size does nothing for the model 'skeleton'"),
        ({"sampling": {"step": 2}}, "step does nothing with mode 'uniform'"),
        ({"sampling": {"mode": "dense", "burst": 2}}, "burst does nothing with mode 'dense'"),
        ({"sampling": {"frames": 5, "burst": 2}}, "frames is 5, which is no multiple of burst"),
    ):
        with pytest.raises(ConfigError, match=message):
            kerasft.create("video", **settings)


def test_a_request_of_other_frames_is_refused(tiny: Tiny) -> None:
    task = kerasft.create("video", **tiny, labels=["a", "b"])
    task.build()
    with pytest.raises(DataError, match="which is no video"):
        task.predict({"clip": np.zeros((2, 4, 16, 16), np.uint8)}, verbose="quiet")


def test_a_few_large_clips_are_answered_at_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    task = kerasft.create("video", **tiny, labels=["a", "b"])
    task.build()
    data = {"clip": draw(40, frames=4, side=16)}
    whole = task.predict(data, verbose="quiet")["scores"]
    monkeypatch.setattr("kerasft.prediction._BYTES", 9 * data["clip"][0].nbytes)
    predictor = task._predictors["serving_default"]
    sizes: list[int] = []
    answer = predictor._function

    def counted(**inputs: Any) -> Any:
        sizes.append(len(inputs["clip"]))
        return answer(**inputs)

    monkeypatch.setattr(predictor, "_function", counted)
    np.testing.assert_allclose(task.predict(data, verbose="quiet")["scores"], whole, atol=1e-6)
    assert sizes == [16, 9, 9, 6]


def test_clips_that_were_made_already_are_taken_as_they_are(tiny: Tiny) -> None:
    task = kerasft.create("video", **tiny, labels=["a", "b"])
    task.build()
    videos = draw(3, frames=9, side=24)
    made = [task.input.made(video, "") for video in videos]
    scores = [task.predict({"clip": value}, verbose="quiet")["scores"] for value in (list(videos), made)]
    np.testing.assert_array_equal(*scores)
