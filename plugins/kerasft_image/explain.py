"""Where a network looked: Grad-CAM and occlusion, as maps and as a picture in the report."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.reports.gallery import SAMPLES
from kerasft.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from kerasft_image.task import Image

_SHOWN = 160  # pixels of a picture in the report
_MOST = 6
_OPAQUE = 0.75


def grad_cam(task: Image, pictures: np.ndarray, labels: Any = None) -> np.ndarray:
    """Returns how much each place spoke for a label, by Grad-CAM (Selvaraju et al. 2017).

    Channels of the last map of features are weighted by the mean slope of the label's score, summed, and cut
    off below zero.

    Args:
        task: A built task whose backbone gives a map.
        pictures: uint8 `[pictures, side, side, 3]`, as `preprocess` makes them.
        labels: Number of a label for each, int `[pictures]`; the best one if None.

    Returns:
        float32 `[pictures, side, side]`, from 0 to 1.

    Raises:
        ConfigError: The backbone gives no map of features.
    """
    built = task.built
    if len(built.maps[-1].shape) != 4:
        raise ConfigError(f"Grad-CAM needs a map of features, which {task.config.backbone} does not give.")
    seeing = keras.Model(built.model.input, built.maps)
    *earlier, features = keras.tree.flatten(seeing(tf.cast(pictures, tf.float32), training=False))
    with tf.GradientTape() as tape:
        tape.watch(features)
        scores = built.head([*earlier, features], training=False)
        chosen = tf.argmax(scores, -1) if labels is None else tf.constant(labels, tf.int64)
        score = tf.gather(scores, chosen, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), (1, 2), keepdims=True)
    spoken = tf.nn.relu(tf.reduce_sum(weights * features, -1, keepdims=True))
    spoken = tf.image.resize(tf.cast(spoken, tf.float32), pictures.shape[1:3])[..., 0]
    return _to_one(spoken.numpy())


def occlusion(task: Image, pictures: np.ndarray, labels: Any = None, *, grid: int = 8) -> np.ndarray:
    """Returns how much the score of a label falls when a patch is grey (Zeiler and Fergus 2014).

    Args:
        task: A built task.
        pictures: uint8 `[pictures, side, side, 3]`.
        labels: See `grad_cam`.
        grid: Patches along a side.

    Returns:
        float32 `[pictures, side, side]`, from 0 to 1; 0 where the score does not fall.
    """
    count, side = pictures.shape[:2]
    edges = np.linspace(0, side, grid + 1).round().astype(int)
    whole = _scores(task, pictures)
    chosen = whole.argmax(-1) if labels is None else np.asarray(labels)
    rows = np.arange(count)
    falls = np.zeros((count, side, side), np.float32)
    for top, bottom in itertools.pairwise(edges):
        for left, right in itertools.pairwise(edges):
            hidden = pictures.copy()
            hidden[:, top:bottom, left:right] = 127
            fall = whole[rows, chosen] - _scores(task, hidden)[rows, chosen]
            falls[:, top:bottom, left:right] = np.maximum(fall, 0)[:, None, None]
    return _to_one(falls)


def _scores(task: Image, pictures: np.ndarray) -> np.ndarray:
    return task.built.model(tf.cast(pictures, tf.float32), training=False)["logits"].numpy()


def _to_one(maps: np.ndarray) -> np.ndarray:
    most = maps.max((1, 2), keepdims=True)
    return np.divide(maps, most, out=np.zeros_like(maps), where=most > 0)


class Explanations(keras.callbacks.Callback):
    """Draws, after training, where the network looked in some training pictures, into the folder `samples`.

    Args:
        task: With a run folder; without one nothing is drawn.
    """

    def __init__(self, task: Image) -> None:
        super().__init__()
        self._task = task

    def on_train_end(self, logs: Any = None) -> None:
        task = self._task
        if task.run is None or task.seen is None:
            return
        picture = explained(task, task.seen[:_MOST])
        write_atomically(task.run.folder / SAMPLES / "looked-at.png", lambda file: file.write(picture))


def explained(task: Image, pictures: np.ndarray) -> bytes:
    """Returns a PNG with a row a picture: it, Grad-CAM (where there is a map), occlusion, and the answer.

    Args:
        task: A built task.
        pictures: uint8 `[pictures, side, side, 3]`, as `preprocess` makes them.
    """
    from matplotlib.figure import Figure

    maps = {"occlusion": occlusion(task, pictures)}
    if len(task.built.maps[-1].shape) == 4:
        maps = {"Grad-CAM": grad_cam(task, pictures), **maps}
    best = _scores(task, pictures).argmax(-1)
    inches = _SHOWN / 100
    figure = Figure(figsize=(inches * (1 + len(maps)), inches * 1.15 * len(pictures)), layout="constrained")
    axes = figure.subplots(len(pictures), 1 + len(maps), squeeze=False)
    for line, picture, number in zip(axes, pictures, range(len(pictures)), strict=True):
        line[0].imshow(picture)
        line[0].set_title(task.labels[best[number]], fontsize=8)
        for axis, (name, found) in zip(line[1:], maps.items(), strict=True):
            axis.imshow(picture)
            axis.imshow(found[number], cmap="autumn", alpha=_OPAQUE * found[number], vmin=0, vmax=1)
            axis.set_title(name, fontsize=8)
        for axis in line:
            axis.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
