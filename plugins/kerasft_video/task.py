"""The video task: labels for clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft import metrics
from kerasft.data import Field, Source
from kerasft.errors import DataError, OrderError
from kerasft.training import Batch
from kerasft.vision.resizing import resize
from kerasft_video.clips import clips_in
from kerasft_video.config import VideoConfig
from kerasft_video.data import open_data
from kerasft_video.drawn import ADDRESS, WAYS, draw
from kerasft_video.models import Network, build_network
from kerasft_video.scores import OverClips
from kerasft_video.views import Views

_LEARNED = "video.json"
_EXAMPLES = 8


@kerasft.register("video")
class Video(kerasft.Task):
    """One label for each video.

    Example:
        >>> task = kerasft.create("video", labels=["fight", "none"])
        >>> [field.name for field in task.fields()]
        ['clip', 'clips', 'label']
    """

    config_class = VideoConfig
    monitor = "val_accuracy"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._labels: tuple[str, ...] | None = self.config.labels
        self._network: Network | None = None
        self._groups: dict[str, list[keras.Layer]] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels.

        Raises:
            OrderError: they are not known before the training data is.
        """
        if self._labels is None:
            raise OrderError(
                "The labels are not known yet: call finetune(data), which learns them, or give labels=[...] "
                "before build()."
            )
        return self._labels

    def fields(self) -> tuple[Field, ...]:
        return (
            Field(name="clip", kind="any", required=False, aliases=("video", "videos", "frames", "x")),
            Field(name="clips", kind="any", request=True),
            Field(name="label", kind="label", target=True, classes=self._labels),
        )

    def open_data(self, data: Any) -> Any:
        return open_data(data, target="label", config=self.config)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return f"{ADDRESS}{split}"

    def adapt(self, source: Source) -> None:
        if "clip" not in source.columns:
            raise DataError(f"{source.name}: {_NO_VIDEOS[0].lower()}{_NO_VIDEOS[1:]}")
        if self._labels is None:
            self._labels = source.classes("label")
        if len(self._labels) < 2:
            raise DataError(
                f"{source.name} has only one label, {self._labels[0]!r}; a classifier needs examples of two: "
                "put the videos of each into a folder of its own, or name a column of labels."
            )

    def arrange(self, source: Source, *, training: bool) -> Source:
        if "clip" not in source.columns:
            raise DataError(f"{source.name}: {_NO_VIDEOS[0].lower()}{_NO_VIDEOS[1:]}")
        return Views(
            source,
            column="clip",
            views=self.config.sampling.clips,
            make=lambda value, row: self._clips(value, source.where(row)),
        )

    def _clips(self, value: Any, where: str) -> np.ndarray:
        """Returns the clips of a value of the column clip: made from a video already, or not yet."""
        array = np.asarray(value)
        if array.ndim == 5:
            return array
        if array.ndim != 4 or array.shape[-1] != 3 or not array.size:
            raise DataError(
                f"{where}: 'clip' has the shape {array.shape}; a video has [frames, height, width, 3]."
            )
        return clips_in(array, self.config)

    def save_assets(self, folder: Path) -> None:
        learned = {"labels": self.labels}
        (folder / _LEARNED).write_text(
            json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def load_assets(self, folder: Path) -> None:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        self._labels = tuple(learned["labels"])

    def build_model(self) -> keras.Model:
        # float32 also under mixed precision: a softmax over half floats loses its small scores.
        logits = keras.layers.Dense(len(self.labels), dtype="float32", name="logits")
        self._network = build_network(self.config)
        features = self._network.model.output
        if self.config.head.dropout:
            features = keras.layers.Dropout(self.config.head.dropout, name="head_dropout")(features)
        self._groups = {**self._network.groups, "head": [logits]}
        return keras.Model(self._network.model.inputs, logits(features), name="video")

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        assert self._network is not None
        if self.config.network.pretrained and self._network.load is not None:
            self._network.load()

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        return self._groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "clip" not in raw:
            raise DataError(_NO_VIDEOS)
        side, clip = self.config.side, raw["clip"]
        shape = tf.shape(clip)
        pictures = resize(tf.reshape(clip, tf.concat([[-1], shape[2:]], 0)), size=side, fit=self.config.fit)
        return {"clip": tf.reshape(pictures, (shape[0], self.config.sampling.frames, side, side, 3))}

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        known = tf.equal(raw["label"][:, None], tf.constant(self.labels)[None])
        return {"label": tf.argmax(known, -1, output_type=tf.int32)}

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        smoothing, count = self.config.head.label_smoothing, len(self.labels)
        hot = tf.one_hot(batch.targets["label"], count) * (1 - smoothing) + smoothing / count
        return tf.nn.softmax_cross_entropy_with_logits(labels=hot, logits=outputs)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        count, clips = len(self.labels), self.config.sampling.clips
        videos = metrics.Classification(classes=count, class_names=self.labels)
        if clips == 1:
            return {"classification": videos}
        return {"classification": OverClips(videos, clips=clips, classes=count)}

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        return batch.targets["label"], tf.nn.softmax(outputs)

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        return self._answer(tf.nn.softmax(outputs))

    def _answer(self, scores: tf.Tensor) -> dict[str, Any]:
        labels = tf.constant(self.labels)
        return {
            "label": tf.gather(labels, tf.argmax(scores, -1)),
            "scores": scores,
            "labels": tf.identity(labels),
        }

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if signature != "clips":
            return super().serve(inputs, signature=signature)
        clips = inputs["clips"]
        shape = tf.shape(clips)
        answers = super().serve(
            {"clip": tf.reshape(clips, tf.concat([[-1], shape[2:]], 0))}, signature="clip"
        )
        together = tf.reshape(answers["scores"], (shape[0], shape[1], len(self.labels)))
        return self._answer(tf.reduce_mean(together, 1))

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        inputs = super().request(rows, signature=signature)
        if "clip" not in rows or inputs.keys() == {"clips"}:
            return inputs
        clips = [self._clips(value, f"row {row}") for row, value in enumerate(rows["clip"])]
        if signature == "clips":
            return {"clips": clips}
        return {"clip": [several[len(several) // 2] for several in clips]}

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        clip = [self.config.sampling.frames, None, None, 3]
        return {
            "serving_default": {"clip": tf.TensorSpec([None, *clip], tf.uint8)},
            "clips": {"clips": tf.TensorSpec([None, None, *clip], tf.uint8)},
        }

    def calls(self) -> dict[str, str]:
        return {"classify": "serving_default", "classify_clips": "clips"}

    def example(self) -> dict[str, list[Any]]:
        names = self._labels or WAYS
        drawn = draw(_EXAMPLES, frames=self.config.sampling.frames, side=self.config.side)
        return {
            "clip": list(drawn),
            "clips": list(np.repeat(drawn[:, None], 2, axis=1)),
            "label": [names[number % len(names)] for number in range(_EXAMPLES)],
        }


_NO_VIDEOS = (
    "The data has no videos: give a folder of them, a table with a column of paths, or a column clip "
    "(arrays [frames, height, width, 3])."
)
