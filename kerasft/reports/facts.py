"""What a run folder says about a run."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kerasft.errors import TrainingError
from kerasft.reports.notes import Notes
from kerasft.training import checkpoint, parse_unfreeze

if TYPE_CHECKING:
    from kerasft.task import Task
    from kerasft.training.freezereport import FreezeReport
    from kerasft.training.run import Run
    from kerasft.training.schedules import Unfreeze

_VALIDATION = "val_"


class Best(NamedTuple):
    """The best checkpoint: its epoch (from 1), and the metric that made it the best."""

    epoch: int
    monitor: str
    value: float


class Curve(NamedTuple):
    """A metric over the epochs, None where it was not measured; of a metric never measured, no list."""

    name: str
    training: list[float | None]
    validation: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run as its folder tells it.

    Attributes:
        task: The task of the run, built.
        folder: The run folder.
        manifest: Its run.json.
        epochs: The epochs that ended, from 1.
        curves: Losses first, then the monitored metric.
        best: The best checkpoint, if there was a validation.
        notes: Its report.json, see `Notes.read`.
    """

    task: Task
    folder: Path
    manifest: dict[str, Any]
    epochs: list[int]
    curves: list[Curve]
    best: Best | None
    notes: dict[str, Any]

    @classmethod
    def read(cls, task: Task, run: Run) -> Facts:
        """Reads a run folder.

        Raises:
            TrainingError: It is no run.
        """
        manifest = run.read()
        history: dict[str, list[Any]] = run.read_history()
        epochs = [int(epoch) for epoch in history.pop("epoch", [])]
        best = _best(run)
        return cls(
            task=task,
            folder=run.folder,
            manifest=manifest,
            epochs=epochs,
            curves=_curves(history, best),
            best=best,
            notes=Notes(run).read(),
        )

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.folder.absolute().name

    @property
    def unfreeze(self) -> Unfreeze | None:
        """When frozen groups were released."""
        return parse_unfreeze(self.manifest.get("unfreeze"))

    @property
    def phases(self) -> list[FreezeReport]:
        """What trained in each epoch; what would in the first, before one has ended."""
        freezing = self.task.freezing
        frozen = (freezing.frozen_in(epoch, self.unfreeze) for epoch in range(max(len(self.epochs), 1)))
        return [freezing.report(ids, self.task.layerwise) for ids in frozen]

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """The stretches of training, see `Notes.session`."""
        return self.notes.get("sessions", [])

    @property
    def seconds(self) -> float | None:
        """How long training took in all, if that was noted."""
        return sum(session["seconds"] for session in self.sessions) if self.sessions else None


def summary_of(task: Task) -> str:
    """Returns the first sentence of a task's own docstring."""
    return inspect.cleandoc(type(task).__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _best(run: Run) -> Best | None:
    path = run.checkpoints.best_path
    if not path.is_file():
        return None
    try:
        state = checkpoint.load(path).state
    except TrainingError:  # what cannot be loaded is nobody's best
        return None
    return Best(state["epoch"], state["monitor"], state["value"]) if "monitor" in state else None


def _curves(history: dict[str, list[Any]], best: Best | None) -> list[Curve]:
    # Callbacks may log texts and arrays too.
    numbers = {
        name: [value if isinstance(value, (int, float)) else None for value in column]
        for name, column in history.items()
        if any(isinstance(value, (int, float)) for value in column)
    }
    names = list(dict.fromkeys(name.removeprefix(_VALIDATION) for name in numbers))
    monitored = best.monitor.removeprefix(_VALIDATION) if best else ""
    names.sort(key=lambda name: (not name.endswith("loss"), name != monitored))
    return [Curve(name, numbers.get(name, []), numbers.get(_VALIDATION + name, [])) for name in names]
