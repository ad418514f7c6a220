"""Models: a clip in, features of it out."""

from __future__ import annotations

from kerasft_video.config import VideoConfig
from kerasft_video.models.base import Network
from kerasft_video.models.conv3d import c3d, r2plus1d

__all__ = ["Network", "build_network"]


def build_network(config: VideoConfig) -> Network:
    """Builds the network of a config with random weights.

    Raises:
        ConfigError: The clips are too small for it.
    """
    build = {"c3d": c3d, "r2plus1d": r2plus1d}[config.model]
    return build(config.sampling.frames, config.side, filters=config.network.filters)
