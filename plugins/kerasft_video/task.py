"""The video task: labels for clips."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

import kerasft
from kerasft import metrics
from kerasft.data import Field, Source
from kerasft.errors import DataError, OrderError
from kerasft.training import Augmentation, Batch
from kerasft.vision.resizing import resize
from kerasft_video.config import VideoConfig
from kerasft_video.drawn import WAYS
from kerasft_video.evaluation import Alarms, report
from kerasft_video.inputs import Input, input_of
from kerasft_video.inputs.streams import STREAMED
from kerasft_video.models import Network
from kerasft_video.models.streaming import Streaming
from kerasft_video.scores import OverClips

_LEARNED = "video.json"
_EXAMPLES = 8


@kerasft.register("video")
class Video(kerasft.Task):
    """One label for each video.

    Example:
        >>> task = kerasft.create("video", labels=["fight", "none"])
        >>> [field.name for field in task.fields()]
        ['clip', 'seconds', 'clips', 'label']
    """

    config_class = VideoConfig
    monitor = "val_accuracy"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.input: Input = input_of(self.config)
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
        label = Field(name="label", kind="label", target=True, classes=self._labels)
        return (*self.input.fields(), label)

    def open_data(self, data: Any) -> Any:
        return self.input.open_data(data, target="label")

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return self.input.default_data(split)

    def adapt(self, source: Source) -> None:
        self.input.check(source)
        self.input.adapt(source)
        if self._labels is None:
            self._labels = source.classes("label")
        alarm = self.config.alarm.label
        if alarm is not None and alarm not in self._labels:
            raise DataError(
                f"{source.name} has no videos of the class {alarm!r}, for which alarm.label asks; it has "
                f"{', '.join(self._labels)}."
            )
        if len(self._labels) < 2:
            raise DataError(
                f"{source.name} has only one label, {self._labels[0]!r}; a classifier needs examples of two: "
                "put the videos of each into a folder of its own, or name a column of labels."
            )

    def arrange(self, source: Source, *, training: bool) -> Source:
        return self.input.arrange(source)

    def save_assets(self, folder: Path) -> None:
        learned = {"labels": self.labels, "input": self.input.learned()}
        (folder / _LEARNED).write_text(
            json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def load_assets(self, folder: Path) -> None:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        self._labels = tuple(learned["labels"])
        self.input.restore(learned["input"])

    def build_model(self) -> keras.Model:
        # float32 also under mixed precision: a softmax over half floats loses its small scores.
        logits = keras.layers.Dense(len(self.labels), dtype="float32", name="logits")
        self._network = self.input.network()
        features = self._network.model.output
        if self.config.head.dropout:
            features = keras.layers.Dropout(self.config.head.dropout, name="head_dropout")(features)
        self._groups = {**self._network.groups, "head": [*self._network.head, logits]}
        return keras.Model(self._network.model.inputs, logits(features), name="video")

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        assert self._network is not None
        if self.config.network.pretrained and self._network.load is not None:
            self._network.load()

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        return self._groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        return self.input.preprocess(raw)

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        known = tf.equal(raw["label"][:, None], tf.constant(self.labels)[None])
        found = {"label": tf.argmax(known, -1, output_type=tf.int32)}
        return {**found, "seconds": raw["seconds"]} if "seconds" in raw else found

    def augmentation(self) -> Augmentation | None:
        return self.input.augmentation()

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        smoothing, count = self.config.head.label_smoothing, len(self.labels)
        hot = tf.one_hot(batch.targets["label"], count) * (1 - smoothing) + smoothing / count
        return tf.nn.softmax_cross_entropy_with_logits(labels=hot, logits=outputs)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        count, views, alarm = len(self.labels), self.input.views, self.config.alarm
        found: dict[str, keras.metrics.Metric] = {
            "classification": metrics.Classification(classes=count, class_names=self.labels)
        }
        if alarm.label is not None:
            found["alarms"] = Alarms(number=self.labels.index(alarm.label), threshold=alarm.threshold)
        if views > 1:
            found = {
                name: OverClips(metric, clips=views, classes=count, name=name)
                for name, metric in found.items()
            }
        return found

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Any, *, training: bool
    ) -> None:
        target, scores = self.score(batch, outputs)
        for name, metric in metrics.items():
            if training and isinstance(metric, OverClips):
                # Shuffled, neighbours are clips of different videos.
                metric = metric.metric
            seconds = batch.targets.get("seconds") if name == "alarms" else None
            metric.update_state(target, scores, **({} if seconds is None else {"seconds": seconds}))

    def evaluate(self, data: Any = None, **settings: Any) -> dict[str, float]:
        values = super().evaluate(data, **settings)
        found = self.evaluation_metrics.get("alarms")
        if self.run is not None and found is not None and self.config.alarm.label is not None:
            alarms = found.metric if isinstance(found, OverClips) else found
            assert isinstance(alarms, Alarms)
            alarm = self.config.alarm
            report(self.run.folder, alarms.curve(), label=alarm.label, threshold=alarm.threshold)
        return values

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
        if signature in STREAMED:
            return self._step(inputs["frame"], inputs.get("state"))
        if signature != "clips":
            return super().serve(inputs, signature=signature)
        clips = inputs["clips"]
        shape = tf.shape(clips)
        answers = super().serve(
            {"clip": tf.reshape(clips, tf.concat([[-1], shape[2:]], 0))}, signature="clip"
        )
        together = tf.reshape(answers["scores"], (shape[0], shape[1], len(self.labels)))
        return self._answer(tf.reduce_mean(together, 1))

    def _step(self, frame: tf.Tensor, state: tf.Tensor | None) -> dict[str, Any]:
        assert isinstance(self._network, Streaming)
        pictures = tf.cast(resize(frame, size=self.config.side, fit=self.config.fit), tf.float32)
        features, after = self._network.stream.after(pictures, state)
        (logits,) = self._groups["head"]
        return {**self._answer(tf.nn.softmax(logits(features))), "state": after}

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        return self.input.request(rows, signature=signature)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        return self.input.signatures()

    def calls(self) -> dict[str, str]:
        names = {"serving_default": "classify", "clips": "classify_clips"}
        return {names.get(signature, signature): signature for signature in self.signatures()}

    def example(self) -> dict[str, list[Any]]:
        names = self._labels or WAYS
        labels = [names[number % len(names)] for number in range(_EXAMPLES)]
        return {**self.input.example(_EXAMPLES), "label": labels}
