"""A conditional DCGAN with WGAN-GP: pictures of a label, one for every seed.

Usage: python examples/conditional_dcgan.py [--epochs N] [--run FOLDER] [--picture FILE]
(learns the handwritten digits of scikit-learn)
"""

from __future__ import annotations

import argparse
from typing import Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf

import kerasft
from kerasft import DataError, Field, Update


class WganTraining(kerasft.TrainingConfig):
    """Training settings with the defaults of WGAN-GP, at a rate for small pictures."""

    optimizer: Any = pydantic.Field("adam", description="A Keras optimizer with the betas of Adam.")
    learning_rate: Any = pydantic.Field(1e-3, description="Rate of both networks.")
    batch_size: int = pydantic.Field(32, ge=1, description="Pictures in one batch.")
    ema: float | None = pydantic.Field(0.99, gt=0, description="Moving average of the generator.")


class DcganConfig(kerasft.TaskConfig):
    """Everything that can be said of a conditional DCGAN."""

    classes: tuple[str, ...] = pydantic.Field(tuple("0123456789"), description="The labels.")
    side: Literal[8, 16, 32, 64] = pydantic.Field(16, description="Side of the pictures.")
    channels: int = pydantic.Field(1, ge=1, le=4, description="Channels of the pictures.")
    width: int = pydantic.Field(24, ge=1, description="Channels of the critic after its first convolution.")
    z_dim: int = pydantic.Field(32, ge=1, description="Length of a latent vector.")
    n_critic: int = pydantic.Field(5, ge=1, description="Steps of the critic for one of the generator.")
    penalty: float = pydantic.Field(10.0, ge=0, description="Weight of the gradient penalty.")
    training: WganTraining = pydantic.Field(default_factory=WganTraining, description="How to train.")


def gradient_penalty(critic: Any, real: tf.Tensor, fake: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns how far slopes of the critic between real and fake pictures are from 1, squared and averaged.

    Source: Gulrajani et al., 2017, "Improved Training of Wasserstein GANs", equation 3.

    Args:
        critic: From pictures to scores.
        real: `[batch, side, side, channels]`.
        fake: The same.
        share: Where between them, 0 (real) to 1 (fake), `[batch, 1, 1, 1]`.
    """
    between = real + share * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = critic(between)
    squares = tf.reduce_sum(tf.square(tape.gradient(scores, between)), axis=(1, 2, 3))
    # The root of zero has no gradient.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1.0))


@kerasft.register("conditional-dcgan")
class ConditionalDcgan(kerasft.Task):
    """Pictures of a label, one for every seed.

    Sources: Radford et al., 2016, "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks"; Mirza and Osindero, 2014, "Conditional Generative Adversarial Nets".
    """

    config_class = DcganConfig
    monitor = "val_label_accuracy"

    def fields(self):
        return (
            Field(name="picture", kind="any", aliases=("image",)),
            Field(name="label", kind="label", classes=self.config.classes),
            Field(name="seed", kind="integer", request=True),
        )

    def build_model(self):
        layers, config, classes = keras.layers, self.config, len(self.config.classes)
        sides = [side for side in (4, 8, 16, 32) if side < config.side]
        channels = {side: config.width * config.side // side // 2 for side in sides}

        z, label = keras.Input((config.z_dim,), name="z"), keras.Input((classes,), name="label")
        x = layers.Dense(16 * channels[4], use_bias=False, name="to_4")(layers.Concatenate()([z, label]))
        x = layers.Reshape((4, 4, channels[4]))(x)
        for side in sides:
            x = layers.ReLU()(layers.BatchNormalization(name=f"norm_{side}")(x))
            last = {"activation": "tanh", "dtype": "float32"} if side == sides[-1] else {"use_bias": False}
            out = channels.get(2 * side, config.channels)
            x = layers.Conv2DTranspose(out, 4, 2, "same", name=f"to_{2 * side}", **last)(x)
        generator = keras.Model([z, label], x, name="generator")
        generator.random = keras.random.SeedGenerator()  # of a model, so that a run keeps its state

        shape = (config.side, config.side)
        picture = keras.Input((*shape, config.channels), name="picture")
        everywhere = layers.Reshape((*shape, classes))(layers.RepeatVector(config.side**2)(label))
        x = layers.Concatenate()([picture, everywhere])
        for side in reversed(sides):
            x = layers.LeakyReLU(0.2)(layers.Conv2D(channels[side], 4, 2, "same", name=f"to_{side}")(x))
        # Without a bias, which differences of scores would never move.
        x = layers.Dense(1, use_bias=False, name="score", dtype="float32")(layers.Flatten()(x))
        return {"generator": generator, "critic": keras.Model([picture, label], x, name="critic")}

    def preprocess(self, raw):
        expected, picture = (self.config.side, self.config.side, self.config.channels), raw["picture"]
        if picture.dtype != tf.uint8 or tuple(picture.shape[1:]) != expected:
            found = f"{picture.dtype.name} {tuple(picture.shape[1:])}"
            raise DataError(f"The pictures are {found}, not uint8 {expected}: set side= and channels=.")
        return {
            "picture": tf.cast(picture, tf.float32) / 127.5 - 1.0,
            "label": self._one_hot(raw["label"]),
        }

    def _one_hot(self, label):
        known = tf.equal(label[:, None], tf.constant(self.config.classes))
        told = [f"label must be one of {', '.join(self.config.classes)}", label]
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(tf.reduce_any(known, 1)), told)]):
            return tf.cast(known, tf.float32)

    def updates(self, make_optimizer):
        generator, critic = self.models["generator"], self.models["critic"]

        def fake(label):
            z = keras.random.normal((tf.shape(label)[0], self.config.z_dim), seed=generator.random)
            return generator([z, label], training=True)

        def criticise(batch):
            real, label = batch.features["picture"], batch.features["label"]
            made = fake(label)
            distance = tf.reduce_mean(critic([real, label]) - critic([made, label]))
            share = keras.random.uniform((tf.shape(real)[0], 1, 1, 1), seed=generator.random)
            penalty = gradient_penalty(lambda between: critic([between, label]), real, made, share)
            return self.config.penalty * penalty - distance, {"wasserstein": distance, "penalty": penalty}

        def please(batch):
            label = batch.features["label"]
            return -tf.reduce_mean(critic([fake(label), label]))

        betas, every = {"beta_1": 0.0, "beta_2": 0.9}, self.config.n_critic
        judge, make = make_optimizer(**betas), make_optimizer(**betas)
        return [
            Update(name="critic", loss=criticise, models=[critic], optimizer=judge),
            Update(name="generator", loss=please, models=[generator], optimizer=make, every=every),
        ]

    def averaged(self):
        return ("generator",)

    def metrics(self):
        return {"wasserstein": keras.metrics.Mean(), "penalty": keras.metrics.Mean()}

    def update_metrics(self, metrics, batch, outputs, *, training):
        for name, metric in metrics.items():
            metric.update_state(outputs[name])

    def measure(self, examples, *, batch_size, progress):
        """How often the nearest real picture to one made for a label has that label."""
        features = examples.batch(np.arange(len(examples))).features
        real, label = features["picture"].reshape(len(examples), -1), features["label"]
        nearest = []
        for start in range(0, len(real), batch_size):
            asked = label[start : start + batch_size]
            z = tf.random.stateless_normal([len(asked), self.config.z_dim], [start, 0], alg="philox")
            made = self.models["generator"]([z, tf.constant(asked)], training=False)
            made = np.reshape(made, (len(asked), -1))
            nearest += np.argmin(np.square(real).sum(1) - 2 * made @ real.T, axis=1).tolist()
            progress(len(nearest))
        return {"label_accuracy": float(np.mean(label[nearest].argmax(1) == label.argmax(1)))}

    def serve(self, inputs, *, signature):
        def draw(asked):
            seed, label = asked
            z = tf.random.stateless_normal([1, self.config.z_dim], [seed, 0], alg="philox")
            made = self.models["generator"]([z, label[None]], training=False)[0]
            return tf.saturate_cast(tf.round((made + 1.0) * 127.5), tf.uint8)

        # One by one, because the last bits of a convolution depend on the size of its batch.
        asked = (inputs["seed"], self._one_hot(inputs["label"]))
        return {"image": tf.map_fn(draw, asked, fn_output_signature=tf.uint8)}

    def signatures(self):
        text, whole = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int64)
        return {"serving_default": {"label": text, "seed": whole}}

    def example(self):
        shape, labels = (self.config.side, self.config.side, self.config.channels), self.config.classes[:4]
        pictures = np.linspace(0, 255, len(labels) * np.prod(shape)).reshape(-1, *shape).astype(np.uint8)
        return {"picture": list(pictures), "label": list(labels), "seed": list(range(len(labels)))}


def digits(side: int) -> dict[str, Any]:
    """Returns the digits of scikit-learn, 1,797 of 8x8 pixels, as rows with pictures of another side."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    small = images.reshape(-1, 8, 8, 1) * 255 / 16
    picture = tf.saturate_cast(tf.image.resize(small, (side, side), "bicubic"), tf.uint8)
    return {"picture": list(picture.numpy()), "label": [str(label) for label in labels]}


def main() -> None:
    """Trains, and draws ten pictures of each label."""
    parser = argparse.ArgumentParser(description="A conditional DCGAN with WGAN-GP on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--run", default=None, help="a folder to go on in, or to start")
    parser.add_argument("--picture", default="conditional_dcgan.png")
    options = parser.parse_args()

    task = kerasft.create("conditional-dcgan")
    task.finetune(digits(16), validation_data=0.1, epochs=options.epochs, run_dir=options.run)
    rows = {"label": [label for label in task.config.classes for _ in range(10)], "seed": [*range(10)] * 10}
    image = np.pad(task.predict(rows)["image"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    grid = image.reshape(10, 10, 18, 18, 1).swapaxes(1, 2).reshape(180, 180, 1)
    tf.io.write_file(options.picture, tf.io.encode_png(np.kron(grid, np.ones((2, 2, 1), np.uint8))))


if __name__ == "__main__":
    main()
