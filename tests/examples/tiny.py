"""The examples at the size of a test, and a training of them that kills itself."""

from __future__ import annotations

import os
import signal
from typing import Any

import conditional_dcgan  # noqa: F401  registers the task
import keras
import numpy as np
from pix2pix import shapes

import kerasft

CONFIGS: dict[str, dict[str, Any]] = {
    "conditional-dcgan": {"side": 8, "width": 4, "z_dim": 4, "n_critic": 3, "classes": ("a", "b")},
    "pix2pix": {"side": 16, "width": 2},
}
OPTIONS = {"epochs": 2, "batch_size": 4, "verbose": "quiet"}


def make(name: str, **values: Any) -> kerasft.Task:
    return kerasft.create(name, **{"seed": 1, **CONFIGS[name], **values})


def rows(name: str, count: int = 20) -> dict[str, list[Any]]:
    """Returns data for training: bright pictures of "a" and dark ones of "b", or pairs of shapes."""
    if name == "pix2pix":
        return shapes(count, side=16)
    bright = np.random.default_rng(0).integers(160, 256, (count, 8, 8, 1)).astype(np.uint8)
    return {
        "picture": [picture if i % 2 == 0 else 255 - picture for i, picture in enumerate(bright)],
        "label": ["ab"[i % 2] for i in range(count)],
    }


def questions(name: str) -> dict[str, Any]:
    """Returns data to predict for."""
    if name == "pix2pix":
        return {"picture": shapes(5, side=16, seed=9)["picture"]}
    return {"label": ["a", "b", "b", "a", "a"], "seed": [3, 3, -1, 2**40, 3]}


def weights(task: kerasft.Task) -> dict[str, np.ndarray]:
    """Returns all that training could move, by model and path."""
    return {f"{n}/{v.path}": v.numpy() for n, model in task.models.items() for v in model.trainable_variables}


def train(name: str, folder: str, stop_at: int | None = None) -> None:
    """Trains in a run folder with checkpoints inside epochs; kills itself after a step if told to."""

    def kill(batch: int, logs: dict[str, float]) -> None:
        kill.steps += 1
        if kill.steps == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)

    kill.steps = 0
    stopper = keras.callbacks.LambdaCallback(on_train_batch_end=kill)
    validation, ema = rows(name, 6), {"ema": 0.9}
    make(name).finetune(
        rows(name),
        validation_data=validation,
        run_dir=folder,
        checkpoint_every=2,
        callbacks=[stopper],
        **OPTIONS | ema,
    )
