"""Models: a clip or a skeleton in, features of it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasft.vision.backbones import build_backbone
from kerasft_video.config import VideoConfig
from kerasft_video.models.base import Network
from kerasft_video.models.conv3d import c3d, r2plus1d
from kerasft_video.models.inflated import inflated
from kerasft_video.models.recurrent import cnn_lstm
from kerasft_video.models.skeleton import skeleton
from kerasft_video.models.streaming import movinet_stream

__all__ = ["Network", "build_network", "skeleton"]


def build_network(config: VideoConfig, *, architecture: Mapping[str, Any] | None = None) -> Network:
    """Builds the network of a config for clips, with random weights.

    Args:
        config: Of the task.
        architecture: Of the backbone, from `kerasft.vision.backbones.architecture`.

    Raises:
        ConfigError: The clips are too small for it, or there is no such backbone.
    """
    frames, side, network = config.sampling.frames, config.side, config.network
    if config.model == "c3d":
        return c3d(frames, side, filters=network.filters)
    if config.model == "r2plus1d":
        return r2plus1d(frames, side, filters=network.filters)
    if config.model == "movinet_stream":
        return movinet_stream(frames, side, filters=network.filters)
    backbone = build_backbone(network.backbone, side=side, architecture=architecture)
    if config.model == "i3d":
        return inflated(backbone, frames=frames, side=side)
    return cnn_lstm(backbone, network, frames=frames, side=side, burst=config.sampling.burst)
