"""A task to report on, runs without training, and a parser that is as strict as a page should be clean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf

import kerasft
from kerasft import Field, TaskConfig
from kerasft.training import checkpoint
from kerasft.training.run import Run

VOID = {"meta", "br"}
COLUMNS = ("precision", "recall", "f1", "support")


class MoodsConfig(TaskConfig):
    """Config of `Moods`."""

    labels: tuple[str, ...] = ("bad", "good")
    encoder: str = pydantic.Field("scratch", description="Where the <weights> come from.")


@kerasft.register("report-moods")
class Moods(kerasft.Task):
    """Tells the mood of a number.

    More about it.
    """

    config_class = MoodsConfig
    monitor = "val_accuracy"

    def fields(self):
        return (
            Field(name="x", kind="number"),
            Field(name="label", kind="label", target=True, classes=self.config.labels),
        )

    def build_model(self):
        inputs = keras.Input((1,))
        hidden = keras.layers.Dense(4, name="first")(inputs)
        hidden = keras.layers.Dense(3, name="second")(hidden)
        return keras.Model(inputs, keras.layers.Dense(len(self.config.labels), name="head")(hidden))

    def preprocess(self, raw):
        return {"x": raw["x"][:, None]}

    def targets(self, raw):
        return {"label": tf.argmax(raw["label"][:, None] == tf.constant(self.config.labels), -1)}

    def loss(self, batch, outputs):
        return keras.losses.sparse_categorical_crossentropy(batch.targets["label"], outputs, from_logits=True)

    def metrics(self):
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def postprocess(self, outputs, features):
        return {"scores": tf.nn.softmax(outputs)}

    def signatures(self):
        return {"serving_default": {"x": tf.TensorSpec([None], tf.float32)}}

    def example(self):
        return {"x": [0.5, 2.0], "label": list(self.config.labels[:2])}


class Counted:
    """Stands for a metric with a confusion matrix."""

    def __init__(self, matrix: Any, class_names: Sequence[str] | None = None):
        self.confusion_matrix = np.asarray(matrix)
        self.class_names = class_names


HISTORY = {
    "loss": [0.9, 0.5, 0.3],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [1.0, 0.7, 0.8],
    "val_accuracy": [0.4, 0.8125, 0.75],
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., tuple[Moods, Run]]:
    """Makes a task and a run folder as training leaves them."""

    def make(
        name: str = "moods",
        *,
        history: Mapping[str, list[float]] = HISTORY,
        best: int | None = 2,
        unfreeze: str | None = None,
        **config: Any,
    ) -> tuple[Moods, Run]:
        task, run = Moods(**config), Run(tmp_path / name)
        task.build()
        task.freeze("backbone")
        run.write(
            {
                "task": task.name,
                "config": task.dump_config(),
                "frozen": task.freezing.positions(),
                "freeze": "backbone",
                "unfreeze": unfreeze,
                "lora": None,
                "data": "a fingerprint",
                "versions": {"keras": "3.99"},
            }
        )
        epochs = len(next(iter(history.values()), []))
        if epochs:
            run.write_history(history, list(range(epochs)))
        if best is not None:
            arrays = {f"model/model/{i}": v.numpy() for i, v in enumerate(task.model.variables)}
            value = history["val_accuracy"][best - 1]
            state = {"epoch": best, "step": best, "monitor": "val_accuracy", "value": value}
            checkpoint.save(run.checkpoints.best_path, arrays, state)
        return task, run

    return make


@pytest.fixture
def counted() -> type[Counted]:
    """A metric with a confusion matrix."""
    return Counted


class Page(HTMLParser):
    """Reads a page; tags that are not closed in order are an error."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.cells: list[list[str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "td" in self._open or "th" in self._open:
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        """All text but the style sheet."""
        return " ".join(text for text in self.texts if "prefers-color-scheme" not in text)


@pytest.fixture
def read_page() -> type[Page]:
    """Reads a page strictly."""
    return Page
