"""Videos for kerasft: classification of clips and of skeletons in motion, from files to a SavedModel.

An export answers `clip: uint8[None, T, H, W, 3]`, RGB frames of any height and width (the graph brings them
to the size of the model) and exactly `sampling.frames` of them, with `label` string `[None]`, `scores`
float32 `[None, labels]` and `labels` string `[labels]`. Which frames of a longer video or of a live window
make a clip says `kerasft_video.sampling.clips_of`; `kerasft_video.reading.frames` reads them from files,
folders of pictures, cameras and URLs.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("video")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_video.config import VideoConfig
    from kerasft_video.drawn import moving_shapes
    from kerasft_video.reading import Frame, frames
    from kerasft_video.task import Video

__all__ = ["Frame", "Video", "VideoConfig", "frames", "moving_shapes"]

_HOMES = {
    "Frame": "reading",
    "Video": "task",
    "VideoConfig": "config",
    "frames": "reading",
    "moving_shapes": "drawn",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
