"""`kerasft list`, `describe`, `check` and `new`."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasft.cli.output import answering, print_json, print_rich
from kerasft.cli.quiet import import_tensorflow, quiet_import

if TYPE_CHECKING:
    from kerasft._describe import TaskDescription

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON value on standard output, nothing else.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A config value, for example training.batch_size=64; --training.batch_size 64 is the same.",
    ),
]


def list_tasks(
    load: Annotated[
        bool, typer.Option("--load", help="Import every plugin, to see whether it really loads (slow).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the tasks that are installed."""
    from kerasft import registry

    with answering(only_json=as_json):
        with quiet_import() if load else contextlib.nullcontext():
            found = registry.list_tasks(load=load)
        if as_json:
            print_json([dataclasses.asdict(info) for info in found])
            return
    if not found:
        typer.echo("no task is installed; install a plugin, for example: pip install 'kerasft[text]'")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("task", "status", "from", "what it does"):
        table.add_column(heading)
    for info in found:
        source = f"{info.distribution} {info.version}".strip() or info.where
        table.add_row(info.name, info.status, source, info.error or info.summary)
    print_rich(table)


def describe(
    task: Annotated[str, typer.Argument(help="A name from `kerasft list`.")],
    settings: Settings = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the model too, to show its layer groups.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a task's config, columns and signatures."""
    from kerasft import registry
    from kerasft._describe import describe as describe_task
    from kerasft.recipe import merge

    with answering(only_json=as_json):
        config = merge({}, settings or [])
        with quiet_import():
            registry.get(task)
        description = describe_task(task, build=build, **config)
        if as_json:
            print_json(dataclasses.asdict(description))
        else:
            _show(description)


def _show(description: TaskDescription) -> None:
    from rich.table import Table
    from rich.text import Text

    plain: Any = {"box": None, "pad_edge": False}
    print_rich(Text(f"{description.name}  ({description.where})", style="bold"), description.doc, "")
    if description.columns:
        columns = Table(title="columns", title_justify="left", **plain)
        for heading in ("name", "kind", "read for", "also called"):
            columns.add_column(heading)
        for column in description.columns:
            read_for = ", ".join(column["read_for"])
            columns.add_row(column["name"], column["kind"], read_for, ", ".join(column["aliases"]))
        print_rich(columns, "")
    for name, inputs in description.signatures.items():
        print_rich(f"signature {name}: " + ", ".join(f"{key}: {spec}" for key, spec in inputs.items()))
    if description.groups:
        print_rich("layer groups, input to head: " + ", ".join(description.groups))
    for name, sentence in description.estimate.items():
        print_rich(f"{name}: {sentence}")
    print_rich(f"best checkpoint by: {description.monitor}", "")
    config = Table(
        title="config (keywords, recipe keys, --set KEY=VALUE)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("key", "type", "default", "limits", "help"):
        config.add_column(heading, overflow="fold")
    for field in description.config:
        default = "(required)" if field.required else str(field.default)
        config.add_row(field.key, field.type, default, field.limits, field.help)
    print_rich(config)


def check(
    task: Annotated[str, typer.Argument(help="A name from `kerasft list`.")],
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on a task; exit code 1 when a check fails."""
    from kerasft import registry
    from kerasft.recipe import merge

    with answering(only_json=as_json):
        config = merge({}, settings or [])
        with quiet_import():
            cls = registry.get(task)
        import_tensorflow()
        from kerasft.testing import check_task

        report = check_task(cls, **config)
        if as_json:
            checks = [dataclasses.asdict(one) for one in report.checks]
            print_json({"task": task, "ok": report.ok, "checks": checks})
        else:
            print_rich(report)
    if not report.ok:
        raise typer.Exit(1)


def new(
    name: Annotated[str, typer.Argument(help="Name of the new task: lower-case letters, digits and _.")],
    folder: Annotated[
        Path | None, typer.Option("--into", help="Where to write; ./kerasft_NAME by default.")
    ] = None,
) -> None:
    """Write a small working plugin to start from."""
    from kerasft.cli.scaffold import write_plugin

    target = write_plugin(name, folder)
    typer.echo(f"wrote {target}; try it: pip install -e {target} && kerasft check {name}")
