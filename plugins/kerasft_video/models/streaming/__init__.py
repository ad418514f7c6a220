"""Causal models: a clip at once, or a frame at a time with a state that goes in and comes out."""

from __future__ import annotations

from kerasft_video.models.streaming.movinet import Stream, Streaming, movinet_stream, state_size

__all__ = ["Stream", "Streaming", "movinet_stream", "state_size"]
