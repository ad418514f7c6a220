from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import keras
import numpy as np
import pytest

import kerasft_video.task  # noqa: F401  registers the task where no entry point does
from kerasft_video.drawn import draw

TINY = {
    "size": 16,
    "sampling": {"frames": 4},
    "network": {"filters": (4,)},
    "training": {"batch_size": 8, "epochs": 2},
}
"""The smallest network that learns something."""


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


def write_video(path: Path, frames: np.ndarray, *, fps: int = 10) -> Path:
    """Writes frames, uint8 `[frames, height, width, 3]`, as a video of the kind that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, pixels = {".gif": ("gif", "rgb8"), ".avi": ("mjpeg", "yuvj420p")}.get(
        path.suffix, ("mpeg4", "yuv420p")
    )
    # The index comes first, so a file that is cut short still says how many frames it should have.
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video of moving shapes, or of given frames, under a name."""

    def write(name: str, frames: np.ndarray | None = None, *, count: int = 12, seed: int = 0) -> Path:
        if frames is None:
            frames = draw(1, frames=count, side=32, seed=seed)[0]
        return write_video(tmp_path / name, frames)

    return write
