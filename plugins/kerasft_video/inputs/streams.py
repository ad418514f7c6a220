"""Clips for training, and single frames with a state at serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.data import Field
from kerasft_video.inputs.clips import Clips
from kerasft_video.models.streaming import state_size

START, NEXT = STREAMED = ("stream_start", "stream_next")
"""Signatures: the first frame of a stream, and each further one with the state that the one before gave."""


class Streams(Clips):
    """The column `clip`, and requests of a frame at a time."""

    def fields(self) -> tuple[Field, ...]:
        frame, state = (Field(name=name, kind="any", request=True) for name in ("frame", "state"))
        return (*super().fields(), frame, state)

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if signature in STREAMED:
            return {name: rows[name] for name in self.signatures()[signature] if name in rows}
        return super().request(rows, signature=signature)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        frame = tf.TensorSpec([None, None, None, 3], tf.uint8)
        state = tf.TensorSpec([None, self._size], tf.float32)
        return {**super().signatures(), START: {"frame": frame}, NEXT: {"frame": frame, "state": state}}

    def example(self, count: int) -> dict[str, list[Any]]:
        columns = super().example(count)
        # Numbers of frames are in it, so none is below 0.
        states = np.abs(np.random.default_rng(0).normal(0, 0.5, (count, self._size))).astype(np.float32)
        return {**columns, "frame": [clip[0] for clip in columns["clip"]], "state": list(states)}

    @property
    def _size(self) -> int:
        return state_size(self.config.side, self.config.network.filters)
