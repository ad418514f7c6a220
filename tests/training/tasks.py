"""Small tasks for tests: as little as a plugin author would write."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft import Field, TaskConfig


class PointsConfig(TaskConfig):
    """Config of `Points`."""

    width: int = 8
    dropout: float = 0.0
    norm: bool = False


class Points(kerasft.Task):
    """Classifies points of a plane with a dense network."""

    name = "test-points"
    config_class = PointsConfig

    def fields(self):
        return (
            Field(name="x", kind="number"),
            Field(name="y", kind="number"),
            Field(name="label", kind="label", target=True, classes=("0", "1", "2")),
        )

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        hidden = keras.layers.Dense(self.config.width, activation="relu", name="first")(inputs)
        if self.config.norm:
            hidden = keras.layers.BatchNormalization(name="norm")(hidden)
        hidden = keras.layers.Dropout(self.config.dropout, name="drop")(hidden)
        hidden = keras.layers.Dense(self.config.width, activation="relu", name="second")(hidden)
        return keras.Model(inputs, keras.layers.Dense(3, name="head", dtype="float32")(hidden))

    def layer_groups(self, model):
        groups = {"first": [model.get_layer("first"), model.get_layer("drop")]}
        if self.config.norm:
            groups["first"].append(model.get_layer("norm"))
        return groups | {name: [model.get_layer(name)] for name in ("second", "head")}

    def preprocess(self, raw):
        return {"point": tf.stack([raw["x"], raw["y"]], axis=-1)}

    def targets(self, raw):
        return {"label": tf.strings.to_number(raw["label"], tf.int32)}

    def loss(self, batch, outputs):
        return keras.losses.sparse_categorical_crossentropy(batch.targets["label"], outputs, from_logits=True)

    def metrics(self):
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def postprocess(self, outputs, features):
        return {"scores": tf.nn.softmax(outputs)}

    def signatures(self):
        return {"serving_default": {name: tf.TensorSpec([None], tf.float32) for name in ("x", "y")}}

    def example(self):
        return {"x": [0.1, 0.9], "y": [0.2, 0.1], "label": ["0", "1"]}


class WordsConfig(TaskConfig):
    """Config of `Words`."""

    dropout: float = 0.0


class Words(kerasft.Task):
    """Classifies strings by their bytes, with an LSTM: variable lengths, a mask, dropout."""

    name = "test-words"
    config_class = WordsConfig

    def fields(self):
        return (
            Field(name="text", kind="text"),
            Field(name="label", kind="label", target=True, classes=("a", "b")),
        )

    def build_model(self):
        ids = keras.Input((None,), dtype="int32", name="ids")
        hidden = keras.layers.Embedding(257, 8, mask_zero=True, name="embed")(ids)
        hidden = keras.layers.Dropout(self.config.dropout, name="embed_drop")(hidden)
        hidden = keras.layers.LSTM(12, name="lstm")(hidden)
        hidden = keras.layers.Dropout(self.config.dropout, name="head_drop")(hidden)
        return keras.Model(ids, keras.layers.Dense(2, name="head")(hidden))

    def layer_groups(self, model):
        names = {"embed": ("embed", "embed_drop"), "lstm": ("lstm",), "head": ("head_drop", "head")}
        return {group: [model.get_layer(name) for name in members] for group, members in names.items()}

    def preprocess(self, raw):
        return {"ids": tf.strings.unicode_decode(raw["text"], "UTF-8") % 256 + 1}

    def targets(self, raw):
        return {"label": tf.cast(raw["label"] == "b", tf.int32)}

    def loss(self, batch, outputs):
        return keras.losses.sparse_categorical_crossentropy(batch.targets["label"], outputs, from_logits=True)

    def metrics(self):
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def postprocess(self, outputs, features):
        return {"scores": tf.nn.softmax(outputs)}

    def signatures(self):
        return {"serving_default": {"text": tf.TensorSpec([None], tf.string)}}

    def example(self):
        return {"text": ["aaa", "b b"], "label": ["a", "b"]}


def points(count: int = 96, *, seed: int = 0) -> dict[str, list]:
    """Points of three classes that a small network can tell apart."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])[labels]
    where = centres + generator.normal(0, 0.4, (count, 2))
    return {"x": where[:, 0].tolist(), "y": where[:, 1].tolist(), "label": [str(label) for label in labels]}


def words(count: int = 64, *, seed: int = 0, shortest: int = 1) -> dict[str, list]:
    """Strings of `shortest` to 12 letters, from one half of the alphabet or the other."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    texts = [
        "".join(
            chr(97 + 13 * label + letter)
            for letter in generator.integers(0, 13, generator.integers(shortest, 13))
        )
        for label in labels
    ]
    return {"text": texts, "label": ["ab"[label] for label in labels]}
