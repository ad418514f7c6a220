"""A small task that does everything right: learned labels and vocabulary, a lookup table, ragged features."""

from __future__ import annotations

import json

import keras
import pydantic
import tensorflow as tf

import kerasft


class MoodConfig(kerasft.TaskConfig):
    """Config of `Mood`."""

    width: int = pydantic.Field(8, ge=1, description="Length of a word vector.")
    training: kerasft.TrainingConfig = pydantic.Field(
        default_factory=lambda: kerasft.TrainingConfig(learning_rate=0.01), description="Training."
    )


class Mood(kerasft.Task):
    """Classifies texts by their words."""

    config_class = MoodConfig

    def __init__(self, **values):
        super().__init__(**values)
        self.words = self.labels = self.table = None

    def fields(self):
        label = kerasft.Field(name="label", kind="label", target=True, classes=self.labels)
        return (kerasft.Field(name="text", kind="text"), label)

    def adapt(self, source):
        self.learned(
            words=sorted({word for text in source.iterate("text") for word in text.split()}),
            labels=list(source.class_counts("label")),
        )

    def learned(self, words, labels):
        self.words, self.labels = words, tuple(labels)
        keys = tf.lookup.KeyValueTensorInitializer(words, tf.range(1, len(words) + 1, dtype=tf.int64))
        self.table = tf.lookup.StaticHashTable(keys, default_value=0)

    def save_assets(self, folder):
        (folder / "mood.json").write_text(json.dumps({"words": self.words, "labels": self.labels}))

    def load_assets(self, folder):
        self.learned(**json.loads((folder / "mood.json").read_text()))

    def build_model(self):
        ids = keras.Input([None], dtype="int32", name="ids")
        vectors = keras.layers.Embedding(
            len(self.words) + 2, self.config.width, mask_zero=True, name="words"
        )(ids)
        hidden = keras.layers.Dropout(0.1, name="drop")(
            keras.layers.GlobalAveragePooling1D(name="mean")(vectors)
        )
        hidden = keras.layers.Dense(8, activation="tanh", name="hidden")(self.between(hidden))
        return keras.Model(ids, keras.layers.Dense(len(self.labels), dtype="float32", name="head")(hidden))

    def between(self, tensor):
        return tensor

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("words", "hidden", "head")}

    def preprocess(self, raw):
        words = tf.strings.split(raw["text"])
        return {"ids": words.with_flat_values(tf.cast(self.table.lookup(words.flat_values) + 1, tf.int32))}

    def targets(self, raw):
        matches = tf.cast(raw["label"][:, None] == tf.constant(self.labels), tf.int32)
        return {"label": tf.argmax(matches, axis=1)}

    def loss(self, batch, outputs):
        return keras.losses.sparse_categorical_crossentropy(batch.targets["label"], outputs, from_logits=True)

    def metrics(self):
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def postprocess(self, outputs, features):
        best = tf.argmax(outputs, axis=-1)
        return {"label": tf.gather(tf.constant(self.labels), best), "scores": tf.nn.softmax(outputs)}

    def signatures(self):
        return {"serving_default": {"text": tf.TensorSpec([None], tf.string)}}

    def example(self):
        return {
            "text": ["a good film", "so bad that I left", "good fun", "bad"],
            "label": ["happy", "angry", "happy", "angry"],
        }

    def resources(self):
        return [self.table]
