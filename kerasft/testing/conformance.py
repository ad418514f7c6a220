"""`check_task`: does a task keep the promises that every verb relies on?"""

from __future__ import annotations

import contextlib
import inspect
import logging
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kerasft import registry
from kerasft._suggest import suggestion
from kerasft.errors import ConfigError
from kerasft.export.report import Check
from kerasft.task import Task
from kerasft.testing import building, contract, encoding, learning, serving, training
from kerasft.testing.outcome import Failed, Skipped, explain
from kerasft.testing.report import CheckReport
from kerasft.testing.subject import Subject


class _Plan(NamedTuple):
    run: Callable[[Subject], str]
    needs: tuple[str, ...]


_PLANS: dict[str, _Plan] = {
    "class": _Plan(contract.check_class, ()),
    "config": _Plan(contract.check_config, ("class",)),
    "example": _Plan(contract.check_example, ("class",)),
    "signatures": _Plan(contract.check_signatures, ("example",)),
    "build": _Plan(building.check_build, ("config", "example")),
    "groups": _Plan(building.check_groups, ("build",)),
    "preprocess": _Plan(encoding.check_preprocess, ("build",)),
    "targets": _Plan(encoding.check_targets, ("build",)),
    "request": _Plan(serving.check_request, ("signatures", "build")),
    "loss": _Plan(learning.check_loss, ("preprocess", "targets")),
    "gradients": _Plan(learning.check_gradients, ("loss",)),
    "devices": _Plan(learning.check_devices, ("loss",)),
    "metrics": _Plan(learning.check_metrics, ("loss",)),
    "freezing": _Plan(learning.check_freezing, ("build",)),
    "finetune": _Plan(training.check_finetune, ("loss", "metrics")),
    "outputs": _Plan(serving.check_outputs, ("signatures", "finetune")),
    "serve": _Plan(serving.check_serve, ("outputs",)),
    "batches": _Plan(serving.check_batches, ("outputs",)),
    "load": _Plan(training.check_load, ("outputs",)),
    "precision": _Plan(serving.check_precision, ("outputs",)),
    "phases": _Plan(learning.check_phases, ("gradients", "freezing", "finetune")),
    "seed": _Plan(training.check_seed, ("finetune",)),
    "resume": _Plan(training.check_resume, ("seed", "load")),
    "export": _Plan(serving.check_export, ("outputs",)),
    "verify": _Plan(serving.check_verify, ("export",)),
    "runtime": _Plan(serving.check_runtime, ("export",)),
}

CHECKS: dict[str, str] = {name: inspect.cleandoc(plan.run.__doc__ or "") for name, plan in _PLANS.items()}
"""Name of every check to what it promises, in the order in which they run."""


def check_task(
    task: str | type[Task],
    *,
    config: Mapping[str, Any] | None = None,
    data: Any = None,
    folder: str | Path | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    progress: Callable[[Check], None] = lambda check: None,
    **values: Any,
) -> CheckReport:
    """Puts a task through every check of `CHECKS`, on the rows of its own `example()`.

    It builds, trains a few steps, interrupts and resumes, loads, exports and serves the task, which takes
    less than a minute for a small one. A check is skipped when one that it builds on has failed.

    Args:
        task: A task class, or its registered name.
        config: Config values; those of `values` win.
        data: What to train on, like the data of `Task.finetune`; the example's rows, repeated, if None.
        folder: Where to leave the runs and the export; a temporary folder if None.
        only: Names of the checks to run; all if empty.
        skip: Names of checks to leave out.
        progress: Called with each check when it is done.
        **values: Config values, for example `encoder="cnn"`.

    Returns:
        The report. Each failed check says in one sentence what to do.

    Raises:
        ConfigError: The task cannot be made from these values, or a check has another name.
        RegistryError: There is no task of this name.

    Example:
        >>> check_task("text", encoder="cnn").raise_if_failed()              # doctest: +SKIP
    """
    names = _chosen(only, skip)
    task_class = registry.get(task) if isinstance(task, str) else task
    if not isinstance(task_class, type) or not issubclass(task_class, Task):
        raise ConfigError(
            f"check_task: {task!r} is no task; give a subclass of kerasft.Task or a registered name."
        )
    values = {**(config or {}), **values}
    _refuse_wrong_values(task_class, values)
    done: dict[str, Check] = {}
    blocked: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="kerasft-check-") as scratch:
        subject = Subject(task_class=task_class, values=values, data=data, folder=Path(folder or scratch))
        for name in names:
            cause = next((needed for needed in _PLANS[name].needs if needed in blocked), None)
            if cause is None:
                done[name] = _run(name, subject)
            else:
                done[name] = Check(name=name, ok=None, detail=f"needs the check {cause!r} to pass")
            if cause is not None or done[name].ok is False:
                blocked.add(name)
            progress(done[name])
    return CheckReport(task=task_class.name or task_class.__name__, checks=tuple(done.values()))


def _chosen(only: Collection[str], skip: Collection[str]) -> list[str]:
    for name in (*only, *skip):
        if name not in _PLANS:
            raise ConfigError(
                f"check_task: there is no check {name!r}; {suggestion(name, _PLANS, noun='checks')}"
            )
    return [name for name in _PLANS if (not only or name in only) and name not in skip]


def _refuse_wrong_values(task_class: type[Task], values: Mapping[str, Any]) -> None:
    try:
        task_class(**values)
    except ConfigError:
        raise
    except Exception:  # the author's, not the caller's: the checks tell it, with its place
        return


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _run(name: str, subject: Subject) -> Check:
    try:
        with _quiet():
            return Check(name=name, ok=True, detail=_PLANS[name].run(subject))
    except Skipped as reason:
        return Check(name=name, ok=None, detail=str(reason))
    except Failed as failure:
        return Check(name=name, ok=False, detail=str(failure))
    except Exception as error:  # an author's method may raise anything, from anywhere
        return Check(name=name, ok=False, detail=f"{explain(error, subject.task_class)}")
