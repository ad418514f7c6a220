"""How well the text task does on public data sets, and what that costs.

    python benchmarks/text_accuracy.py DATA [RECIPE ...] [--set JSON] [--table FILE.md]

DATA is a folder with one folder a data set, each with jsonl files. Every recipe trains once with seed 0,
keeps the checkpoint that is best on the dev split, and reports both splits. A data set without a dev split
holds out a part of its training data. How the settings were found stands with the results.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import kerasft


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One line of the table."""

    folder: str
    metric: str
    goal: float
    config: dict[str, Any]
    train: str = "train"
    dev: str | float = "dev"
    test: str = "test"


def minilm(**config: Any) -> dict[str, Any]:
    return {"encoder": "minilm", **config}


RECIPES = {
    "clinc150": Recipe(
        "clinc150", "accuracy", 0.955, minilm(training={"epochs": 5, "learning_rate": 2e-4}), dev="val"
    ),
    "snips-intents": Recipe(
        "snips", "accuracy", 0.985, minilm(training={"epochs": 2, "learning_rate": 1e-4}), dev=0.05
    ),
    "snips-slots": Recipe(
        "snips",
        "span_f1",
        0.93,
        minilm(kind="entities", training={"epochs": 4, "learning_rate": 2e-4}),
        dev=0.05,
    ),
    "sst2": Recipe("sst2", "accuracy", 0.90, minilm(training={"epochs": 3, "learning_rate": 1e-4})),
    "trec": Recipe("trec", "accuracy", 0.965, minilm(training={"epochs": 4, "learning_rate": 1e-4}), dev=0.1),
    "wnut17": Recipe(
        "wnut17_ner", "span_f1", 0.35, minilm(kind="entities", training={"epochs": 4, "learning_rate": 2e-4})
    ),
    "trec-cnn": Recipe("trec", "accuracy", 0.89, {"encoder": "cnn"}, dev=0.1),
    "trec-bilstm": Recipe("trec", "accuracy", 0.86, {"encoder": "bilstm"}, dev=0.1),
    "hotels-bag": Recipe(
        "chnsenticorp_htl",
        "accuracy",
        0.90,
        {
            "encoder": "mlp",
            "mlp": {"units": []},
            "vocabulary": {"ngrams": 3, "min_count": 2, "max_size": 200_000, "max_length": 512},
            "embedding": {"dim": 32, "dropout": 0.0, "word_dropout": 0.5},
            "head": {"dropout": 0.3, "label_smoothing": 0.1},
            "training": {"epochs": 8, "learning_rate": 2e-3, "ema": 0.99},
        },
    ),
    "hotels-cnn": Recipe("chnsenticorp_htl", "accuracy", 0.90, {"encoder": "cnn"}),
}


def run(recipe: Recipe, data: Path, overrides: dict[str, Any]) -> dict[str, float]:
    """Trains one recipe and returns its scores, with the CPU seconds of the training."""
    folder = data / recipe.folder
    dev: Any = folder / f"{recipe.dev}.jsonl" if isinstance(recipe.dev, str) else recipe.dev
    task = kerasft.create("text", **_merged(recipe.config, overrides))
    with tempfile.TemporaryDirectory() as place:
        started = time.process_time()
        history = task.finetune(
            folder / f"{recipe.train}.jsonl", validation_data=dev, run_dir=f"{place}/run", verbose="line"
        )
        trained = time.process_time()
        scores = kerasft.load(f"{place}/run").evaluate(folder / f"{recipe.test}.jsonl", verbose="quiet")
        tested = time.process_time()
    dev_score = max(history.history[f"val_{recipe.metric}"])
    return {"dev": dev_score, **scores, "train CPU-s": trained - started, "test CPU-s": tested - trained}


def _merged(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    result = dict(config)
    for key, value in overrides.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else value
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), help=", ".join(RECIPES))
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="changes to the config")
    parser.add_argument("--table", type=Path, help="write the table here, as Markdown")
    options = parser.parse_args()
    lines = [
        "| recipe | metric | goal | dev | test | train CPU-s | test CPU-s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in options.recipes:
        recipe = RECIPES[name]
        scores = run(recipe, options.data, options.set)
        print(name, {key: round(value, 4) for key, value in scores.items()}, flush=True)
        cells = [name, recipe.metric, recipe.goal, f"{scores['dev']:.4f}", f"{scores[recipe.metric]:.4f}"]
        cells += [f"{scores[key]:.0f}" for key in ("train CPU-s", "test CPU-s")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    print("\n".join(lines))
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
