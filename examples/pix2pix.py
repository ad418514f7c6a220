"""pix2pix: learns from pairs of pictures how to turn one into the other.

Usage: python examples/pix2pix.py [--epochs N] [--run FOLDER] [--picture FILE]
(learns to fill outlines of drawn shapes, each sort of shape with its colour)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf

import kerasft
from kerasft import DataError, Field, Update


class Pix2PixTraining(kerasft.TrainingConfig):
    """Training settings with the defaults of pix2pix, at a rate and batch size for small pictures."""

    optimizer: Any = pydantic.Field("adam", description="A Keras optimizer with the betas of Adam.")
    learning_rate: Any = pydantic.Field(1e-3, description="Rate of both networks.")
    batch_size: int = pydantic.Field(8, ge=1, description="Pairs in one batch.")


class Pix2PixConfig(kerasft.TaskConfig):
    """Everything that can be said of pix2pix."""

    side: Literal[16, 32, 64, 128, 256] = pydantic.Field(32, description="Side of the pictures.")
    width: int = pydantic.Field(16, ge=1, description="Channels after the first convolution.")
    dropout: float = pydantic.Field(0.5, ge=0, lt=1, description="Dropout of the innermost decoder layers.")
    l1_weight: float = pydantic.Field(100.0, ge=0, description="Weight of the distance to the target.")
    training: Pix2PixTraining = pydantic.Field(default_factory=Pix2PixTraining, description="How to train.")


@kerasft.register("pix2pix")
class Pix2Pix(kerasft.Task):
    """Turns a picture into another as pairs of them show.

    Source: Isola et al., 2017, "Image-to-Image Translation with Conditional Adversarial Networks". Here its
    dropout acts in training only, so that a picture has one answer.
    """

    config_class = Pix2PixConfig
    monitor = "val_l1"

    def fields(self):
        return (
            Field(name="picture", kind="any", aliases=("input",)),
            Field(name="target", kind="any", aliases=("output",), target=True),
        )

    def build_model(self):
        return {"generator": self._generator(), "discriminator": self._discriminator()}

    def _generator(self):
        layers, side = keras.layers, self.config.side
        picture = keras.Input((side, side, 3), name="picture")
        x, skips = picture, []
        while side > 2:
            side //= 2
            x = layers.Conv2D(self._channels(side), 4, 2, "same", name=f"down_{side}")(x)
            x = layers.LeakyReLU(0.2)(layers.BatchNormalization(name=f"norm_down_{side}")(x))
            skips.append(x)
        for skip in reversed(skips[:-1]):
            side *= 2
            x = layers.Conv2DTranspose(self._channels(side), 4, 2, "same", name=f"up_{side}")(x)
            x = layers.BatchNormalization(name=f"norm_up_{side}")(x)
            x = layers.Dropout(self.config.dropout)(x) if side <= 8 else x
            x = layers.Concatenate()([layers.ReLU()(x), skip])
        last = {"activation": "tanh", "dtype": "float32", "name": f"up_{2 * side}"}
        return keras.Model(picture, layers.Conv2DTranspose(3, 4, 2, "same", **last)(x), name="generator")

    def _discriminator(self):
        """Judges patches: each number of its output sees a part of the pair."""
        layers, shape = keras.layers, (self.config.side, self.config.side, 3)
        picture, answer = keras.Input(shape, name="picture"), keras.Input(shape, name="answer")
        x = layers.Concatenate()([picture, answer])
        for side in (self.config.side // 2, self.config.side // 4):
            x = layers.Conv2D(self._channels(side), 4, 2, "same", name=f"down_{side}")(x)
            x = layers.LeakyReLU(0.2)(x)
        patches = layers.Conv2D(1, 4, padding="same", name="patches", dtype="float32")(x)
        return keras.Model([picture, answer], patches, name="discriminator")

    def _channels(self, side):
        return self.config.width * min(self.config.side // side // 2, 8)

    def preprocess(self, raw):
        return {"picture": self._scaled("pictures", raw["picture"])}

    def targets(self, raw):
        return {"target": self._scaled("targets", raw["target"])}

    def _scaled(self, what, picture):
        expected, found = (self.config.side, self.config.side, 3), tuple(picture.shape[1:])
        if picture.dtype != tf.uint8 or found != expected:
            raise DataError(f"The {what} are {picture.dtype.name} {found}, not uint8 {expected}: set side=.")
        return tf.cast(picture, tf.float32) / 127.5 - 1.0

    def updates(self, make_optimizer):
        generator, discriminator = self.models["generator"], self.models["discriminator"]

        def tell_apart(batch):
            picture = batch.features["picture"]
            real = discriminator([picture, batch.targets["target"]], training=True)
            fake = discriminator([picture, generator(picture, training=True)], training=True)
            # Halved, so that it learns slower than the generator.
            return tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake)) / 2

        def translate(batch):
            picture, target = batch.features["picture"], batch.targets["target"]
            made = generator(picture, training=True)
            fooled = tf.reduce_mean(tf.nn.softplus(-discriminator([picture, made], training=True)))
            return fooled + self.config.l1_weight * tf.reduce_mean(tf.abs(target - made)), made

        judge, make = make_optimizer(beta_1=0.5), make_optimizer(beta_1=0.5)
        return [
            Update(name="discriminator", loss=tell_apart, models=[discriminator], optimizer=judge),
            Update(name="generator", loss=translate, models=[generator], optimizer=make),
        ]

    def averaged(self):
        return ("generator",)

    def metrics(self):
        return {"l1": keras.metrics.MeanAbsoluteError()}

    def measure(self, examples, *, batch_size, progress):
        """The mean distance to the target, as a share of the way from -1 (black) to 1 (white)."""
        metric = keras.metrics.MeanAbsoluteError()
        for start in range(0, len(examples), batch_size):
            batch = examples.batch(np.arange(start, min(start + batch_size, len(examples))))
            metric.update_state(batch.targets["target"], self.models["generator"](batch.features["picture"]))
            progress(start + len(batch.targets["target"]))
        return {"l1": float(metric.result())}

    def callbacks(self):
        def draw(epoch, logs):
            if self.run is not None:
                write_grid(self.run.folder / "samples" / f"epoch-{epoch + 1:03}.png", self, self.example())

        return [keras.callbacks.LambdaCallback(on_epoch_end=draw)]

    def serve(self, inputs, *, signature):
        made = self.models["generator"](self.preprocess(inputs)["picture"], training=False)
        return {"image": tf.saturate_cast(tf.round((made + 1.0) * 127.5), tf.uint8)}

    def signatures(self):
        side = self.config.side
        return {"serving_default": {"picture": tf.TensorSpec([None, side, side, 3], tf.uint8)}}

    def example(self):
        return shapes(4, side=self.config.side)


COLOURS = np.array([[224, 88, 80], [72, 160, 96], [80, 112, 216]], np.uint8)
"""Of a circle, a square and a triangle."""


def shapes(count: int, *, side: int, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Returns pairs of drawn pictures: outlines of two shapes, and the shapes in their colours."""
    random = np.random.default_rng(seed)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    pictures = np.full((count, side, side, 3), 255, np.uint8)
    targets = np.full((count, side, side, 3), 245, np.uint8)
    for picture, target in zip(pictures, targets, strict=True):
        for left in (0.27, 0.73):
            sort, radius = random.integers(3), random.uniform(0.14, 0.2)
            right, down = x - random.uniform(-0.04, 0.04) - left, y - random.uniform(0.25, 0.75)
            outside = (
                np.hypot(right, down) - radius,
                np.maximum(abs(right), abs(down)) - 0.9 * radius,
                np.maximum(0.87 * abs(right) - 0.5 * down, down) - 0.6 * radius,
            )[sort]
            target[outside < 0] = COLOURS[sort]
            picture[abs(outside) < 0.7 / side] = 0
    return {"picture": list(pictures), "target": list(targets)}


def write_grid(path: str | Path, task: Pix2Pix, rows: dict[str, list[np.ndarray]]) -> None:
    """Writes a PNG: input, output and target of each pair, four pairs side by side."""
    parts = np.stack([rows["picture"], task.predict(rows, verbose="quiet")["image"], rows["target"]], axis=1)
    parts = np.pad(parts, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=160)
    side = parts.shape[2]
    grid = parts.reshape(-1, 4, 3, side, side, 3).transpose(0, 3, 1, 2, 4, 5).reshape(-1, 12 * side, 3)
    tf.io.write_file(str(path), tf.io.encode_png(grid))


def main() -> None:
    """Trains, and draws pictures that it has not seen: input, output and target side by side."""
    parser = argparse.ArgumentParser(description="pix2pix on drawn shapes.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--run", default=None, help="a folder to go on in, or to start")
    parser.add_argument("--picture", default="pix2pix.png")
    options = parser.parse_args()

    task = kerasft.create("pix2pix")
    task.finetune(shapes(800, side=32), validation_data=0.1, epochs=options.epochs, run_dir=options.run)
    write_grid(options.picture, task, shapes(24, side=32, seed=1))


if __name__ == "__main__":
    main()
