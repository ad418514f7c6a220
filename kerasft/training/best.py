"""The best checkpoint of a run: when there is a new one, and what is kept of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from kerasft.reports import Notes
from kerasft.training.config import TrainingConfig
from kerasft.training.monitor import Monitor
from kerasft.training.run import Run
from kerasft.training.state import TrainingState

if TYPE_CHECKING:
    from kerasft.task import Task


class BestCheckpoint:
    """Follows the monitored metric.

    Args:
        task: A built task.
        config: Names the metric.
        run: Where to save, or None to save nothing.
        state: Holds the best value so far.
    """

    def __init__(self, *, task: Task, config: TrainingConfig, run: Run | None, state: TrainingState) -> None:
        self._task = task
        self._run = run
        self._state = state
        name = task.monitor if config.monitor == "auto" else config.monitor
        self.monitor = Monitor.of(name, config.monitor_mode)

    def improved(self, logs: Mapping[str, float], history: keras.callbacks.History) -> bool:
        """Whether the epoch that just ended, with these logs of a validation, is the best so far."""
        if self.monitor.name not in logs:
            instead = "val_loss" if "val_loss" in logs else next(n for n in logs if n.startswith("val_"))
            warnings.warn(
                f"The monitored metric {self.monitor.name!r} is not among {', '.join(logs)}; the best "
                f"checkpoint follows {instead}.",
                stacklevel=2,
            )
            self.monitor = Monitor.of(instead)
        if self._state.monitor != self.monitor:
            # A resumed run may follow another metric than before: its best is among the epochs behind us.
            self._state.monitor = self.monitor
            self._state.best = self.monitor.best(history.history.get(self.monitor.name, [])[:-1])
        value = logs[self.monitor.name]
        if not self.monitor.is_better(value, self._state.best):
            return False
        self._state.best = value
        return True

    def save(self, logs: Mapping[str, float], metrics: Mapping[str, keras.metrics.Metric]) -> None:
        """Writes the weights as they are, and notes the validation, in whose state `metrics` still are."""
        if self._run is None:
            return
        self._state.save_best(self._run.checkpoints, monitor=self.monitor.name)
        measured = {k.removeprefix("val_"): v for k, v in logs.items() if k.startswith("val_")}
        Notes(self._run).add_evaluation(
            "validation", measured, metrics=metrics, task=self._task, epoch=self._state.epoch + 1
        )
