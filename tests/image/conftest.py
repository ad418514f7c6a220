from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import kerasft
import kerasft_image.task  # noqa: F401  registers the task where no entry point does
from kerasft_image.drawn import shapes

TINY = {
    "size": 16,
    "network": {"filters": (8, 16)},
    "training": {"batch_size": 8, "epochs": 2},
}
"""The smallest network that learns something."""


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


def encoded(array: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    """Returns an array as a file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Discs and squares in folders of their names, in four formats."""
    kinds = ("png", "jpeg", "webp", "gif")
    for number, picture in enumerate(shapes(16, 16)):
        label, kind = ("disc", "square")[number % 2], kinds[number // 2 % 4]
        file = tmp_path / "shapes" / label / f"{number:02}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture, kind.upper()))
    return tmp_path / "shapes"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> kerasft.Task:
    """A task that tells drawn discs from squares, in a run folder."""
    keras.utils.set_random_seed(0)
    task = kerasft.create("image", **TINY)
    data = {"image": shapes(64, 16), "label": ["disc", "square"] * 32}
    task.finetune(data, epochs=6, run_dir=tmp_path_factory.mktemp("image") / "run", verbose="quiet")
    return task


@pytest.fixture
def graph() -> Callable[..., Any]:
    """Runs a function of tensors as a graph, as training and serving do."""
    import tensorflow as tf

    return lambda function, *values: tf.function(function)(*values).numpy()
