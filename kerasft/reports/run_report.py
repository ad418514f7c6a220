"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kerasft.reports import about, results
from kerasft.reports.facts import Facts
from kerasft.reports.gallery import gallery
from kerasft.reports.markup import join, page, tag
from kerasft.reports.notes import Notes
from kerasft.reports.tables import tables
from kerasft.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from kerasft.task import Task
    from kerasft.training.run import Run


def write_run_report(task: Task, run: Run) -> Path:
    """Writes report.html of a run: results, curves, confusions, layers, settings, and how to go on.

    Everything is read from the run folder, so the report of an old run can be written anew.

    Args:
        task: The run's task, built: as `finetune` leaves it or `kerasft.load` returns it.
        run: Its folder.

    Returns:
        The file.

    Raises:
        TrainingError: The folder is no run, or cannot be written.

    Example:
        >>> write_run_report(kerasft.load("runs/reviews"), Run("runs/reviews"))     # doctest: +SKIP
        PosixPath('runs/reviews/report.html')
    """
    facts = Facts.read(task, run)
    title = f"{task.name}: {facts.name}"
    body = join(
        [
            tag("h1", title),
            about.subtitle(facts),
            results.tiles(facts),
            results.curves(facts),
            gallery(facts.folder),
            *(results.evaluation(name, noted) for name, noted in facts.notes.get("evaluations", {}).items()),
            tables(facts.folder),
            results.balance(facts.notes.get("balance")),
            about.freezing(facts),
            about.next_steps(facts),
            about.config(facts),
            about.versions(facts),
        ]
    )
    content = page(title, body)
    write_atomically(run.report, lambda file: file.write(content))
    return run.report


def add_test(task: Task, values: Mapping[str, float]) -> None:
    """Adds the evaluation that `task.evaluate` just made to the report of the task's run, as its test.

    Args:
        task: Loaded from a run, or trained into one.
        values: What `task.evaluate` returned.

    Raises:
        TrainingError: The report cannot be written.
    """
    if task.run is not None:
        Notes(task.run).add_evaluation("test", values, metrics=task.evaluation_metrics, task=task)
        write_run_report(task, task.run)
