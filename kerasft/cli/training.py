"""`kerasft finetune`: flags over recipe over defaults, then one call of `Task.finetune`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kerasft.cli.output import answering, print_json, print_rich
from kerasft.cli.quiet import import_tensorflow, quiet_import
from kerasft.cli.tasks import AsJson, Settings
from kerasft.errors import ConfigError

_MOST_CLASSES_SHOWN = 60

Task = Annotated[str | None, typer.Argument(help="A name from `kerasft list`; may stand in the recipe.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="SRC", help="Training data: a file, or tfds:NAME; some tasks have their own."
    ),
]
Validation = Annotated[
    str | None,
    typer.Option(
        "--validation",
        metavar="SRC|SHARE|ROWS",
        help="Validation data, or what to hold out of --data: a share (0.1) or a number of rows (200).",
    ),
]
Test = Annotated[
    str | None,
    typer.Option("--test", metavar="SRC", help="Evaluate the best checkpoint on this at the end."),
]
Run = Annotated[str | None, typer.Option("--run", metavar="DIR", help="Folder of the run.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training data.")]
InitFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--init-from",
        metavar="RUN",
        help="Run to start from; task and config are taken from it. Or a file that the task reads.",
    ),
]
Partial = Annotated[
    bool | None, typer.Option("--partial", help="Of --init-from, take what fits instead of refusing.")
]
Freeze = Annotated[
    str | None,
    typer.Option("--freeze", help="Policy, group, regex, number of groups from the input, or lora:RANK."),
]
Unfreeze = Annotated[str | None, typer.Option("--unfreeze", help="gradual:1 or milestones:1=1,3=all.")]
Recipe = Annotated[Path | None, typer.Option("--recipe", metavar="FILE", help="YAML file; flags win.")]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="auto|never|must", help="Go on with an earlier run in DIR."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of weights, dropout and order.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=COLUMN", help="Which column of the data is which."),
]
Weight = Annotated[
    str | None, typer.Option("--sample-weight", metavar="COLUMN", help="Column with the weight of each row.")
]
OnError = Annotated[
    str | None, typer.Option("--on-error", metavar="raise|skip", help="What to do with a bad row.")
]


def finetune(
    task: Task = None,
    data: Data = None,
    validation: Validation = None,
    test: Test = None,
    run: Run = None,
    epochs: Epochs = None,
    init_from: InitFrom = None,
    partial: Partial = None,
    freeze: Freeze = None,
    unfreeze: Unfreeze = None,
    recipe: Recipe = None,
    settings: Settings = None,
    resume: Resume = None,
    seed: Seed = None,
    columns: Columns = None,
    sample_weight: Weight = None,
    on_error: OnError = None,
    as_json: AsJson = False,
) -> None:
    """Train a task on your data; prints the test metrics of the best checkpoint last."""
    flags = {
        "task": task,
        "data": data,
        "validation": validation,
        "test": test,
        "run": run,
        "init_from": init_from or None,
        "partial": partial,
        "freeze": freeze,
        "unfreeze": unfreeze,
        "resume": resume,
        "on_error": on_error,
        "sample_weight": sample_weight,
        "columns": pairs(columns or []) or None,
    }
    extra = [*(settings or [])]
    if epochs is not None:
        extra.append(f"training.epochs={epochs}")
    if seed is not None:
        extra.append(f"seed={seed}")
    with answering(only_json=as_json):
        plan, config = _plan(flags, recipe, extra)
        _run(plan, config, as_json=as_json)


def _plan(
    flags: dict[str, Any], recipe: Path | None, settings: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merges recipe and flags, and checks the config against the task's before TensorFlow is busy."""
    from kerasft import registry
    from kerasft.recipe import merge, recipe_with_lines, updated
    from kerasft.schema import parse

    plan, lines = recipe_with_lines(recipe) if recipe else ({}, {})
    plan = {**plan, **{key: value for key, value in flags.items() if value is not None}}
    before: dict[str, Any] = {}
    if isinstance(plan.get("init_from"), list) and len(plan["init_from"]) == 1:
        (plan["init_from"],) = plan["init_from"]
    if isinstance(plan.get("init_from"), str):
        before = _config_of_start(plan)
    _demand(plan, task="kerasft finetune text", run="--run runs/first")
    config = merge(updated(before, plan.pop("config", None) or {}), settings)
    with quiet_import():
        from kerasft.task import Task

        task_class = registry.get(plan["task"])
        config_class = task_class.config_class
    if task_class.default_data is Task.default_data:
        _demand(plan, data="--data train.jsonl")
    parse(
        config_class,
        config,
        where=str(recipe) if recipe else f'task "{plan["task"]}"',
        lines=lines,
    )
    return plan, config


_NAMES = {"task": "a task", "run": "a run folder", "data": "data"}


def _demand(plan: dict[str, Any], **examples: str) -> None:
    for key, example in examples.items():
        if not plan.get(key):
            raise ConfigError(
                f"finetune needs {_NAMES[key]}, on the command line or in the recipe, for example {example}"
            )


def _config_of_start(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of what training starts from, none if that is of another task; adds the task."""
    from kerasft import registry

    with quiet_import():
        from kerasft.loading import import_file
        from kerasft.training.run import Run

    start = Path(plan["init_from"])
    if start.is_file():
        if not plan.get("task"):
            raise ConfigError(f"{start} is a file: name the task that reads it, for example: finetune face")
        with quiet_import():
            task_class = registry.get(plan["task"])
        return import_file(task_class, start).dump_config()
    manifest = Run(start).read()
    return manifest["config"] if plan.setdefault("task", manifest["task"]) == manifest["task"] else {}


def _run(plan: dict[str, Any], config: dict[str, Any], *, as_json: bool) -> None:
    import_tensorflow()
    import kerasft
    from kerasft.data import open_source
    from kerasft.reports import add_test, class_scores

    started = time.time()
    task = kerasft.create(plan["task"], **config)
    reading: dict[str, Any] = {"columns": plan.get("columns"), "on_error": plan.get("on_error", "raise")}
    own = not plan.get("data") and task.default_data("test") is not None
    if plan.get("test"):
        # Better now than after hours of training.
        test = task.open_data(plan["test"])
        open_source(test, fields=task.fields(), default_splits=("test",), **reading)
    history = task.finetune(
        plan.get("data"),
        validation_data=_validation(plan.get("validation")),
        run_dir=plan["run"],
        resume=plan.get("resume", "auto"),
        init_from=plan.get("init_from"),
        partial=bool(plan.get("partial")),
        freeze=parse_freeze(plan.get("freeze")),
        unfreeze=plan.get("unfreeze"),
        sample_weight=plan.get("sample_weight"),
        **reading,
    )
    tested, scores = None, None
    if plan.get("test") or own:
        best = kerasft.load(plan["run"])
        tested = best.evaluate(plan.get("test"), **reading)
        scores = class_scores(best.evaluation_metrics, best)
        add_test(best, tested)
    if as_json:
        print_json(
            {
                "task": plan["task"],
                "run": str(plan["run"]),
                "epochs": len(history.epoch),
                "seconds": round(time.time() - started, 2),
                "history": history.history,
                "test": tested,
            }
        )
        return
    print_rich(f"run folder: {plan['run']}")
    if scores is not None and len(scores.names) <= _MOST_CLASSES_SHOWN:
        print_rich(scores)
    if tested is not None:
        print_rich(f"test metrics of the best checkpoint on {plan.get('test') or 'its own test data'}:")
        print_json(tested)


def parse_freeze(text: str | int | None) -> Any:
    """Reads a freeze policy: a number of groups, `lora:RANK[:TARGETS]`, or a name that the task knows.

    Example:
        >>> parse_freeze("backbone"), parse_freeze("3")
        ('backbone', 3)
    """
    if isinstance(text, str) and text.isdigit():
        return int(text)
    if isinstance(text, str) and text.partition(":")[0] == "lora":
        from kerasft.training import LoRA

        _, rank, targets = (*text.split(":", 2), "", "")[:3]
        if rank and not rank.isdigit():
            raise ConfigError(f"freeze: {text!r} has no rank; write lora:8 or lora:8:query|value")
        return LoRA(rank=int(rank or 8), targets=targets or None)
    return text


def _validation(value: str | float | None) -> str | float | None:
    """Reads what `--validation` was given: a number of rows, a share of them, or a source."""
    if isinstance(value, str):
        for number in (int, float):
            with contextlib.suppress(ValueError):
                return number(value)
    return value


def pairs(items: list[str]) -> dict[str, str]:
    """Reads what `--column` was given: NAME=COLUMN, the task's name for a column and the data's."""
    found = {}
    for item in items:
        name, equals, column = item.partition("=")
        if not equals or not name or not column:
            raise ConfigError(f"--column {item!r}: write it as NAME=COLUMN, for example text=review")
        found[name] = column
    return found
