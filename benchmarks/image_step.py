"""Speed of the image task's training step, against `model.fit` with the same layers in the same run.

    python benchmarks/image_step.py [--rounds N]
    python benchmarks/image_step.py --waiting

Two races, of made-up pictures, in pictures per CPU second: `resnet20` with flips and shifts in every step
(batches of 128, 32x32), and the head on a frozen EfficientNet-Lite0 with random weights (batches of 64,
96x96), where kerasft keeps the features and `model.fit` computes them in every epoch. The first turn, in
which graphs are traced and features computed, does not count.

`--waiting` trains the augmented `resnet20` on JPEG files and prints which share of the time the steps wait
for their batch, and how many pictures a CPU second decodes beside how many it trains on. Files are decoded
once, before the first epoch; the batches of each epoch are augmented while the step before them runs, so this
needs a second core.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from turns import Turns, Worker, cpu_seconds, race, rows

AUGMENTED = {"batch": 128, "side": 32, "pictures": 1280, "steps": 8}
WAITING = {"batch": 128, "side": 32, "pictures": 1920}
FROZEN = {"batch": 64, "side": 96, "pictures": 640, "steps": 10}


def pictures(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, side, side, 3)).astype(np.uint8), np.arange(count) % 10


def counter(steps: int, batch: int) -> Any:
    import keras

    turns = Turns(steps)

    class Count(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            turns.wait()

        def on_train_batch_end(self, number: int, logs: Any = None) -> None:
            turns.step(batch)

    return Count()


def ours(setting: dict[str, int], **config: Any) -> None:
    import kerasft

    images, labels = pictures(setting["pictures"], setting["side"])
    task = kerasft.create(
        "image", size=setting["side"], labels=[str(i) for i in range(10)], head={"norm": False}, **config
    )
    task.build(pretrained=False)
    if config["backbone"] != "resnet20":
        task.freeze("backbone")
    task.finetune(
        {"image": images, "label": [str(label) for label in labels]},
        epochs=100_000,
        batch_size=setting["batch"],
        callbacks=[counter(setting["steps"], setting["batch"])],
        verbose="quiet",
    )


def theirs(setting: dict[str, int], *, augmented: bool) -> None:
    import keras
    import tensorflow as tf

    from kerasft.pretrained.converters import efficientnet_lite0
    from kerasft.vision.backbones.small import resnet20

    side = setting["side"]
    images, labels = pictures(setting["pictures"], side)
    backbone = resnet20(side) if augmented else efficientnet_lite0.build(input_shape=(side, side, 3))
    backbone.trainable = augmented
    image = keras.Input((side, side, 3))
    vector = keras.layers.GlobalAveragePooling2D()(backbone(image, training=augmented))
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.Dropout(0.2)(vector)))
    optimizer = keras.optimizers.AdamW(3e-3, weight_decay=0.01, clipnorm=None, global_clipnorm=1.0)
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels)).batch(setting["batch"])
    data = data.map(lambda picture, label: (tf.cast(picture, tf.float32), label))
    if augmented:
        flip = keras.layers.RandomFlip("horizontal")
        shift = keras.layers.RandomTranslation(0.125, 0.125, interpolation="nearest")
        data = data.map(lambda picture, label: (shift(flip(picture, training=True), training=True), label))
    count = counter(setting["steps"], setting["batch"])
    model.fit(data.prefetch(1), epochs=100_000, callbacks=[count], verbose=0)


def waiting() -> list[str]:
    """Trains three epochs and returns lines of a table; the first epoch does not count."""
    import keras
    import tensorflow as tf

    import kerasft

    images, labels = pictures(WAITING["pictures"], WAITING["side"])
    smooth = tf.image.resize(images[:, ::4, ::4], images.shape[1:3]).numpy().astype(np.uint8)
    rows = {
        "image_bytes": [tf.io.encode_jpeg(image).numpy() for image in smooth],
        "label": labels.astype(str),
    }

    class Gaps(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.waited, self.began, self.ended, self.cpu = 0.0, 0.0, 0.0, 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.began, self.cpu = time.perf_counter(), cpu_seconds()
            self.ended = time.perf_counter() if epoch else 0.0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if self.ended:
                self.waited += time.perf_counter() - self.ended

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.ended = time.perf_counter() if self.began else 0.0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.spent, self.cpu_spent = time.perf_counter() - self.began, cpu_seconds() - self.cpu

    task = kerasft.create("image", backbone="resnet20", augment={"flip": "horizontal", "shift": 0.125})
    gaps = Gaps()
    task.finetune(rows, epochs=3, batch_size=WAITING["batch"], callbacks=[gaps], verbose="quiet")
    decode = tf.function(task.preprocess, autograph=False)
    contents = tf.constant(rows["image_bytes"])
    decode({"image_bytes": contents})
    began = cpu_seconds()
    decode({"image_bytes": contents})
    rate = WAITING["pictures"] / (cpu_seconds() - began)
    trained = 2 * WAITING["pictures"] / gaps.cpu_spent
    return [
        "| | |",
        "|---|---|",
        f"| steps wait for their batch | {gaps.waited / gaps.spent:.2%} of the time |",
        f"| pictures decoded per CPU-s | {rate:.0f} |",
        f"| pictures trained on per CPU-s, augmentation included | {trained:.0f} |",
    ]


CONTENDERS = {
    "kerasft, augmented": lambda: ours(
        AUGMENTED, backbone="resnet20", augment={"flip": "horizontal", "shift": 0.125}
    ),
    "model.fit, augmented": lambda: theirs(AUGMENTED, augmented=True),
    "kerasft, frozen": lambda: ours(FROZEN, backbone="efficientnet_lite0"),
    "model.fit, frozen": lambda: theirs(FROZEN, augmented=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--waiting", action="store_true", help="measure the wait for input instead")
    parser.add_argument("--contender", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        CONTENDERS[arguments.contender]()
        return
    if arguments.waiting:
        print("\n".join(waiting()))
        return
    for race_name in ("augmented", "frozen"):
        names = [name for name in CONTENDERS if name.endswith(race_name)]
        workers = [Worker(name, [sys.executable, __file__, "--contender", name], {}) for name in names]
        speeds = race(workers, arguments.rounds)
        print("\n".join(rows(speeds, names[0])), flush=True)


if __name__ == "__main__":
    main()
