"""Variants of `Mood`, each with one mistake that authors make."""

from __future__ import annotations

import json

import keras
import numpy as np
import pydantic
import tensorflow as tf
from mood import Mood, MoodConfig

import kerasft

# ---------------------------------------------------------------------------------------------- the contract


class WithoutFeatures(Mood):
    def postprocess(self, outputs):
        return {"scores": outputs}


class NoPreprocess(Mood):
    preprocess = kerasft.Task.preprocess


class DriftingConfig(MoodConfig):
    width: int = 4

    @pydantic.field_validator("width")
    @classmethod
    def _rounded_up(cls, value):
        return value + 1


class ConfigDrifts(Mood):
    config_class = DriftingConfig


class LaxConfig(MoodConfig):
    model_config = pydantic.ConfigDict(extra="ignore")


class ConfigIgnoresTypos(Mood):
    config_class = LaxConfig


class ExampleOfOtherColumns(Mood):
    def example(self):
        return {"sentence": ["good", "bad"], "label": ["happy", "angry"]}


class ExampleWithoutTargets(Mood):
    def example(self):
        return {"text": ["good", "bad"]}


class ExampleOfUnequalColumns(Mood):
    def example(self):
        return {"text": ["good", "bad"], "label": ["happy"]}


class NoDefaultSignature(Mood):
    def signatures(self):
        return {"predict": {"text": tf.TensorSpec([None], tf.string)}}


class UnknownRank(Mood):
    def signatures(self):
        return {"serving_default": {"text": tf.TensorSpec(None, tf.string)}}


class SignatureOfOtherType(Mood):
    def signatures(self):
        return {"serving_default": {"text": tf.TensorSpec([None], tf.int64)}}


class ListOfOneAxis(Mood):
    def fields(self):
        return kerasft.Field(name="text", kind="strings"), *super().fields()[1:]


# ------------------------------------------------------------------------------------------------- the model


class LayerInNoGroup(Mood):
    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("words", "head")}


class LayerInTwoGroups(Mood):
    def layer_groups(self, model):
        groups = super().layer_groups(model)
        return {**groups, "head": [*groups["head"], *groups["hidden"]]}


class HeadFirst(Mood):
    def layer_groups(self, model):
        return dict(reversed(super().layer_groups(model).items()))


class GroupWithoutWeights(Mood):
    def layer_groups(self, model):
        return {"pooling": [model.get_layer("mean")], **super().layer_groups(model)}


class UnnamedLayer(Mood):
    def between(self, tensor):
        return keras.layers.Dense(self.config.width)(tensor)

    layer_groups = kerasft.Task.layer_groups


class Stopped(keras.layers.Layer):
    def call(self, inputs):
        return tf.stop_gradient(inputs)


class CutOff(Mood):
    def between(self, tensor):
        return Stopped()(tensor)


class LearnsNothing(Mood):
    def between(self, tensor):
        return 0.0 * tensor


class CountsInInt32(Mood):
    def build_model(self):
        self.calls = tf.Variable(0, trainable=False, name="calls")
        return super().build_model()

    def loss(self, batch, outputs):
        self.calls.assign_add(1)
        return super().loss(batch, outputs)


class IdleGroup(Mood):
    def between(self, tensor):
        return tensor + 0.0 * keras.layers.Dense(self.config.width, name="gate")(tensor)

    def layer_groups(self, model):
        return {"gate": [model.get_layer("gate")], **super().layer_groups(model)}


class GroupNamedLikeAPolicy(Mood):
    def layer_groups(self, model):
        return {
            "all" if name == "words" else name: layers for name, layers in super().layer_groups(model).items()
        }


# ------------------------------------------------------------------------------------ preprocess and targets


class PyFunction(Mood):
    def preprocess(self, raw):
        lower = tf.py_function(lambda text: tf.strings.lower(text), [raw["text"]], tf.string)
        return super().preprocess({"text": tf.ensure_shape(lower, [None])})


class NumpyOnTensors(Mood):
    def preprocess(self, raw):
        return super().preprocess({"text": np.char.lower(raw["text"].numpy().astype(str))})


class RandomPreprocess(Mood):
    def preprocess(self, raw):
        ids = super().preprocess(raw)["ids"]
        kept = tf.random.uniform(tf.shape(ids.flat_values)) < 0.5
        return {"ids": ids.with_flat_values(tf.where(kept, ids.flat_values, 1))}


class PadsItself(Mood):
    def preprocess(self, raw):
        return {"ids": super().preprocess(raw)["ids"].to_tensor()}


class NormalizesOverTheBatch(Mood):
    def preprocess(self, raw):
        ids = super().preprocess(raw)["ids"]
        return {"ids": ids.with_flat_values(ids.flat_values - tf.reduce_min(ids.flat_values))}


class ReadsTheTarget(Mood):
    def preprocess(self, raw):
        return super().preprocess({"text": raw["text"] + " " + raw["label"]})


class LooksWhetherTargetsAreThere(Mood):
    def preprocess(self, raw):
        return super().preprocess({"text": tf.strings.upper(raw["text"]) if "label" in raw else raw["text"]})


class NoTargets(Mood):
    targets = kerasft.Task.targets


class RequestByAnotherName(Mood):
    def request(self, rows, *, signature):
        return {"sentence": rows["text"]}


class RequestOfSomeRows(Mood):
    def request(self, rows, *, signature):
        return {"text": [text for text in rows["text"] if "bad" not in text]}


class RequestPadsItself(Mood):
    def request(self, rows, *, signature):
        longest = max(map(len, rows["text"]))
        return {"text": [text.ljust(longest) for text in rows["text"]]}


# -------------------------------------------------------------------------------------------------- training


class LossPerClass(Mood):
    def loss(self, batch, outputs):
        wanted = tf.one_hot(batch.targets["label"], len(self.labels))
        return keras.ops.binary_crossentropy(wanted, outputs, from_logits=True)


class LossIsNan(Mood):
    def loss(self, batch, outputs):
        return tf.math.log(-tf.square(super().loss(batch, outputs)) - 1.0)


class SharedMetrics(Mood):
    accuracy = keras.metrics.SparseCategoricalAccuracy()

    def metrics(self):
        return {"accuracy": self.accuracy}


class Forgetless(keras.metrics.SparseCategoricalAccuracy):
    def reset_state(self):
        self.total.assign(0.0)


class MetricKeepsCounting(Mood):
    def metrics(self):
        return {"accuracy": Forgetless()}


class MonitorsNothing(Mood):
    monitor = "val_f1"


class RandomWeights(Mood):
    def build_model(self):
        model = super().build_model()
        kernel = model.get_layer("head").kernel
        kernel.assign(np.random.default_rng().normal(size=kernel.shape))
        return model


class RandomStep(Mood):
    def loss(self, batch, outputs):
        return super().loss(batch, outputs) * float(np.random.default_rng().uniform(0.99, 1.01))


class HiddenRandomState(Mood):
    def loss(self, batch, outputs):
        return super().loss(batch, outputs + tf.random.normal(tf.shape(outputs)))


# -------------------------------------------------------------------------------- saving, serving, exporting


class ForgetsTheVocabulary(Mood):
    def save_assets(self, folder):
        (folder / "mood.json").write_text(json.dumps({"labels": self.labels}))

    def load_assets(self, folder):
        self.labels = tuple(json.loads((folder / "mood.json").read_text())["labels"])


class LosesTheLabels(Mood):
    def load_assets(self, folder):
        super().load_assets(folder)
        self.labels = tuple(f"class {i}" for i in range(len(self.labels)))


class ServesAnotherPath(Mood):
    def serve(self, inputs, *, signature):
        return super().serve({"text": tf.strings.upper(inputs["text"])}, signature=signature)


class BranchesOnAFlag(Mood):
    serving = False

    def serve(self, inputs, *, signature):
        self.serving = True
        try:
            return super().serve(inputs, signature=signature)
        finally:
            self.serving = False

    def preprocess(self, raw):
        return super().preprocess({"text": raw["text"] if self.serving else raw["text"] + " good"})


class UnnamedOutput(Mood):
    def postprocess(self, outputs, features):
        return {"output_0": outputs}


class OutputIsNoDict(Mood):
    def postprocess(self, outputs, features):
        return outputs


class HalfOutput(Mood):
    def postprocess(self, outputs, features):
        return {"scores": tf.cast(outputs, tf.float16)}


class RaggedOutput(Mood):
    def postprocess(self, outputs, features):
        return {"scores": tf.RaggedTensor.from_tensor(outputs)}


class PythonInPostprocess(Mood):
    def postprocess(self, outputs, features):
        scores = tf.numpy_function(lambda scores: scores, [outputs], tf.float32)
        return {"scores": tf.ensure_shape(scores, [None, 2])}


class HeadInHalfPrecision(Mood):
    def build_model(self):
        model = super().build_model()
        hidden = model.get_layer("hidden").output
        return keras.Model(model.inputs, keras.layers.Dense(len(self.labels), name="head")(hidden))


class AttendsToPadding(Mood):
    def build_model(self):
        model = super().build_model()
        unmasked = keras.layers.Embedding(len(self.words) + 2, self.config.width, name="words")
        hidden = keras.layers.GlobalAveragePooling1D(name="mean")(unmasked(model.input))
        return keras.Model(model.input, model.get_layer("head")(model.get_layer("hidden")(hidden)))


class ScoresOfTheBatch(Mood):
    def postprocess(self, outputs, features):
        return {"scores": tf.nn.softmax(outputs, axis=0)}


class AnswersForSome(Mood):
    def postprocess(self, outputs, features):
        scores = tf.nn.softmax(outputs)
        return {"best": tf.boolean_mask(scores, scores[:, 0] > 0.5)}


class UntrackedTable(Mood):
    def resources(self):
        return []


class NotANumber(Mood):
    def postprocess(self, outputs, features):
        return {"scores": outputs / tf.reduce_sum(outputs - outputs)}


class ExportsAnotherPath(Mood):
    exporting = False

    def export(self, target, **options):
        self.exporting = True
        return super().export(target, **options)

    def postprocess(self, outputs, features):
        return {"scores": outputs + 1.0 if self.exporting else outputs}
