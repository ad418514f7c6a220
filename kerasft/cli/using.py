"""`kerasft evaluate` and `predict`: a finished run on new data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kerasft.cli.output import answering, plain, print_json, print_lines
from kerasft.cli.quiet import import_tensorflow
from kerasft.cli.tasks import AsJson
from kerasft.cli.training import Columns, OnError, pairs
from kerasft.errors import ConfigError

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", metavar="best|latest", help="Which weights.")]


def evaluate(
    run: RunFolder,
    data: Annotated[str, typer.Option("--data", metavar="SRC", help="Labelled data: a file, or tfds:NAME.")],
    checkpoint: Checkpoint = "best",
    columns: Columns = None,
    on_error: OnError = None,
    as_json: AsJson = False,
) -> None:
    """Print a run's metrics on labelled data as a JSON object."""
    with answering(only_json=as_json):
        import_tensorflow()
        import kerasft

        task = kerasft.load(run, checkpoint=checkpoint)
        reading: dict[str, Any] = {"columns": pairs(columns or []), "on_error": on_error or "raise"}
        print_json(task.evaluate(data, **reading))


def predict(
    run: RunFolder,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text to answer; may be repeated.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SRC", help="Data to answer; needs no labels.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write there instead.")
    ] = None,
    checkpoint: Checkpoint = "best",
    columns: Columns = None,
    on_error: OnError = None,
) -> None:
    """Print one JSON object of named outputs for each input, in order."""
    if bool(text) == bool(data):
        raise ConfigError("predict needs either --text or --data, for example --text 'what a film'")
    if out is not None:
        if out.is_dir():
            raise ConfigError(f"--out {out} is a folder; name a file, for example {out / 'answers.jsonl'}")
        out.parent.mkdir(parents=True, exist_ok=True)
    with answering(only_json=True):
        import_tensorflow()
        import kerasft
        from kerasft.training.checkpoint import write_atomically

        task = kerasft.load(run, checkpoint=checkpoint)
        reading: dict[str, Any] = {"columns": pairs(columns or []), "on_error": on_error or "raise"}
        answers = task.predict(text or data, **reading)
        lines = (json.dumps(plain(row), ensure_ascii=False) for row in rows(answers, task.row_outputs))
        if out is None:
            print_lines(lines)
            return
        write_atomically(out, lambda file: file.writelines(f"{line}\n".encode() for line in lines))


def rows(answers: Mapping[str, Any], per_row: Collection[str]) -> Iterator[dict[str, Any]]:
    """Splits what `predict` returned into one dictionary for each row.

    Args:
        answers: Output to array. With an output `row_splits`, the others of `per_row` are flat: it says where
            each row's values begin and end.
        per_row: Names of the outputs that differ from row to row; the others are repeated.

    Example:
        >>> list(rows({"start": [4, 0, 9], "row_splits": [0, 1, 1, 3]}, ["start", "row_splits"]))
        [{'start': [4]}, {'start': []}, {'start': [0, 9]}]
    """
    once = {name: value for name, value in answers.items() if name not in per_row}
    varying = {name: answers[name] for name in answers if name in per_row and name != "row_splits"}
    splits = answers.get("row_splits")
    if splits is not None:
        for first, last in itertools.pairwise(splits):
            yield {**{name: values[first:last] for name, values in varying.items()}, **once}
        return
    for values in zip(*varying.values(), strict=True):
        yield {**dict(zip(varying, values, strict=True)), **once}
