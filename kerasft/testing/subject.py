"""The task under test, and what several checks share: built, trained and traced once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.data import Source, open_source
from kerasft.task import Task
from kerasft.testing.outcome import doing
from kerasft.training.checkpoint import model_variables
from kerasft.training.examples import Examples, raw_tensors
from kerasft.training.run import Run
from kerasft.training.update import Batch

# Enough steps for a loss to fall, few enough for a minute: EPOCHS * ROWS / BATCH.
EPOCHS, BATCH, ROWS = 6, 4, 16


@dataclasses.dataclass
class Reference:
    """The one run that most checks look at."""

    task: Task
    loss_before: float | None
    loss_after: float | None


def arrays(task: Task) -> dict[str, np.ndarray]:
    """Returns all variables of a task's models, random seeds included."""
    return {name: variable.numpy() for name, variable in model_variables(task.models).items()}


def assign_arrays(task: Task, values: Mapping[str, np.ndarray]) -> None:
    """Assigns what `arrays` returned."""
    for name, variable in model_variables(task.models).items():
        variable.assign(values[name])


class Stop(keras.callbacks.Callback):
    """Kills a run in the middle of an epoch, as a crash would.

    Args:
        epoch: The epoch, counted from 0; None never stops.
    """

    class Reached(Exception):
        """Raised at the place."""

    def __init__(self, epoch: int | None) -> None:
        super().__init__()
        # Not in plain attributes, which a checkpoint would restore into the callback of the resumed run.
        self._where = {"epoch": epoch, "now": None}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._where["now"] = epoch
        wanted = self._where["epoch"]
        if wanted is not None and epoch > wanted:
            raise self.Reached

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch > 0 and self._where["now"] == self._where["epoch"]:
            raise self.Reached


class Subject:
    """A task class with one config, on its own example or the caller's data.

    Args:
        task_class: The author's class.
        values: Config values.
        data: What to train on; the example's rows if None.
        folder: Where runs and exports go.
    """

    def __init__(self, *, task_class: type[Task], values: Mapping[str, Any], data: Any, folder: Path) -> None:
        self.task_class = task_class
        self.values = dict(values)
        self.folder = folder
        self._data = data

    def doing(self, what: str, *, advice: str = "") -> Any:
        """Returns a context in which an exception becomes a failed check; see `outcome.doing`."""
        return doing(what, self.task_class, advice=advice)

    def make(self, **changes: Any) -> Task:
        """Returns a fresh task."""
        with self.doing("the constructor"):
            return self.task_class(**{**self.values, **changes})

    @functools.cached_property
    def rows(self) -> dict[str, list[Any]]:
        """The rows of `example()`."""
        task = self.make()
        with self.doing("example()"):
            return task.example()

    @functools.cached_property
    def example(self) -> Source:
        """The rows of `example()`, read like any data."""
        task = self.make()
        with self.doing("reading example() like data", advice="make example() fit fields()"):
            return open_source(self.rows, fields=task.fields(), requests=True)

    @functools.cached_property
    def source(self) -> Source:
        """What is trained on: at least ROWS rows, the example repeated or the caller's data."""
        data = self.rows if self._data is None else self._data
        found = open_source(data, fields=self.make().fields())
        return found.subset(
            np.arange(ROWS if self._data is None else max(ROWS, min(len(found), 4 * ROWS))) % len(found)
        )

    def raw(self, *, targets: bool) -> dict[str, Any]:
        """Returns the example's rows as they are when predicting, or with their targets as in training."""
        fields = tuple(field for field in self.example.fields if targets or not field.target)
        return raw_tensors(self.example.take(np.arange(len(self.example))), fields)

    def adapted(self, **changes: Any) -> Task:
        """Returns a fresh, built task that has seen the training rows."""
        task = self.make(**changes)
        with self.doing("adapt()"):
            task.adapt(self.source)
        with self.doing("build()"):
            task.build()
        return task

    @functools.cached_property
    def built(self) -> Task:
        """A built task that nothing has trained; checks leave its weights as they found them."""
        return self.adapted()

    @functools.cached_property
    def again(self) -> Task:
        """The same as `built`, made a second time."""
        return self.adapted()

    @functools.cached_property
    def examples(self) -> Examples:
        """The training rows, encoded."""
        with self.doing("encoding the training rows"):
            return Examples(
                task=self.built, source=self.built.arrange(self.source, training=True), targets=True
            )

    def batch(self, count: int) -> Batch:
        """Returns the first `count` encoded training rows as tensors."""
        arrays = self.examples.batch(np.arange(count) % len(self.examples))
        return tf.nest.map_structure(
            lambda value: None if value is None else tf.convert_to_tensor(value), arrays
        )

    def graph(self, function: Callable[[Batch], Any]) -> Any:
        """Returns a concrete function of a batch of any size, traced as a training step is."""
        return tf.function(lambda batch: function(batch), autograph=False).get_concrete_function(
            self.examples.spec()
        )

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """Puts back what happens inside to the weights and the freezing of `built`."""
        before = arrays(self.built)
        try:
            yield
        finally:
            assign_arrays(self.built, before)
            self.built.freeze("none")

    def run(self, name: str, **arguments: Any) -> Task:
        """Trains a fresh task in the run folder `name`, always in the same way, and returns it."""
        task = self.make()
        given = dict(self.values.get("training") or {})
        task.finetune(
            self.source,
            run_dir=self.folder / name,
            verbose="quiet",
            epochs=given.get("epochs", EPOCHS),
            batch_size=given.get("batch_size", BATCH),
            **arguments,
        )
        return task

    @functools.cached_property
    def reference(self) -> Reference:
        """An uninterrupted run from the task's own defaults, and the loss before and after it."""
        single = self.built.forward is not None or type(self.built).evaluate is not Task.evaluate
        before = self.built.evaluate(self.source, verbose="quiet")["loss"] if single else None
        task = self.run("reference", resume="never", callbacks=[Stop(None)])
        after = task.evaluate(self.source, verbose="quiet")["loss"] if single else None
        return Reference(task, before, after)

    @functools.cached_property
    def interrupted(self) -> Run:
        """A run like the reference, killed in the middle of its second epoch (of a single one)."""
        # No later: with a checkpoint after every step, each epoch of a large model takes long.
        epoch = min(1, self.reference.task.config.training.epochs - 1)
        with contextlib.suppress(Stop.Reached):
            self.run("interrupted", resume="never", callbacks=[Stop(epoch)], checkpoint_every=1)
        return Run(self.folder / "interrupted")

    @functools.cached_property
    def exported(self) -> Path:
        """The version folder of an export that is not verified yet."""
        return self.reference.task.export(self.folder / "export", version=1, verify=False).path

    @functools.cached_property
    def request(self) -> dict[str, Any]:
        """The example's rows as a request to serving_default; lists are padded, as clients send them."""
        names = self.built.signatures()["serving_default"]
        raw = {name: tensor for name, tensor in self.raw(targets=False).items() if name in names}
        return {k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for k, v in raw.items()}

    @functools.cached_property
    def answer(self) -> dict[str, np.ndarray]:
        """What the trained task predicts for the example's rows."""
        task = self.reference.task
        inputs = {name: self.rows[name] for name in task.signatures()["serving_default"]}
        return task.predict(inputs)
