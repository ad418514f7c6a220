"""`kerasft evaluate` and `predict`: a finished run on new data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kerasft.cli.asking import ENCODED, as_line, read_inputs, split_rows, write_files
from kerasft.cli.output import answering, print_json, print_lines
from kerasft.cli.quiet import import_tensorflow
from kerasft.cli.tasks import AsJson, Settings
from kerasft.cli.training import Columns, OnError, pairs
from kerasft.errors import ConfigError

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", metavar="best|latest", help="Which weights.")]


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SRC", help="Labelled data: a file, or tfds:NAME; some tasks have own."
        ),
    ] = None,
    settings: Settings = None,
    checkpoint: Checkpoint = "best",
    columns: Columns = None,
    on_error: OnError = None,
    as_json: AsJson = False,
) -> None:
    """Print a run's metrics on labelled data as a JSON object."""
    with answering(only_json=as_json):
        import_tensorflow()
        import kerasft
        from kerasft.recipe import merge

        task = kerasft.load(run, checkpoint=checkpoint, config=merge({}, settings or []))
        reading: dict[str, Any] = {"columns": pairs(columns or []), "on_error": on_error or "raise"}
        print_json(task.evaluate(data, **reading))


def predict(
    run: RunFolder,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text to answer; may be repeated.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="A value to answer, for example seed=1..16; may be repeated.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SRC", help="Data to answer; needs no labels.")
    ] = None,
    signature: Annotated[
        str, typer.Option("--signature", help="Which signature to ask.")
    ] = "serving_default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.jsonl|DIR",
            help="Write there instead; into a folder go pictures and other files that are answers.",
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    columns: Columns = None,
    on_error: OnError = None,
) -> None:
    """Print one JSON object of named outputs for each input, in order."""
    if sum(map(bool, (text, inputs, data))) != 1:
        raise ConfigError("predict needs one of --text, --input and --data, for example --text 'what a film'")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    with answering(only_json=True):
        import_tensorflow()
        import kerasft
        from kerasft.training.checkpoint import write_atomically

        task = kerasft.load(run, checkpoint=checkpoint)
        reading: dict[str, Any] = {"columns": pairs(columns or []), "on_error": on_error or "raise"}
        asked = read_inputs(inputs, task.fields()) if inputs else text or data
        answers = task.predict(asked, signature=signature, **reading)
        rows = split_rows(answers, task.row_outputs)
        holds_files = any(name.endswith(ENCODED) for name in answers)
        if out is not None and (out.is_dir() or (holds_files and not out.suffix)):
            print_lines(as_line(row) for row in write_files(rows, out))
            return
        lines = map(as_line, rows)
        if out is None:
            print_lines(lines)
            return
        write_atomically(out, lambda file: file.writelines(f"{line}\n".encode() for line in lines))
