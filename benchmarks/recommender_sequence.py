"""What the order of choices is worth on MovieLens-100K: a sequence model against vectors that know no order.

    python benchmarks/recommender_sequence.py DATA [CASE ...] [--seeds 0 1 2] [--tune] [--set JSON]

DATA is a folder with ml-100k.inter (tab-separated, header `name:type`). All ratings count as choices. The
last choice of each user by time is the test data, ranked among all items that the user did not choose before;
the settings in CASES were chosen with `--tune`, which leaves the last choice out and ranks the one before.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from pathlib import Path
from typing import Any

import kerasft
from kerasft.data import Source, open_source
from kerasft_recommender.splitting import last_of_each

CASES: dict[str, dict[str, Any]] = {
    "gmf": {
        "scorer": "gmf",
        "penalty": 0.05,
        "network": {"factors": 64},
        "training": {"epochs": 80, "batch_size": 64, "learning_rate": 2e-3},
    },
    "sasrec": {
        "scorer": "sasrec",
        "training": {"epochs": 20, "batch_size": 64, "learning_rate": 1e-3},
    },
}


def choices(path: Path) -> dict[str, list[Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    columns = dict(zip((name.split(":")[0] for name in header), zip(*rows, strict=True), strict=True))
    return {
        "user_id": list(columns["user_id"]),
        "item_id": list(columns["item_id"]),
        "timestamp": [int(float(text)) for text in columns["timestamp"]],
    }


def rows_of(source: Source) -> dict[str, list[Any]]:
    return {name: list(source.iterate(name)) for name in ("user_id", "item_id", "timestamp")}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {k: merged(base.get(k, {}), v) for k, v in changes.items() if isinstance(v, dict)}
    return {**base, **changes, **nested}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--tune", action="store_true", help="rank the last choice but one")
    parser.add_argument("--set", type=json.loads, default={}, help="settings that replace those of CASES")
    options = parser.parse_args()
    every = choices(options.data / "ml-100k.inter")
    fields = kerasft.create("recommender").fields()
    train, test = last_of_each(open_source(every, fields=fields), 1)
    if options.tune:
        train, test = last_of_each(open_source(rows_of(train), fields=fields), 1)
    for case in options.cases or CASES:
        found = []
        for seed in options.seeds:
            task = kerasft.create("recommender", seed=seed, **merged(CASES[case], options.set))
            began = time.process_time()
            task.finetune(rows_of(train), verbose="quiet")
            spent = time.process_time() - began
            values = task.evaluate(rows_of(test), verbose="quiet")
            if case == "gmf" and seed == options.seeds[0]:
                for name in ("popularity", "ease"):
                    print(f"| {name} | {values[f'hr@10_{name}']:.4f} | {values[f'ndcg@10_{name}']:.4f} | |")
            print(
                f"| {case}, seed {seed} | {values['hr@10']:.4f} | {values['ndcg@10']:.4f} | {spent:.0f} |",
                flush=True,
            )
            found.append(values)
        hr, ndcg = (statistics.mean(values[name] for values in found) for name in ("hr@10", "ndcg@10"))
        print(f"| {case}, mean | {hr:.4f} | {ndcg:.4f} | |", flush=True)


if __name__ == "__main__":
    main()
