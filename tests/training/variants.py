"""Variants of the small tasks whose models are built in a particular way."""

from __future__ import annotations

import keras
import tensorflow as tf
from tasks import Points, Words

import kerasft
from kerasft import TaskConfig, Update


class Nested(Points):
    """`Points` with a functional backbone inside the model, dropout and batch normalisation in it."""

    name = "test-nested"

    def build_model(self):
        x = keras.Input((2,), name="point")
        hidden = keras.layers.Dense(8, activation="tanh", name="low")(x)
        hidden = keras.layers.BatchNormalization(name="norm")(hidden)
        hidden = keras.layers.Dropout(self.config.dropout, name="drop")(hidden)
        hidden = keras.layers.Dense(8, activation="tanh", name="high")(hidden)
        self.backbone = keras.Model(x, hidden, name="backbone")
        inputs = keras.Input((2,), name="point")
        return keras.Model(inputs, keras.layers.Dense(3, name="head")(self.backbone(inputs)))

    def layer_groups(self, model):
        low = [self.backbone.get_layer(name) for name in ("low", "norm", "drop")]
        return {"low": low, "high": [self.backbone.get_layer("high")], "head": [model.get_layer("head")]}


class BothWays(keras.layers.Layer):
    """Adds what a layer makes of a point to what it makes of its mirror image."""

    def __init__(self, layer, **options):
        super().__init__(**options)
        self.layer = layer

    def call(self, x, training=False):
        return self.layer(x, training=training) + self.layer(-x, training=training)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


class Wrapped(Points):
    """`Points` with a layer of a group inside a layer that is in none."""

    name = "test-wrapped"

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        self.inner = keras.Sequential(
            [
                keras.layers.Dense(8, activation="relu", name="dense"),
                keras.layers.Dropout(self.config.dropout),
            ],
            name="inner",
        )
        return keras.Model(
            inputs, keras.layers.Dense(3, name="head")(BothWays(self.inner, name="both")(inputs))
        )

    def layer_groups(self, model):
        return {"inner": [self.inner], "head": [model.get_layer("head")]}


# The weights of `Nested` by layer group.
LOW = {"low/kernel", "low/bias", "norm/gamma", "norm/beta"}
HIGH = {"high/kernel", "high/bias"}
HEAD = {"head/kernel", "head/bias"}
STATISTICS = {"norm/moving_mean", "norm/moving_variance"}


class Attention(Points):
    """`Points` as a sequence of two numbers: attention, an EinsumDense, a batch-normalised head."""

    name = "test-attention"

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        hidden = keras.layers.Reshape((2, 1))(inputs)
        hidden = keras.layers.EinsumDense("abc,cd->abd", (2, 6), bias_axes="d", name="lift")(hidden)
        hidden = keras.layers.MultiHeadAttention(2, 3, name="attention")(hidden, hidden)
        hidden = keras.layers.Flatten()(hidden)
        hidden = keras.layers.Dense(8, activation="relu", name="mix")(hidden)
        hidden = keras.layers.BatchNormalization(name="head_norm")(hidden)
        return keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden))

    def layer_groups(self, model):
        members = {
            "lift": ["lift"],
            "attention": ["attention"],
            "mix": ["mix"],
            "head": ["head_norm", "head"],
        }
        return {group: [model.get_layer(name) for name in names] for group, names in members.items()}


class Branches(Points):
    """`Points` with two named inputs, a layer called twice, two outputs, plain operations and a shortcut."""

    name = "test-branches"

    def preprocess(self, raw):
        return {"left": raw["x"][:, None], "right": raw["y"][:, None]}

    def build_model(self):
        left, right = (keras.Input((1,), name=name) for name in ("left", "right"))
        shared = keras.layers.Dense(4, activation="tanh", name="shared")
        one, two = shared(left), shared(right)
        joined = keras.ops.concatenate([one, two * 2.0 + 1.0], axis=-1)
        body = keras.layers.Dense(6, activation="tanh", name="body")(joined)
        a, b = keras.ops.split(body, 2, axis=-1)
        hidden = keras.layers.Dense(4, name="late")(a)
        outputs = keras.layers.Dense(3, name="head")(keras.ops.concatenate([hidden, b, one], axis=-1))
        return keras.Model({"right": right, "left": left}, {"scores": outputs, "body": body})

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("shared", "body", "late", "head")}

    def loss(self, batch, outputs):
        return super().loss(batch, outputs["scores"]) + tf.reduce_mean(tf.square(outputs["body"]), axis=-1)

    def score(self, batch, outputs):
        return super().score(batch, outputs["scores"])


class Subclassed(Points):
    """`Points` with a model that is plain Python, with no graph to look into."""

    name = "test-subclassed"

    def build_model(self):
        class Network(keras.Model):
            def __init__(self):
                super().__init__()
                self.low = keras.layers.Dense(8, activation="relu", name="low")
                self.norm = keras.layers.BatchNormalization(center=False, scale=False, name="norm")
                self.head = keras.layers.Dense(3, name="head")

            def call(self, inputs, training=False):
                return self.head(self.norm(self.low(inputs), training=training))

        model = Network()
        model(tf.zeros([1, 2]))
        return model

    def layer_groups(self, model):
        return {"low": [model.low, model.norm], "head": [model.head]}


class AlwaysNoisy(keras.layers.Layer):
    """Scales its input and adds noise, in inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator()

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=shape[1:], initializer="ones")

    def call(self, inputs):
        return inputs * self.scale + keras.random.normal(tf.shape(inputs), seed=self.generator)


class Noisy(Points):
    """`Points` behind a layer that is never deterministic."""

    name = "test-noisy"

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        hidden = AlwaysNoisy(name="noise")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("noise", "head")}


class Unmasked(Words):
    """`Words` whose head averages over all positions, padding included."""

    name = "test-unmasked"

    def build_model(self):
        ids = keras.Input((None,), dtype="int32", name="ids")
        hidden = keras.layers.Embedding(257, 8, name="embed")(ids)
        hidden = keras.layers.Dense(8, name="mix")(hidden)
        hidden = keras.layers.GlobalAveragePooling1D()(hidden)
        return keras.Model(ids, keras.layers.Dense(2, name="head")(hidden))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("embed", "mix", "head")}


class Bags(Words):
    """`Words` as a masked mean of embeddings: variable lengths without the cost of tracing a recurrence."""

    name = "test-bags"

    def build_model(self):
        ids = keras.Input((None,), dtype="int32", name="ids")
        hidden = keras.layers.Embedding(257, 8, mask_zero=True, name="embed")(ids)
        hidden = keras.layers.Dropout(self.config.dropout, name="embed_drop")(hidden)
        hidden = keras.layers.Dense(8, activation="tanh", name="mix")(hidden)
        hidden = keras.layers.GlobalAveragePooling1D()(hidden)
        hidden = keras.layers.BatchNormalization(name="norm")(hidden)
        hidden = keras.layers.Dropout(self.config.dropout, name="head_drop")(hidden)
        return keras.Model(ids, keras.layers.Dense(2, name="head")(hidden))

    def layer_groups(self, model):
        names = {
            "embed": ("embed", "embed_drop"),
            "mix": ("mix", "norm"),
            "head": ("head_drop", "head"),
        }
        return {group: [model.get_layer(name) for name in members] for group, members in names.items()}


class InnerMask(Words):
    """`Words` with a nested model that was built without a mask and is given one."""

    name = "test-inner-mask"

    def build_model(self):
        sequence = keras.Input((None, 8))
        hidden = keras.layers.Dense(8, activation="tanh", name="mix")(sequence)
        hidden = keras.layers.Dropout(self.config.dropout)(hidden)
        self.body = keras.Model(sequence, keras.layers.GlobalAveragePooling1D()(hidden), name="body")
        ids = keras.Input((None,), dtype="int32", name="ids")
        embedded = keras.layers.Embedding(257, 8, mask_zero=True, name="embed")(ids)
        return keras.Model(ids, keras.layers.Dense(2, name="head")(self.body(embedded)))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("embed", "body", "head")}


class Disconnected(Points):
    """`Points` with a layer group that the loss does not depend on."""

    name = "test-disconnected"

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        aside = keras.layers.Dense(3, name="aside")(inputs)
        outputs = keras.layers.Dense(3, name="head")(inputs)
        return keras.Model(inputs, outputs + keras.ops.stop_gradient(aside))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("aside", "head")}


class Latent(keras.layers.Layer):
    """Draws one latent vector for each example of its input; the random state is the layer's own."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.generator = keras.random.SeedGenerator()

    def call(self, inputs):
        return keras.random.normal((tf.shape(inputs)[0], self.size), seed=self.generator)


class GanConfig(TaskConfig):
    """Config of `Gan`."""

    every: int = 2


@kerasft.register("test-gan")
class Gan(kerasft.Task):
    """Generates points of a plane: two networks, two optimizers, and a penalty every few steps."""

    config_class = GanConfig

    def fields(self):
        return tuple(kerasft.Field(name=name, kind="number") for name in ("x", "y"))

    def build_model(self):
        def network(name, *, first, outputs):
            inputs = keras.Input((2,), name="point")
            hidden = first(inputs)
            hidden = keras.layers.Dense(8, activation="tanh", name=f"{name}_hidden")(hidden)
            return keras.Model(inputs, keras.layers.Dense(outputs, name=f"{name}_out")(hidden), name=name)

        return {
            "generator": network("generator", first=Latent(3, name="latent"), outputs=2),
            "discriminator": network("discriminator", first=keras.layers.Identity(), outputs=1),
        }

    def preprocess(self, raw):
        return {"point": tf.stack([raw["x"], raw["y"]], axis=-1)}

    def updates(self, make_optimizer):
        generator, discriminator = self.models["generator"], self.models["discriminator"]

        def tell_apart(batch):
            real = discriminator(batch.features["point"], training=True)
            fake = discriminator(generator(batch.features["point"], training=True), training=True)
            return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))

        def fool(batch):
            return tf.reduce_mean(tf.nn.softplus(-discriminator(generator(batch.features["point"]))))

        def penalty(batch):
            points = batch.features["point"]
            with tf.GradientTape() as tape:
                tape.watch(points)
                scores = tf.reduce_sum(discriminator(points, training=True))
            return tf.reduce_mean(tf.square(tape.gradient(scores, points)))

        shared = make_optimizer()
        return [
            Update(name="discriminator", loss=tell_apart, models=[discriminator], optimizer=shared),
            Update(
                name="penalty",
                loss=penalty,
                models=[discriminator],
                optimizer=shared,
                every=self.config.every,
            ),
            Update(
                name="generator",
                loss=fool,
                models=[generator],
                optimizer=make_optimizer(),
                every=self.config.every,
            ),
        ]

    def postprocess(self, outputs, features):
        return {"point": outputs}

    def serve(self, inputs, *, signature):
        features = self.preprocess(inputs)
        return self.postprocess(self.models["generator"](features["point"]), features)

    def signatures(self):
        return {"serving_default": {name: tf.TensorSpec([None], tf.float32) for name in ("x", "y")}}


for task in (Points, Words, Bags, Nested, Attention, Subclassed):
    kerasft.register(task.name)(task)
