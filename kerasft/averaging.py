"""One run made of several: the mean of their weights."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kerasft.errors import ConfigError, TrainingError
from kerasft.loading import load
from kerasft.registry import create
from kerasft.training.adapters import merged
from kerasft.training.checkpoint import model_variables, save
from kerasft.training.resume import describe_run
from kerasft.training.run import Run
from kerasft.training.transfer import average_weights

if TYPE_CHECKING:
    from kerasft.contract import Contract
    from kerasft.task import Task


def average(
    runs: str | Path | Sequence[str | Path], *, run_dir: str | Path, checkpoint: str = "best"
) -> Task:
    """Writes a run whose weights are the mean of those of others (a "model soup").

    Runs that were fine-tuned from the same weights, with other seeds or settings, often lie in one basin of
    the loss: their mean costs no more to serve than one of them and tends to do better than most. The mean
    of runs trained from scratch on their own is useless. Adapters are merged first. Statistics of
    BatchNormalization are averaged like weights, which is not what passes over data would give.

    Source: Wortsman et al., 2022, "Model soups: averaging weights of multiple fine-tuned models improves
    accuracy without increasing inference time".

    Args:
        runs: Folders of two or more runs with equal networks, vocabularies and labels.
        run_dir: Folder of the new run, to be evaluated, exported and started from like any other; it cannot
            be trained on, for it has no optimizer.
        checkpoint: "best" (the latest, if nothing was validated) or "latest", of each.

    Returns:
        The task of the new run, ready for `evaluate`, `predict` and `export`.

    Raises:
        ConfigError: fewer than two runs, or runs that differ in task, vocabulary or labels.
        TrainingError: a folder is no run, its weights are others, or `run_dir` holds a run already.

    Example:
        >>> task = average(["runs/seed-1", "runs/seed-2"], run_dir="runs/mean")     # doctest: +SKIP
        >>> task.evaluate("test.tsv")["accuracy"]                                   # doctest: +SKIP
        0.9
    """
    runs = [runs] if isinstance(runs, (str, Path)) else list(runs)
    if len(runs) < 2:
        raise ConfigError(f"average: {len(runs)} runs are named; the mean needs two or more.")
    run = Run(run_dir)
    with run.lock():
        if run.exists():
            raise TrainingError(f"{run.folder} already holds a run: choose another run_dir, or delete it.")
        sources = [load(folder, checkpoint=checkpoint) for folder in runs]
        first = sources[0]
        task = create(first.name, **first.dump_config())
        _check_alike(sources)
        task.load_assets(Run(runs[0]).assets)
        task.build(pretrained=False)
        task.notice = " ".join(dict.fromkeys(source.notice for source in sources if source.notice))
        with merged([model for source in sources for model in source.models.values()]):
            average_tasks(sources, task)
        run.assets.mkdir(parents=True, exist_ok=True)
        task.save_assets(run.assets)
        arrays = {name: variable.numpy() for name, variable in model_variables(task.models).items()}
        epoch = max(int(source.last_metrics["epoch"]) for source in sources)
        save(run.checkpoints.best_path, arrays, {"epoch": epoch})
        described = describe_run(task, unfreeze=None, data="")
        run.write({**described, "averaged": [str(folder) for folder in runs], "notice": task.notice})
    task.run = run
    task.last_metrics = {"epoch": epoch}
    return task


def average_tasks(sources: Sequence[Task], target: Contract) -> None:
    """Fills a built task with the mean of the weights of others, adapters merged; see `average`."""
    _check_alike(sources)
    average_weights(
        [source.models for source in sources], target.models, where=[_place(source) for source in sources]
    )


def _check_alike(sources: Sequence[Task]) -> None:
    first = sources[0]
    for other in sources[1:]:
        pair = f"{_place(first)} and {_place(other)}"
        if other.name != first.name:
            raise ConfigError(
                f"{pair} are of the tasks {first.name!r} and {other.name!r}: only runs of one task can be "
                "averaged."
            )
        if first.run is None or other.run is None:
            raise ConfigError(f"{pair} are not both folders of runs, so they cannot be averaged.")
        names = {
            path.relative_to(run.assets).as_posix()
            for run in (first.run, other.run)
            for path in run.assets.rglob("*")
            if path.is_file()
        }
        for name in sorted(names):
            one, two = first.run.assets / name, other.run.assets / name
            if not (one.is_file() and two.is_file() and filecmp.cmp(one, two, shallow=False)):
                raise ConfigError(
                    f"{pair} differ in assets/{name}: only runs with the same vocabulary and labels can be "
                    "averaged."
                )


def _place(task: Task) -> str:
    return str(task.run.folder) if task.run is not None else f"a file of the task {task.name!r}"
