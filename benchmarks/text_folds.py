"""Cross-validation of settings of the text task: a choice that needs no test split.

    python benchmarks/text_folds.py FILE.jsonl ... --set JSON [--set JSON ...] [--folds 5] [--seed 0]

The rows of all files are dealt into folds, each with its share of every label. For each setting a model is
trained on all folds but one and judged on that one, after its last epoch: no checkpoint is chosen by what
it is judged on, and the epochs can be kept when the final model trains on all rows.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import kerasft


def read(paths: list[Path]) -> tuple[list[str], list[str]]:
    """Returns the texts and labels of all files."""
    rows = [
        json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line
    ]
    return [row["text"] for row in rows], [str(row["label"]) for row in rows]


def deal(labels: list[str], folds: int, seed: int) -> np.ndarray:
    """Returns the fold of each row; every label is dealt out evenly."""
    fold = np.empty(len(labels), int)
    random, names, dealt = np.random.default_rng(seed), np.array(labels), 0
    for label in sorted(set(labels)):
        rows = random.permutation(np.flatnonzero(names == label))
        fold[rows] = (np.arange(len(rows)) + dealt) % folds
        dealt += len(rows)
    return fold


def judge(settings: dict[str, Any], texts: list[str], labels: list[str], fold: np.ndarray) -> list[float]:
    """Returns the accuracy on each fold after the last epoch."""
    scores = []
    for held_out in range(fold.max() + 1):
        parts = [
            {"text": [texts[i] for i in rows], "label": [labels[i] for i in rows]}
            for rows in (np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out))
        ]
        history = kerasft.create("text", **settings).finetune(
            parts[0], validation_data=parts[1], verbose="quiet"
        )
        curve = history.history["val_accuracy"]
        print("   ", " ".join(f"{value:.4f}" for value in curve), flush=True)
        scores.append(curve[-1])
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--set", type=json.loads, action="append", required=True, metavar="JSON")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the folds; a setting may name its own seed")
    options = parser.parse_args()
    texts, labels = read(options.files)
    fold = deal(labels, options.folds, options.seed)
    for settings in options.set:
        began = time.process_time()
        mean = float(np.mean(judge(settings, texts, labels, fold)))
        error = math.sqrt(mean * (1 - mean) / len(texts))
        seconds = time.process_time() - began
        print(f"{mean:.4f} +- {error:.4f} in {seconds:.0f} CPU-s: {json.dumps(settings)}", flush=True)


if __name__ == "__main__":
    main()
