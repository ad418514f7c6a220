"""Who is it? Embeddings that are near for one person, and a gallery of known ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft import metrics
from kerasft.data import Field, Source
from kerasft.training.update import Batch
from kerasft_image.arcface import Cosines, arcface
from kerasft_image.config import ImageConfig
from kerasft_image.kinds.base import Kind

_MOST_CANDIDATES = 5


class Recognition(Kind):
    """Answers with the nearest person of the gallery, if one is near enough.

    `label` string [n] ("" for nobody known), `similarity` float32 [n], `candidates` string [n, up to 5] and
    `similarities` float32 of the same shape, `embedding` float32 [n, width], unit vectors.

    Attributes:
        gallery: Who was enrolled after training, string `[persons]`.
        templates: Their vectors, float32 `[persons, width]`.
    """

    monitor = "val_accuracy"
    target = "label"

    def __init__(self, config: ImageConfig) -> None:
        super().__init__(config)
        width = config.recognition.width
        # Variables, because the graphs that were traced already shall see who is enrolled later.
        with tf.device("CPU:0"):
            self.gallery = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False)
            self.templates = tf.Variable(tf.zeros([0, width]), shape=[None, width], trainable=False)
        self._cosines: Cosines | None = None

    def field(self) -> Field:
        return Field(name="label", kind="label", target=True, classes=self.names)

    def adapt(self, source: Source) -> None:
        super().adapt(source)
        self._check_two(source)

    def head(self, vector: Any, embedding: Any) -> tuple[dict[str, Any], list[keras.Layer]]:
        dense = keras.layers.Dense(
            self.config.recognition.width, use_bias=False, dtype="float32", name="width"
        )
        norm = keras.layers.BatchNormalization(momentum=0.9, dtype="float32", name="width_norm")
        unit = keras.layers.UnitNormalization(dtype="float32", name="unit")
        self._cosines = Cosines(len(self.known_names))
        vector = unit(norm(dense(vector)))
        outputs = {"logits": self._cosines(vector), "embedding": vector}
        return outputs, [dense, norm, unit, self._cosines]

    def targets(self, raw: dict[str, Any]) -> tf.Tensor:
        return self.index_of(raw["label"])

    def hot(self, targets: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(targets, len(self.known_names))

    def loss_of(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        settings = self.config.recognition
        return arcface(logits, batch.targets["label"], margin=settings.margin, scale=settings.scale)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        names = self.known_names
        return {"classification": metrics.Classification(classes=len(names), class_names=names)}

    def score(self, batch: Batch, outputs: dict[str, Any]) -> tuple[Any, Any]:
        return batch.targets["label"], outputs["logits"]

    def answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        assert self._cosines is not None
        persons, similarities = tf.identity(self.gallery), outputs["embedding"] @ tf.transpose(self.templates)
        if self.config.recognition.trained:
            persons = tf.concat([tf.constant(self.known_names), persons], 0)
            similarities = tf.concat([outputs["logits"], similarities], 1)
        # So that an empty gallery has a nearest one, which is never near enough.
        persons = tf.concat([persons, [""]], 0)
        similarities = tf.pad(similarities, [[0, 0], [0, 1]], constant_values=-2.0)
        best, places = tf.math.top_k(similarities, tf.minimum(_MOST_CANDIDATES, tf.shape(persons)[0]))
        candidates = tf.gather(persons, places)
        known = best[:, 0] >= self.config.recognition.threshold
        return {
            "label": tf.where(known, candidates[:, 0], ""),
            "similarity": best[:, 0],
            "candidates": candidates,
            "similarities": best,
            "embedding": outputs["embedding"],
        }

    def compare(self, one: tf.Tensor, other: tf.Tensor) -> dict[str, Any]:
        """Returns whether unit vectors `[n, width]` are of one person."""
        similarity = tf.reduce_sum(one * other, -1)
        return {"same": similarity >= self.config.recognition.threshold, "similarity": similarity}

    def enroll(self, names: Sequence[str], embeddings: np.ndarray) -> None:
        """Adds persons, or gives those of the same name new vectors: the direction of the mean of theirs.

        Args:
            names: Who is in each picture.
            embeddings: float32 `[pictures, width]`.
        """
        known = dict(zip(self.persons, self.templates.numpy(), strict=True))
        for name in dict.fromkeys(names):
            mean = embeddings[[other == name for other in names]].mean(0)
            known[name] = mean / np.linalg.norm(mean)
        self.restore_gallery(list(known), np.stack(list(known.values())))

    def restore_gallery(self, names: Sequence[str], templates: np.ndarray) -> None:
        """Replaces the gallery."""
        self.gallery.assign(tf.constant(list(names), tf.string))
        self.templates.assign(templates.astype(np.float32))

    @property
    def persons(self) -> tuple[str, ...]:
        """Who was enrolled."""
        return tuple(name.decode() for name in self.gallery.numpy().tolist())

    def resources(self) -> list[Any]:
        return [self.gallery, self.templates]

    def example(self, count: int) -> list[Any]:
        names = self.names or ("ann", "ben")
        return [names[i % 2 % len(names)] for i in range(count)]
