"""From a run folder back to a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft.errors import ConfigError, TrainingError
from kerasft.recipe import updated
from kerasft.registry import create, get
from kerasft.training import device
from kerasft.training.checkpoint import AVERAGE, model_variables
from kerasft.training.checkpoint import load as load_checkpoint
from kerasft.training.resume import restore_task
from kerasft.training.run import Run
from kerasft.training.state import assign

if TYPE_CHECKING:
    from kerasft.task import Task


def load(
    run_dir: str | Path,
    *,
    checkpoint: str = "best",
    task: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Task:
    """Rebuilds the task of a finished or interrupted run: config, assets, freeze state and weights.

    Args:
        run_dir: The run folder; or a file with networks of another program, whose config and weights the task
            that `task` names takes over.
        checkpoint: "best" (the latest, if nothing was validated) or "latest".
        task: Name of the task that a file is for; a run says itself.
        config: Values of a run's config, nested, in place of its own, for what does not shape the models:
            `{"metrics": {"extractor": "vgg16"}}`.

    Returns:
        The task, ready for any verb; `finetune` with the same `run_dir` goes on with the run.

    Raises:
        TrainingError: the folder is no run, or holds no readable checkpoint.
        ConfigError: the task reads no such file, or none is named.
        RegistryError: the plugin of its task is not installed.

    Example:
        >>> task = load("runs/reviews")                                    # doctest: +SKIP
        >>> task.predict(["what a film"])["label"]                         # doctest: +SKIP
        array([b'positive'], dtype=object)
    """
    if checkpoint not in ("best", "latest"):
        raise ConfigError(f"checkpoint: {checkpoint!r} is neither 'best' nor 'latest'.")
    device.current()  # settles how GPU memory is taken, before a task makes its first tensor
    if Path(run_dir).is_file():
        if config:
            raise ConfigError(f"{run_dir} is a file, whose config is its own: leave out config.")
        return _build_imported(Path(run_dir), task)
    run = Run(run_dir)
    manifest = run.read()
    if task not in (None, manifest["task"]):
        raise ConfigError(f"{run.folder} is a run of the task {manifest['task']!r}, not of {task!r}.")
    if config:
        manifest = {**manifest, "config": updated(manifest["config"], config)}
    return _of_run(run, manifest, checkpoint)


def import_file(task_class: type[Task], path: Path) -> Task:
    """Returns what a task makes of a file of another program, not built.

    Raises:
        ConfigError: it reads no such file.
    """
    found = task_class.import_file(path)
    if found is None:
        name = task_class.name or task_class.__name__
        raise ConfigError(
            f"{path} is a file that the task {name!r} cannot start from; give the folder of a run."
        )
    return found


def _build_imported(path: Path, name: str | None) -> Task:
    if name is None:
        raise ConfigError(f"{path} is a file, not a run: name the task that reads it: load(path, task=...).")
    task = import_file(get(name), path)
    task.build()
    return task


def _of_run(run: Run, manifest: dict[str, Any], checkpoint: str) -> Task:
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
