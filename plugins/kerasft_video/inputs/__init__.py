"""What a task sees: clips of videos, or skeletons in motion."""

from __future__ import annotations

from kerasft_video.config import VideoConfig
from kerasft_video.inputs.base import Input
from kerasft_video.inputs.clips import Clips
from kerasft_video.inputs.skeletons import Skeletons
from kerasft_video.inputs.streams import Streams

__all__ = ["Input", "input_of"]

_INPUTS: dict[str, type[Input]] = {"skeleton": Skeletons, "movinet_stream": Streams}


def input_of(config: VideoConfig) -> Input:
    """Returns what the model of a config sees."""
    return _INPUTS.get(config.model, Clips)(config)
