"""`kerasft evaluate` and `predict`: a finished run on new data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kerasft.cli.output import answering, plain, print_json
from kerasft.cli.tasks import AsJson
from kerasft.errors import ConfigError


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[str, typer.Option("--data", metavar="SRC", help="Labelled data: a file, or tfds:NAME.")],
    checkpoint: Annotated[str, typer.Option("--checkpoint", metavar="best|latest", help="Which weights.")] = "best",
    as_json: AsJson = False,
) -> None:
    """Print a run's metrics on labelled data as a JSON object."""
    with answering(only_json=as_json):
        import kerasft

        print_json(kerasft.load(run, checkpoint=checkpoint).evaluate(data))


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text to answer; may be repeated.")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="SRC", help="Data to answer; labels may lack.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write here, not on stdout.")] = None,
    checkpoint: Annotated[str, typer.Option("--checkpoint", metavar="best|latest", help="Which weights.")] = "best",
) -> None:
    """Print one JSON object of named outputs for each input, in order."""
    if bool(text) == bool(data):
        raise ConfigError("predict needs either --text or --data, for example --text 'what a film'")
    with answering(only_json=True):
        import kerasft

        answers = rows(kerasft.load(run, checkpoint=checkpoint).predict(text or data))
        if out is None:
            for answer in answers:
                print_json(answer)
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(plain(answer), ensure_ascii=False) + "\n" for answer in answers)
