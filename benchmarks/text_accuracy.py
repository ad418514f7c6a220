"""How well the text task does on public data sets, and what that costs.

    python benchmarks/text_accuracy.py DATA [RECIPE ...] [--set JSON] [--dev-only] [--table FILE.md]

DATA is a folder with one folder a data set, each with jsonl files. A recipe trains once with each of its
seeds and reports the means; some train on other data first. The checkpoint that is best on the dev split is
kept, or the last one where a recipe trains on the dev split too. A data set without a dev split holds out a
part of its training data.
How the settings were found stands with the results.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import kerasft


@dataclasses.dataclass(frozen=True)
class FirstStage:
    """What a recipe does before its own training, with seed 0; that starts from the weights of this.

    Attributes:
        folder: of the data set.
        files: in it.
        config: of the task.
        held_out: the share of the rows that only watches.
        freeze: what keeps its weights, as `finetune` takes it.
    """

    folder: str
    files: tuple[str, ...]
    config: dict[str, Any]
    held_out: float | None = None
    freeze: str | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One line of the table; with `average` the mean of the weights of all seeds is tested, too."""

    folder: str
    metric: str
    goal: float
    config: dict[str, Any]
    train: tuple[str, ...] = ("train",)
    dev: str | float | None = "dev"
    test: str = "test"
    seeds: tuple[int, ...] = (0,)
    first: FirstStage | None = None
    freeze: str | None = None
    average: bool = False


def minilm(**config: Any) -> dict[str, Any]:
    return {"encoder": "minilm", **config}


HEAD = FirstStage(
    "sst2",
    ("train.jsonl", "dev.jsonl"),
    minilm(head={"label_smoothing": 0.1}, training={"epochs": 5, "learning_rate": 3e-3}),
    freeze="backbone",
)

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
    "sst2-imdb": Recipe(
        "sst2",
        "accuracy",
        0.90,
        minilm(training={"epochs": 1, "learning_rate": 1e-4, "ema": 0.99}),
        first=FirstStage(
            "imdb",
            ("train.jsonl.gz",),
            minilm(backbone={"max_length": 64}, training={"epochs": 1, "learning_rate": 1e-4}),
            held_out=0.02,
        ),
    ),
    "sst2-head": Recipe(
        "sst2",
        "accuracy",
        0.90,
        minilm(
            head={"label_smoothing": 0.1},
            training={"epochs": 3, "learning_rate": 1e-4, "ema": 0.998},
        ),
        train=("train", "dev"),
        dev=None,
        seeds=(1, 2),
        first=HEAD,
        freeze="embeddings",
    ),
    "sst2-rdrop": Recipe(
        "sst2",
        "accuracy",
        0.90,
        minilm(
            head={"label_smoothing": 0.1},
            training={"epochs": 5, "learning_rate": 1.5e-4, "ema": 0.998, "consistency": 1.0},
        ),
        train=("train", "dev"),
        dev=None,
        seeds=(1, 2, 3),
        first=HEAD,
        freeze="embeddings",
        average=True,
    ),
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
            "pooling": "sqrt",
            "vocabulary": {"ngrams": 3, "min_count": 2, "max_size": 200_000, "max_length": 512},
            "embedding": {"dim": 8, "dropout": 0.0},
            "head": {"dropout": 0.0, "label_smoothing": 0.1},
            "training": {"epochs": 4, "learning_rate": 5e-3, "batch_size": 64, "ema": 0.99},
        },
        train=("train", "dev"),
        dev=None,
        seeds=(0, 1, 2),
    ),
    "hotels-cnn": Recipe("chnsenticorp_htl", "accuracy", 0.90, {"encoder": "cnn"}),
}


def run(recipe: Recipe, data: Path, overrides: dict[str, Any], *, place: Path, dev_only: bool) -> Scores:
    """Trains one recipe in the folder `place` with each of its seeds; returns figures by name, one a seed."""
    folder, scores = data / recipe.folder, Scores()
    config = _merged(recipe.config, overrides)
    first, first_seconds = None, 0.0
    if recipe.first is not None:
        first = place / "first"
        first_seconds = _train_first(recipe.first, data, first)
    dev: Any = folder / f"{recipe.dev}.jsonl" if isinstance(recipe.dev, str) else recipe.dev
    for seed in recipe.seeds:
        task = kerasft.create("text", **config, seed=seed)
        started = time.process_time()
        history = task.finetune(
            _rows([folder / f"{part}.jsonl" for part in recipe.train]),
            validation_data=dev,
            init_from=first,
            freeze=recipe.freeze,
            run_dir=place / f"seed-{seed}",
            resume="never",
            verbose="line",
        )
        trained = time.process_time()
        if dev is not None:
            scores.add("dev", max(history.history[f"val_{recipe.metric}"]))
        scores.add("train CPU-s", first_seconds + trained - started)
        if not dev_only:
            scores.add("test", _tested(recipe, data, kerasft.load(place / f"seed-{seed}")))
            scores.add("test CPU-s", time.process_time() - trained)
    if recipe.average and not dev_only:
        runs = [place / f"seed-{seed}" for seed in recipe.seeds]
        scores.add("test of the mean", _tested(recipe, data, kerasft.average(runs, run_dir=place / "mean")))
    return scores


def _tested(recipe: Recipe, data: Path, task: Any) -> float:
    tested = task.evaluate(data / recipe.folder / f"{recipe.test}.jsonl", verbose="quiet")
    return float(tested[recipe.metric])


class Scores(dict[str, list[float]]):
    """Figures by name, one a seed."""

    def add(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)

    def cell(self, name: str, digits: int) -> str:
        """Returns the mean, and in brackets those of the seeds if there are several; "-" for none."""
        values = self.get(name, [])
        if not values:
            return "-"
        mean = f"{statistics.fmean(values):.{digits}f}"
        each = ", ".join(f"{value:.{digits}f}" for value in values)
        return f"{mean} ({each})" if len(values) > 1 and digits else mean


def _train_first(stage: FirstStage, data: Path, run: Path) -> float:
    """Trains the first stage, unless an earlier call has; returns its CPU seconds."""
    noted = run.with_name(f"{run.name}.json")
    if not noted.exists():
        started = time.process_time()
        task = kerasft.create("text", **stage.config, seed=0)
        task.finetune(
            _rows([data / stage.folder / file for file in stage.files]),
            validation_data=stage.held_out,
            freeze=stage.freeze,
            run_dir=run,
            verbose="line",
        )
        noted.write_text(json.dumps({"cpu_seconds": time.process_time() - started}), encoding="utf-8")
    return float(json.loads(noted.read_text(encoding="utf-8"))["cpu_seconds"])


def _rows(paths: list[Path]) -> Any:
    """Returns data for `finetune`: the file, or the joined rows of several."""
    if len(paths) == 1:
        return paths[0]
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0]}


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
    parser.add_argument("--dev-only", action="store_true", help="leave the test split alone")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a first stage is not rerun")
    parser.add_argument("--table", type=Path, help="write the table here, as Markdown")
    options = parser.parse_args()
    lines = [
        "| recipe | metric | goal | dev | test | test, mean of weights | train CPU-s | test CPU-s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.recipes:
            recipe, place = RECIPES[name], (options.runs or Path(temporary)) / name
            scores = run(recipe, options.data, options.set, place=place, dev_only=options.dev_only)
            print(name, dict(scores), flush=True)
            cells = [name, recipe.metric, recipe.goal]
            cells += [scores.cell(key, 4) for key in ("dev", "test", "test of the mean")]
            cells += [scores.cell(key, 0) for key in ("train CPU-s", "test CPU-s")]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    print("\n".join(lines))
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
