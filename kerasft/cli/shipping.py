"""`kerasft average`, `export` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kerasft.cli.output import answering, print_json, print_lines, print_rich
from kerasft.cli.quiet import import_tensorflow
from kerasft.cli.tasks import AsJson, Settings
from kerasft.cli.using import Checkpoint


def average(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more runs of one task.")],
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of the new run.")],
    checkpoint: Checkpoint = "best",
) -> None:
    """Make a run whose weights are the mean of those of others, fine-tuned from the same start."""
    with answering(only_json=False):
        import_tensorflow()
        import kerasft

        kerasft.average(runs, run_dir=run, checkpoint=checkpoint)
        print_lines([f"{run}: the mean of {len(runs)} runs"])


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    target: Annotated[Path, typer.Argument(help="Folder of the model; versions become its children.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Version; the next one by default.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch-in-graph", min=1, metavar="ROWS", help="Most rows the model batches itself."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Export a run's best checkpoint as a verified SavedModel."""
    with answering(only_json=as_json):
        import_tensorflow()
        import kerasft
        from kerasft.export import Batching
        from kerasft.recipe import merge

        batching = Batching(max_batch_size=batch) if batch is not None else None
        task = kerasft.load(run, config=merge({}, settings or []))
        report = task.export(target, version=version, batching=batching)
        if as_json:
            print_json(report.to_dict())
        else:
            print_rich(report)


def verify(
    path: Annotated[Path, typer.Argument(help="A version folder: TARGET/VERSION.")],
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="RELEASE", help="TensorFlow to use, such as 2.20; fetched once."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an exported model; exit code 1 when a check fails."""
    with answering(only_json=as_json):
        from kerasft.export import verify as verify_export

        report = verify_export(path, runtime=runtime)
        if as_json:
            print_json(report.to_dict())
        else:
            print_rich(report)
    if not report.ok:
        raise typer.Exit(1)
