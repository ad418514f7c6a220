"""From a file to an answered gRPC request: fine-tunes MiniLM on intents, exports, verifies, serves and asks.

Usage: python examples/demo.py [--epochs N] [--encoder minilm] [--into FOLDER]   (what `make demo` runs)
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kerasft
from kerasft.cli.quiet import import_tensorflow
from kerasft.serving.client import Client

QUESTIONS = (
    "play some jazz from the eighties",
    "will it rain in Lisbon on Sunday",
    "book a table for four at an Italian place tonight",
)


@contextlib.contextmanager
def served(target: Path) -> Iterator[str]:
    """Serves a model from another process on a free port; gives its address."""
    command = [sys.executable, "-m", "kerasft", "serve", str(target), "--grpc-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="")
                found = re.search(r"\d+\.\d+\.\d+\.\d+:\d+", line)
                if found:
                    yield found[0]
                    return
            raise SystemExit("the server stopped before it was ready")
        finally:
            process.terminate()


def main() -> None:
    """Runs the demo."""
    parser = argparse.ArgumentParser(description="Fine-tune, export, verify, serve and ask.")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--into", type=Path, default=Path(), help="where runs/ and saved_models/ are")
    options = parser.parse_args()
    started = time.monotonic()
    console = Console(markup=False)

    console.rule("1. fine-tune")
    import_tensorflow()
    from kerasft.reports import add_test, class_scores
    from kerasft_text import snips

    run, target = options.into / "runs" / "demo", options.into / "saved_models" / "demo"
    shutil.rmtree(run, ignore_errors=True)
    data = snips()
    task = kerasft.create("text", encoder=options.encoder, seed=0)
    task.finetune(data.train, validation_data=0.1, epochs=options.epochs, run_dir=run)

    console.rule("2. test")
    best = kerasft.load(run)
    metrics = best.evaluate(data.test)
    add_test(best, metrics)
    scores = class_scores(best.evaluation_metrics, best)
    if scores is not None:
        console.print(scores)
    console.print(f"test accuracy {metrics['accuracy']:.4f}")

    console.rule("3. export and verify")
    console.print(best.export(target))  # raises, and publishes nothing, when a check fails

    console.rule("4. serve and ask")
    with served(target) as address, Client(address) as client:
        answer = client.predict(text=list(QUESTIONS))
    table = Table("question", "intent", "score")
    for question, label, row in zip(QUESTIONS, answer["label"], answer["scores"], strict=True):
        table.add_row(question, label, f"{row.max():.3f}")
    console.print(table)
    console.print(f"done in {time.monotonic() - started:.0f} s; the report of the run: {run / 'report.html'}")


if __name__ == "__main__":
    main()
