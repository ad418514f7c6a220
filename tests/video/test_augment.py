"""Clips are changed as wholes: all frames of one in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kerasft
from kerasft_video.augment import augmentation
from kerasft_video.config import AugmentConfig
from kerasft_video.drawn import draw


def changed(clips: np.ndarray, **settings: Any) -> np.ndarray:
    found = augmentation(AugmentConfig(**settings))
    assert found is not None
    return found.change({"clip": clips}, {})[0]["clip"].numpy()


def test_nothing_is_asked_for() -> None:
    assert augmentation(AugmentConfig()) is None


def test_half_of_the_clips_are_mirrored_from_first_to_last_frame() -> None:
    clips = draw(24, frames=3, side=8)
    result = changed(clips, flip=True)
    for clip, made in zip(clips, result, strict=True):
        assert (made == clip).all() or (made == clip[:, :, ::-1]).all()
    assert 0 < (result == clips).all(axis=(1, 2, 3, 4)).sum() < 24


@pytest.mark.parametrize("settings", [{"shift": 0.3}, {"brightness": 0.2}])
def test_frames_of_a_still_clip_stay_alike_and_clips_differ(settings: dict[str, float]) -> None:
    still = np.repeat(draw(1, frames=1, side=16), 3, axis=1)
    made = changed(np.repeat(still, 6, axis=0), **settings)
    np.testing.assert_array_equal(made, np.repeat(made[:, :1], 3, axis=1))
    assert np.abs(np.diff(made, axis=0)).max(axis=(1, 2, 3, 4)).min() > 1
    assert made.min() >= 0
    assert made.max() <= 255


def test_training_sees_changed_clips_and_serving_does_not(tiny: dict[str, Any]) -> None:
    task = kerasft.create("video", **tiny, augment={"flip": True, "shift": 0.1, "brightness": 0.1})
    data = {"clip": draw(8, frames=4, side=16), "label": ["a", "b"] * 4}
    history = task.finetune(data, verbose="quiet").history
    assert np.isfinite(history["loss"]).all()
    answers = [task.predict(data, verbose="quiet")["scores"] for _ in range(2)]
    np.testing.assert_array_equal(*answers)
