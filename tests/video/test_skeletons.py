"""Skeletons are read from what holds them, checked, and changed at random for training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kerasft
from kerasft.data import open_source
from kerasft.errors import DataError, OrderError
from kerasft_video.config import SkeletonConfig
from kerasft_video.skeletons import Changed, drawn, paced
from kerasft_video.task import Video

SETTINGS: dict[str, Any] = {
    "model": "skeleton",
    "sampling": {"frames": 8},
    "skeleton": {"filters": (4,)},
    "training": {"epochs": 1, "batch_size": 8},
}


def opened(data: Any, task: Video | None = None, **settings: Any) -> Any:
    task = task or Video(**SETTINGS)
    return open_source(task.open_data(data), fields=task.fields(), **settings)


def test_archives_of_any_layout_and_lines(tmp_path: Path) -> None:
    xy, labels = drawn(4, joints=3, dimensions=2), np.array(["a", "b", "a", "b"])
    np.savez(tmp_path / "one.npz", xy=xy, label=labels)
    np.savez(tmp_path / "ends.npz", xy=xy.reshape(-1, 3, 2), offsets=np.arange(5) * 12, labels=labels)
    lines = zip(xy.tolist(), labels.tolist(), strict=True)
    (tmp_path / "lines.jsonl").write_text(
        "".join(json.dumps({"keypoints": value, "label": label}) + "\n" for value, label in lines)
    )
    for data in (tmp_path / "one.npz", tmp_path / "ends.npz", tmp_path / "lines.jsonl", (xy, labels)):
        rows = opened(data).take([0, 3])
        assert rows["label"] == ["a", "b"]
        np.testing.assert_allclose(np.stack(rows["xy"]), xy[[0, 3]], rtol=1e-6)


def test_skeletons_of_any_length_train_and_are_served(tmp_path: Path) -> None:
    xy = [value[: 6 + number] for number, value in enumerate(drawn(8, joints=3, dimensions=3, frames=14))]
    data = {"xy": xy, "label": ["a", "b"] * 4}
    task = kerasft.create("video", **SETTINGS, labels=["a", "b"])
    with pytest.raises(OrderError, match="The number of joints is not known yet"):
        task.build()
    task.finetune(data, run_dir=tmp_path / "run", verbose="quiet")
    scores = task.predict(data, verbose="quiet")["scores"]
    loaded = kerasft.load(tmp_path / "run")
    np.testing.assert_allclose(loaded.predict(data, verbose="quiet")["scores"], scores, atol=1e-6)
    # The graph brings a request to the pace of the model as training did.
    alone = loaded.serve({"xy": np.asarray(xy[2])[None]}, signature="serving_default")["scores"]
    np.testing.assert_allclose(alone, scores[2:3], atol=1e-5)


def test_bad_skeletons_are_named_and_can_be_skipped() -> None:
    good = drawn(1, joints=3, dimensions=2)[0]
    hole = good.copy()
    hole[5, 2, 0] = np.nan
    ragged = [[[0.0, 1.0]] * 3, [[0.0, 1.0]] * 2]
    bad: list[Any] = [hole, good[:1], good[0], ragged, good[..., :1]]
    source = opened({"xy": [good, *bad], "label": list("abbbbb")}, on_error="skip")
    assert (len(source), source.skipped) == (1, 5)
    for words in (
        "no number for joint 2 of frame 5",
        "a skeleton of 1 frame",
        "of the shape (3, 2)",
        "different numbers of joints",
        "of the shape (12, 3, 1)",
    ):
        assert words in "\n".join(source.skip_examples)
    with pytest.raises(DataError, match=r"the arrays, row 0: no number for joint 2 of frame 5"):
        opened({"xy": [hole], "label": ["a"]})


def test_other_numbers_of_joints_are_refused() -> None:
    three, four = (drawn(1, joints=joints, dimensions=2)[0] for joints in (3, 4))
    task = kerasft.create("video", **SETTINGS)
    with pytest.raises(DataError, match="skeletons have 3 joints in some rows and 4 in others"):
        task.finetune({"xy": [three, four], "label": ["a", "b"]}, verbose="quiet")
    task = kerasft.create("video", **SETTINGS)
    task.adapt(opened({"xy": [three, three], "label": ["a", "b"]}, task))
    task.build()
    with pytest.raises(DataError, match="a skeleton of 4 joints in 2 dimensions, but the model knows 3 in 2"):
        task.predict({"xy": [four]}, verbose="quiet")


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "ends.npz", xy=np.zeros((5, 3, 2)), offsets=np.array([0, 9]), labels=["a"])
    for name, message in (
        ("text.npz", "is no readable .npz"),
        ("none.npz", "is no readable .npz"),
        ("other.npz", "has the arrays a; one must be called xy"),
        ("ends.npz", "offsets must go from 0 to 5"),
    ):
        with pytest.raises(DataError, match=message):
            opened(tmp_path / name)


def test_another_pace_keeps_the_ends_and_the_way() -> None:
    xy = drawn(2, joints=3, dimensions=2)
    np.testing.assert_array_equal(paced(xy, 12), xy)
    slower = paced(xy, 23).numpy()
    np.testing.assert_allclose(slower[:, ::2], xy, atol=1e-6)
    np.testing.assert_allclose(slower[:, 1], (xy[:, 0] + xy[:, 1]) / 2, atol=1e-6)


NOTHING: dict[str, Any] = {"crop": 0.0, "flip": False, "rotate": 0.0, "scale": 0.0, "noise": 0.0}


def test_each_change_does_what_it_says() -> None:
    xy = drawn(40, joints=3, dimensions=2)

    def changed(**settings: Any) -> np.ndarray:
        return Changed(SkeletonConfig(**{**NOTHING, **settings}))(xy).numpy()

    np.testing.assert_allclose(changed(), xy, atol=1e-5)
    mirrored = changed(flip=True, pairs=[(0, 2)])
    back = xy[:, :, [2, 1, 0]] * np.array([-1.0, 1.0])
    as_it_was = np.isclose(mirrored, xy, atol=1e-5).all(axis=(1, 2, 3))
    assert np.isclose(mirrored, back, atol=1e-5).all(axis=(1, 2, 3))[~as_it_was].all()
    assert 5 < as_it_was.sum() < 35
    lengths = np.linalg.norm(changed(rotate=90.0), axis=-1)
    np.testing.assert_allclose(lengths, np.linalg.norm(xy, axis=-1), atol=1e-4)
    sizes = changed(scale=0.5)[:, 0, 0, 0] / xy[:, 0, 0, 0]
    assert ((sizes > 0.5) & (sizes < 1.5)).all()
    assert sizes.std() > 0.1
    shorter = changed(crop=0.5)
    assert (np.abs(shorter - xy).max(axis=(1, 2, 3)) > 1e-3).mean() > 0.9
    assert shorter.min() >= xy.min() - 1e-5
    assert shorter.max() <= xy.max() + 1e-5
    noisy = changed(noise=0.1) - xy
    assert noisy.std() == pytest.approx(0.1 * xy.std(axis=(1, 2, 3)).mean(), rel=0.2)
