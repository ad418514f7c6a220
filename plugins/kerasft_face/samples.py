"""Pictures of a training: what the network sees, what it makes, and how it gets from face to face."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.reports.gallery import SAMPLES
from kerasft.training.checkpoint import write_atomically
from kerasft_face.latents import latents

if TYPE_CHECKING:
    from kerasft_face.task import Face

_STRIP = 8


class Samples(keras.callbacks.Callback):
    """Writes PNGs into the folder `samples` of the run, and into TensorBoard.

    `data.png` shows training pictures as the network sees them; after each n-th epoch `faces-00012.png` shows
    the faces of the seeds 0, 1, 2 and so on, and `between-00012.png` goes from face to face.

    Args:
        task: With a run folder; without one nothing is written.
        count: How many faces.
        every: Epochs from one to the next; the last one counts too.
    """

    def __init__(self, task: Face, *, count: int, every: int) -> None:
        super().__init__()
        self._task, self._count, self._every = task, count, every

    def on_train_begin(self, logs: Any = None) -> None:
        if self._task.seen is not None:
            self._write("data", None, grid(self._task.seen))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        due = (epoch + 1) % self._every == 0 or epoch + 1 == self.params["epochs"]
        if due and self._task.run is not None:
            self._write("faces", epoch, grid(faces(self._task, range(self._count))))
            self._write("between", epoch, grid(between(self._task, range(5)), columns=_STRIP))

    def _write(self, series: str, epoch: int | None, picture: np.ndarray) -> None:
        run = self._task.run
        if run is None:
            return
        name = series if epoch is None else f"{series}-{epoch + 1:05}"
        save_png(picture, run.folder / SAMPLES / f"{name}.png")
        board = tf.summary.create_file_writer(str(run.tensorboard / SAMPLES))
        with board.as_default():
            tf.summary.image(series, picture[None], step=0 if epoch is None else epoch)
        board.close()


def faces(task: Face, seeds: Any, *, truncation: float = 1.0) -> np.ndarray:
    """Returns the faces of seeds, uint8 `[seeds, side, side, 3]`; with classes, theirs in turn.

    Args:
        task: A built task.
        seeds: Whole numbers.
        truncation: 1 for any face, 0 for the average one.
    """
    asked: dict[str, Any] = {"seed": list(seeds), "truncation": [truncation] * len(seeds)}
    if task.labels:
        asked["label"] = [task.labels[seed % len(task.labels)] for seed in seeds]
    return task.predict(asked, verbose="quiet")["image"]


def styles(task: Face, seeds: Any, *, truncation: float = 1.0, label: str | None = None) -> np.ndarray:
    """Returns the w of seeds, float32 `[seeds, w]`.

    Args:
        task: A built task.
        seeds: Whole numbers.
        truncation: 1 for any face, 0 for the average one.
        label: The class, if there are classes; the first, if None.
    """
    z = latents(tf.constant(list(seeds), tf.int64), task.models["generator"].z_dim)
    return mapped(task, z, truncation=truncation, label=label)


def mapped(task: Face, z: Any, *, truncation: float = 1.0, label: str | None = None) -> np.ndarray:
    """Returns the w of latents, float32 `[latents, w]`.

    Args:
        task: A built task.
        z: float32 `[latents, z]`.
        truncation: 1 for any face, 0 for the average one.
        label: The class, if there are classes; the first, if None.
    """
    generator = task.models["generator"]
    hot = None
    if task.labels:
        chosen = tf.constant([label or task.labels[0]] * len(z))
        hot = tf.cast(chosen[:, None] == tf.constant(task.labels)[None], tf.float32)
    w = generator.mapping(z, hot, training=False)
    return generator.mapping.truncate(w, tf.fill([len(z)], truncation)).numpy()


def synthesize(task: Face, ws: np.ndarray) -> np.ndarray:
    """Returns the faces of styles, uint8 `[faces, side, side, 3]`.

    Args:
        task: A built task.
        ws: float32 `[faces, w]`, or `[faces, styles, w]` with one w for each layer.
    """
    generator = task.models["generator"]
    if ws.ndim == 2:
        ws = np.repeat(ws[:, None], generator.styles, axis=1)
    return task.predict({"w": ws.astype(np.float32)}, signature="synthesize_w", verbose="quiet")["image"]


def between(task: Face, seeds: Any, *, steps: int = _STRIP, truncation: float = 1.0) -> np.ndarray:
    """Returns a walk from the face of each seed to the next, straight in w; in z, where there is no w.

    Args:
        task: A built task.
        seeds: At least two whole numbers.
        steps: Pictures from one face to the next, the latter left out.
        truncation: 1 for any face, 0 for the average one.

    Returns:
        uint8 `[(seeds - 1) * steps, side, side, 3]`.
    """
    generator = task.models["generator"]
    stylish = hasattr(generator, "styles")
    if stylish:
        ends = styles(task, seeds, truncation=truncation)
    else:
        ends = latents(tf.constant(list(seeds), tf.int64), generator.z_dim).numpy()
    shares = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    way = np.concatenate([a + shares * (b - a) for a, b in itertools.pairwise(ends)])
    if stylish:
        return synthesize(task, way)
    asked = {"z": way.astype(np.float32), "truncation": [truncation] * len(way)}
    return task.predict(asked, signature="synthesize_z", verbose="quiet")["image"]


def grid(pictures: np.ndarray, *, columns: int | None = None) -> np.ndarray:
    """Lays pictures out in rows.

    Args:
        pictures: uint8 `[count, side, side, 3]`.
        columns: Pictures in a row; about a square if None.

    Returns:
        uint8 `[height, width, 3]`, black where there is none.

    Example:
        >>> grid(np.ones((3, 4, 4, 3), np.uint8)).shape
        (8, 8, 3)
    """
    count, height, width, _ = pictures.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    lines = -(-count // columns)
    room = np.zeros((lines * columns, height, width, 3), np.uint8)
    room[:count] = pictures
    laid = room.reshape(lines, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return laid.reshape(lines * height, columns * width, 3)


def save_png(picture: np.ndarray, path: Path) -> None:
    """Writes a picture, uint8 `[height, width, 3]`, beside `path` and renames it."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "PNG")
    write_atomically(path, lambda file: file.write(encoded.getvalue()))
