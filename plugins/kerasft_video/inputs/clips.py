"""Clips of videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kerasft.data import Field
from kerasft.errors import DataError
from kerasft.training import Augmentation
from kerasft.vision.backbones import architecture
from kerasft.vision.resizing import resize
from kerasft_video.augment import augmentation
from kerasft_video.clips import clips_in
from kerasft_video.config import BACKBONES, VideoConfig
from kerasft_video.drawn import ADDRESS, draw
from kerasft_video.inputs.base import Input
from kerasft_video.models import Network, build_network
from kerasft_video.videos import array_of, open_data


class Clips(Input):
    """The column `clip`: a video, or clips that were made from one."""

    column = "clip"
    missing = (
        "the data has no videos: give a folder of them, a table with a column of paths, or a column clip "
        "(arrays [frames, height, width, 3])."
    )

    def __init__(self, config: VideoConfig) -> None:
        super().__init__(config)
        self._architecture: dict[str, Any] | None = None

    @property
    def views(self) -> int:
        return self.config.sampling.views

    def fields(self) -> tuple[Field, ...]:
        return (
            Field(name="clip", kind="any", required=False),
            Field(name="seconds", kind="number", target=True, required=False),
            Field(name="clips", kind="any", request=True, required=False),
        )

    def open_data(self, data: Any, *, target: str) -> Any:
        return open_data(data, target=target, config=self.config)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return f"{ADDRESS}{split}"

    def made(self, value: Any, where: str) -> np.ndarray:
        try:
            array = array_of(value, self.config)
        except DataError as error:
            raise DataError(f"{where}: {error}.") from None
        if array.ndim == 4:
            array = clips_in(array, self.config)
        return np.concatenate([array, array[..., ::-1, :]]) if self.config.sampling.mirror else array

    def network(self) -> Network:
        if self._architecture is None and self.config.model in BACKBONES:
            self._architecture = architecture(self.config.network.backbone)
        return build_network(self.config, architecture=self._architecture)

    def augmentation(self) -> Augmentation | None:
        return augmentation(self.config.augment)

    def learned(self) -> dict[str, Any]:
        return {"architecture": self._architecture}

    def restore(self, learned: Mapping[str, Any]) -> None:
        self._architecture = learned["architecture"]

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "clip" not in raw:
            raise DataError(f"{self.missing[0].upper()}{self.missing[1:]}")
        config = self.config
        shape, side = tf.shape(raw["clip"]), config.side
        pictures = tf.reshape(raw["clip"], tf.concat([[-1], shape[2:]], 0))
        pictures = resize(pictures, size=side, fit=config.fit)
        return {"clip": tf.reshape(pictures, (shape[0], config.sampling.frames, side, side, 3))}

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if signature in rows:
            return {"clips": rows["clips"]}
        if "clip" not in rows:
            return {}
        videos = [self.made(value, f"row {number}") for number, value in enumerate(rows["clip"])]
        if signature == "clips":
            return {"clips": videos}
        middle = self.config.sampling.clips // 2
        return {"clip": [clips[middle] for clips in videos]}

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        clip = [self.config.sampling.frames, None, None, 3]
        return {
            "serving_default": {"clip": tf.TensorSpec([None, *clip], tf.uint8)},
            "clips": {"clips": tf.TensorSpec([None, None, *clip], tf.uint8)},
        }

    def example(self, count: int) -> dict[str, list[Any]]:
        drawn = draw(count, frames=self.config.sampling.frames, side=self.config.side)
        return {"clip": list(drawn), "clips": list(np.repeat(drawn[:, None], 2, axis=1))}
