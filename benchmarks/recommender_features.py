"""What features are worth on MovieLens-100K: clicks, ratings, and items that nobody chose.

    python benchmarks/recommender_features.py DATA [CASE ...] [--seeds 0 1 2] [--set JSON] [--table FILE.md]

DATA is a folder with ml-100k.inter, ml-100k.item and ml-100k.user (tab-separated, header `name:type`). A
random fifth of the ratings is the test data, another for each seed, which also draws the weights. The
settings in CASES were chosen on a tenth of the training data of seed 0 (`--tune` prints that), never on test
data.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import kerasft
from kerasft.metrics import grouped_roc_auc

Rows = dict[str, list[Any]]

USERS = [
    {"name": "age", "kind": "categorical", "side": "user"},
    {"name": "gender", "kind": "categorical", "side": "user"},
    {"name": "occupation", "kind": "categorical", "side": "user"},
]
GENRES = {"name": "genres", "kind": "multi"}
YEAR = {"name": "year", "kind": "categorical"}
TITLE = {"name": "title", "kind": "multi", "separator": " "}

FEATURED = {"features": [*USERS, GENRES, YEAR]}
CLICK = {**FEATURED, "objective": "click", "ordinal": 0.5, "penalty": 0.15}
FIT = {"epochs": 6, "batch_size": 512, "learning_rate": 2e-3, "ema": 0.99}
CASES: dict[str, dict[str, Any]] = {
    "deepfm": {**CLICK, "scorer": "deepfm", "training": FIT},
    "wide_deep": {**CLICK, "scorer": "wide_deep", "training": FIT},
    "dcn": {**CLICK, "scorer": "dcn", "training": FIT},
    "deepfm-ids": {**CLICK, "scorer": "deepfm", "features": [], "training": FIT},
    "deepfm-plain": {**CLICK, "ordinal": 0.0, "penalty": 0.2, "scorer": "deepfm", "training": FIT},
    "rating": {
        **FEATURED,
        "objective": "rating",
        "penalty": 0.2,
        "scorer": "deepfm",
        "training": {**FIT, "epochs": 5},
    },
    "cold": {
        "scorer": "two_tower",
        "features": [*USERS, GENRES, YEAR, TITLE],
        "training": {"epochs": 20, "batch_size": 512},
    },
    "cold-ids": {"scorer": "two_tower", "training": {"epochs": 20, "batch_size": 512}},
}
GOALS = {"deepfm": 0.79, "wide_deep": 0.79, "rating": 0.93, "cold": 0.72}
COLD_ITEMS, LEAST_CHOICES = 200, 20


def table(path: Path) -> Rows:
    """Reads a file of RecBole's, column by column, without the types in the header."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = zip(*rows, strict=True)
    return {name.split(":")[0]: list(column) for name, column in zip(header, columns, strict=True)}


def load(folder: Path) -> tuple[Rows, Rows, Rows]:
    """Returns choices, users and items."""
    choices, users, items = (table(folder / f"ml-100k.{name}") for name in ("inter", "user", "item"))
    users["age"] = [str(int(age) // 5) for age in users["age"]]
    items["genres"] = [genres.split() for genres in items["class"]]
    items["title"] = [title.lower() for title in items["movie_title"]]
    items["year"] = items["release_year"]
    return choices, users, items


def rows_of(choices: Rows, chosen: np.ndarray) -> Rows:
    """Returns some rows."""
    return {name: [column[row] for row in chosen] for name, column in choices.items()}


def data_for(config: dict[str, Any], choices: Rows, users: Rows, items: Rows) -> Any:
    """Returns choices with those side tables that the features of a config need."""
    sides = {feature.get("side", "item") for feature in config.get("features", ())}
    tables = {"users": ("user", users), "items": ("item", items)}
    return {"interactions": choices} | {name: rows for name, (side, rows) in tables.items() if side in sides}


def ratings(
    config: dict[str, Any], seed: int, data: tuple[Rows, Rows, Rows], *, tune: bool
) -> dict[str, Any]:
    """Trains on four fifths and measures on the last."""
    choices, users, items = data
    order = np.random.default_rng(seed).permutation(len(choices["user_id"]))
    cut = len(order) // 5
    test, train = rows_of(choices, order[:cut]), rows_of(choices, order[cut:])
    task = kerasft.create("recommender", seed=seed, **config)
    started = time.process_time()
    history = task.finetune(
        data_for(config, train, users, items), validation_data=0.1 if tune else None, verbose="quiet"
    )
    seconds = time.process_time() - started
    if tune:
        return {name: np.round(values, 4).tolist() for name, values in history.history.items()}
    return {**task.evaluate(test, verbose="quiet"), "seconds": seconds}


def cold(config: dict[str, Any], seed: int, data: tuple[Rows, Rows, Rows], *, tune: bool) -> dict[str, Any]:
    """Hides all choices of some items, and ranks these for each user: those chosen against the others."""
    choices, users, items = data
    random = np.random.default_rng(seed)
    names, counts = np.unique(choices["item_id"], return_counts=True)
    often = names[counts >= LEAST_CHOICES]
    hidden = random.choice(often, COLD_ITEMS * (2 if tune else 1), replace=False)
    # Settings are chosen on other items than those that are reported.
    hidden, apart = (hidden[COLD_ITEMS:], hidden[:COLD_ITEMS]) if tune else (hidden, np.empty(0, object))
    known = ~np.isin(choices["item_id"], [*hidden, *apart])
    task = kerasft.create("recommender", seed=seed, **config)
    started = time.process_time()
    task.finetune(data_for(config, rows_of(choices, np.flatnonzero(known)), users, items), verbose="quiet")
    seconds = time.process_time() - started
    people = np.unique(choices["user_id"])
    scores = task.predict(
        {"user_id": list(people), "item_ids": [list(hidden)] * len(people)},
        signature="score",
        verbose="quiet",
    )["scores"]
    pairs = set(zip(choices["user_id"], choices["item_id"], strict=True))
    chosen = np.array([[(user, item) in pairs for item in hidden] for user in people])
    groups = np.repeat(np.arange(len(people)), len(hidden))
    return {"user_auc": grouped_roc_auc(scores.ravel(), chosen.ravel(), groups), "seconds": seconds}


def main() -> None:
    """Runs cases and prints, or adds to a table, what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--set", type=json.loads, default={}, help="JSON that changes the config of the cases"
    )
    parser.add_argument("--tune", action="store_true", help="validate on training data instead of testing")
    parser.add_argument("--table", type=Path, help="file to add the lines to")
    options = parser.parse_args()
    data = load(options.data)
    for case in options.cases:
        config = merged(CASES[case], options.set)
        measure = cold if case.startswith("cold") else ratings
        found = []
        for seed in options.seeds:
            found.append(measure(config, seed, data, tune=options.tune))
            print(case, seed, json.dumps(found[-1]), flush=True)
        if options.table is not None:
            with options.table.open("a", encoding="utf-8") as file:
                file.write(line(case, options.seeds, found) + "\n")


def merged(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns a config with changes, key by key in nested ones."""
    result = dict(config)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def line(case: str, seeds: list[int], found: list[dict[str, Any]]) -> str:
    """Returns a line of the table: metrics as mean and range over seeds."""
    names = [name for name in ("auc", "user_auc", "logloss", "rmse", "mae") if name in found[0]]
    cells = []
    for name in names:
        values = [one[name] for one in found]
        cells.append(f"{name} {np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
    seconds = np.mean([one["seconds"] for one in found])
    goal = f" ({GOALS[case]:g})" if case in GOALS else ""
    return f"| {case}{goal} | {', '.join(map(str, seeds))} | {'; '.join(cells)} | {seconds:.0f} |"


if __name__ == "__main__":
    main()
