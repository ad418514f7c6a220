"""From a run folder back to a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasft.errors import ConfigError, TrainingError
from kerasft.registry import create
from kerasft.training.checkpoint import AVERAGE, model_variables
from kerasft.training.checkpoint import load as load_checkpoint
from kerasft.training.resume import restore_task
from kerasft.training.run import Run
from kerasft.training.state import assign

if TYPE_CHECKING:
    from kerasft.task import Task


def load(run_dir: str | Path, *, checkpoint: str = "best") -> Task:
    """Rebuilds the task of a finished or interrupted run: config, assets, freeze state and weights.

    Args:
        run_dir: The run folder.
        checkpoint: "best" (the latest, if nothing was validated) or "latest".

    Returns:
        The task, ready for any verb; `finetune` with the same `run_dir` goes on with the run.

    Raises:
        TrainingError: the folder is no run, or holds no readable checkpoint.
        RegistryError: the plugin of its task is not installed.

    Example:
        >>> task = load("runs/reviews")                                    # doctest: +SKIP
        >>> task.predict(["what a film"])["label"]                         # doctest: +SKIP
        array([b'positive'], dtype=object)
    """
    if checkpoint not in ("best", "latest"):
        raise ConfigError(f"checkpoint: {checkpoint!r} is neither 'best' nor 'latest'.")
    run = Run(run_dir)
    manifest = run.read()
    task = create(manifest["task"], **manifest["config"])
    task.given.clear()  # the run chose, not the caller
    restore_task(task, run, manifest)
    best = run.checkpoints.best_path
    wants_best = checkpoint == "best" and best.is_file()
    try:
        found = load_checkpoint(best) if wants_best else run.checkpoints.latest()
    except TrainingError as error:
        if not wants_best:
            raise
        raise TrainingError(
            f'{error} The weights that were saved last load with checkpoint="latest".'
        ) from error
    if found is None:
        raise TrainingError(
            f"{run.folder} holds no checkpoint yet: training stopped before the first was saved."
        )
    averages = {k.removeprefix(AVERAGE): v for k, v in found.arrays.items() if k.startswith(AVERAGE)}
    assign(model_variables(task.models), found._replace(arrays=found.arrays | averages))
    task.run = run
    task.last_metrics = {
        "epoch": found.state["epoch"],
        **({found.state["monitor"]: found.state["value"]} if "monitor" in found.state else {}),
    }
    return task
