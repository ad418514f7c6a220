"""All state of a training that must survive a kill: saved whole, restored whole, checked name by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasft.errors import TrainingError
from kerasft.training.callbacks import CallbackStates
from kerasft.training.checkpoint import Checkpoint, CheckpointFolder, model_variables, save
from kerasft.training.monitor import Monitor
from kerasft.training.step import Stepper


class Snapshot(NamedTuple):
    """All that a training goes on from.

    Attributes:
        arrays: Name to array.
        state: A JSON-able object.
    """

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def assign(variables: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Assigns the arrays of a checkpoint to variables.

    Raises:
        TrainingError: an array is missing or has another shape; nothing was assigned then.
    """
    for name, variable in variables.items():
        array = checkpoint.arrays.get(name)
        if array is None:
            raise TrainingError(
                f"{checkpoint.path} has no {name!r} ({_path(variable)}): it was made from another model or "
                "config."
            )
        if tuple(array.shape) != tuple(variable.shape):
            raise TrainingError(
                f"{checkpoint.path} holds {name!r} ({_path(variable)}) with shape {tuple(array.shape)}, but "
                f"the model has {tuple(variable.shape)}: it was made from another model or config."
            )
    for name, variable in variables.items():
        variable.assign(checkpoint.arrays[name])


def _path(variable: Any) -> str:
    return getattr(variable, "path", None) or variable.name


class TrainingState:
    """Position, running losses, weights, optimizers, metrics and callbacks of a training.

    Attributes:
        epoch: Epochs done.
        batch: Batches done in this epoch.
        step: Batches done in all.
        examples: Examples seen in this epoch.
        best: Best value of the monitored metric so far.
        monitor: The metric that `best` is a value of; None before the first validation.
        stopped: Whether a callback ended the training.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, keras.Model],
        metrics: Mapping[str, keras.metrics.Metric],
        stepper: Stepper,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        self.epoch = self.batch = self.step = self.examples = 0
        self.best: float | None = None
        self.monitor: Monitor | None = None
        self.stopped = False
        self._losses: dict[str, list[float]] = {}
        self._last_losses: dict[str, float] = {}
        self._since_save = 0
        self._models = models
        self._metrics = metrics
        self._stepper = stepper
        self._callbacks = CallbackStates(callbacks)
        self._restored: Checkpoint | None = None

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers whose state this is."""
        return self._stepper.optimizers

    def add_losses(self, losses: Mapping[str, float], *, examples: int) -> None:
        """Adds the losses of one step to the means."""
        for name, value in losses.items():
            total = self._losses.setdefault(name, [0.0, 0.0])
            total[0] += value * examples
            total[1] += examples

    def count(self, *, examples: int) -> None:
        """Counts one step."""
        self.batch += 1
        self.step += 1
        self._since_save += 1
        self.examples += examples

    def mean_losses(self) -> dict[str, float]:
        """Returns each update's mean loss over the epoch so far, of the last one while it has not acted."""
        return self._last_losses | {name: total / count for name, (total, count) in self._losses.items()}

    def next_epoch(self, *, stopped: bool) -> None:
        """Counts one epoch."""
        self.epoch += 1
        self.batch = self.examples = 0
        self._last_losses, self._losses = self.mean_losses(), {}
        self.stopped = stopped

    def checkpoint_due(self, every: int | None) -> bool:
        """Whether `every` steps have passed since the last save."""
        return every is not None and self._since_save >= every

    def _variables(self) -> dict[str, Any]:
        variables = model_variables(self._models) | self._stepper.state()
        for name, metric in self._metrics.items():
            variables |= {f"metric/{name}/{i}": variable for i, variable in enumerate(metric.variables)}
        return variables

    def first_not_finite(self) -> str | None:
        """Returns the path of the first variable of models, optimizers and steps with a NaN or Inf in it."""
        for variable in (model_variables(self._models) | self._stepper.finite_state()).values():
            array = variable.numpy()
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                return _path(variable)
        return None

    def snapshot(self, history: keras.callbacks.History) -> Snapshot:
        """Returns everything as it is now."""
        arrays = {name: variable.numpy() for name, variable in self._variables().items()}
        callbacks, held = self._callbacks.save()
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "examples": self.examples,
            "best": self.best,
            "best_of": self.monitor,
            "stopped": self.stopped,
            "losses": self._losses,
            "last_losses": self._last_losses,
            "history": history.history,
            "history_epochs": history.epoch,
            "callbacks": callbacks,
        }
        return Snapshot(arrays | held, state)

    def save(self, folder: CheckpointFolder, snapshot: Snapshot) -> None:
        """Writes a snapshot as the checkpoint of the current step."""
        folder.save(self.step, *snapshot)
        self._since_save = 0

    def save_best(self, folder: CheckpointFolder, *, monitor: str) -> None:
        """Writes the weights, as they are now, as the best checkpoint."""
        arrays = {name: variable.numpy() for name, variable in model_variables(self._models).items()}
        state = {"epoch": self.epoch + 1, "step": self.step, "monitor": monitor, "value": self.best}
        save(folder.best_path, arrays, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes everything but the callbacks from a checkpoint.

        Raises:
            TrainingError: the checkpoint belongs to another model or config.
        """
        assign(self._variables(), checkpoint)
        state = checkpoint.state
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.examples, self.best, self.stopped = state["examples"], state["best"], state["stopped"]
        self.monitor = Monitor(*state["best_of"]) if state["best_of"] else None
        self._losses, self._last_losses = state["losses"], state["last_losses"]
        self._restored = checkpoint

    def callbacks_began(self) -> None:
        """Notes what the callbacks are after `on_train_begin`."""
        self._callbacks.began()

    def restore_callbacks(self, history: keras.callbacks.History) -> None:
        """Gives the callbacks what they knew; to be called after `on_train_begin`, which resets them."""
        if self._restored is None:
            return
        state = self._restored.state
        history.history, history.epoch = state["history"], state["history_epochs"]
        self._callbacks.restore(state["callbacks"], self._restored.arrays)
