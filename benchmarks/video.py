"""How well the video task does on public data sets, and what that costs.

    python benchmarks/video.py shapes
    python benchmarks/video.py jhmdb --skeletons jhmdb_skeleton [--seeds 0,1,2]
    python benchmarks/video.py fights --fights surv_fight [--folds 0,1,2,3,4]
        [--decoded clips.npy] [--scores folder] [--runs folder] [--picture alarm.png]

`jhmdb_skeleton` holds splitN_train.npz and splitN_test.npz with `xy`, `offsets` and `labels`; `surv_fight`
holds index.tsv with the columns path, label and fold5_grouped. Everything runs on the CPU; figures are CPU
seconds of this process, all threads.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import kerasft
from kerasft.data import open_records
from kerasft_video.clips import in_workers, read_clips
from kerasft_video.evaluation import Alarms, drawn

FIGHTS: dict[str, Any] = {
    "model": "cnn_lstm",
    "size": 160,
    "sampling": {"frames": 36, "burst": 3, "mirror": True},
    "network": {"sees": "motion", "recurrent": "none"},
    "alarm": {"label": "fight", "threshold": 0.5},
    "training": {"epochs": 20, "weight_decay": 3.0, "ema": 0.98},
}


def shapes(arguments: argparse.Namespace) -> None:
    for seed in arguments.seeds:
        task = kerasft.create("video", seed=seed)
        started = time.process_time()
        task.finetune(verbose="quiet", epochs=5)
        trained = time.process_time() - started
        print(f"| shapes, seed {seed} | {task.evaluate(verbose='quiet')['accuracy']:.4f} | {trained:.0f} |")


def jhmdb(arguments: argparse.Namespace) -> None:
    for seed in arguments.seeds:
        found = []
        for split in (1, 2, 3):
            task = kerasft.create("video", model="skeleton", seed=seed)
            started = time.process_time()
            task.finetune(arguments.skeletons / f"split{split}_train.npz", verbose="quiet")
            trained = time.process_time() - started
            values = task.evaluate(arguments.skeletons / f"split{split}_test.npz", verbose="quiet")
            found.append(values["accuracy"])
            line = f"| jhmdb split {split}, seed {seed} | {values['accuracy']:.4f} | {trained:.0f} |"
            print(line, flush=True)
        print(f"| jhmdb mean, seed {seed} | {np.mean(found):.4f} | |", flush=True)


def fights_of(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of index.tsv."""
    names = ("path", "label", "fold5_grouped")
    scanned = open_records(folder / "index.tsv").scan(list(names))
    return [dict(zip(names, row, strict=True)) for row in scanned if not hasattr(row, "problem")]


def fights(arguments: argparse.Namespace) -> None:
    rows = fights_of(arguments.fights)
    task = kerasft.create("video", **FIGHTS)
    clips, seconds = decoded([arguments.fights / row["path"] for row in rows], task.config, arguments.decoded)
    folds = np.array([int(row["fold5_grouped"]) for row in rows])
    together, found = Alarms(number=0, threshold=0.5), {}
    for fold in arguments.folds:
        task = kerasft.create("video", **FIGHTS)
        started = time.process_time()
        task.finetune(
            _part(rows, clips, seconds, folds != fold),
            freeze="backbone",
            verbose="line",
            run_dir=None if arguments.runs is None else arguments.runs / f"fold{fold}",
        )
        trained = time.process_time() - started
        test = _part(rows, clips, seconds, folds == fold)
        scores = task.predict({"clip": test["clip"]}, signature="clips", verbose="quiet")["scores"]
        truth = np.array([task.labels.index(label) for label in test["label"]])
        found[fold] = float((scores.argmax(-1) == truth).mean())
        alone = Alarms(number=0, threshold=0.5)
        for alarms in (alone, together):
            alarms.update_state(truth, scores, seconds=test["seconds"])
        precision = alone.curve().average_precision
        print(f"| fights fold {fold} | {found[fold]:.4f} | {precision:.3f} | {trained:.0f} |", flush=True)
        if arguments.scores is not None:
            np.savez(
                arguments.scores / f"fold{fold}.npz", scores=scores, truth=truth, seconds=test["seconds"]
            )
    print(f"| mean of {len(found)} folds | {np.mean(list(found.values())):.4f} | | |")
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9):
        print(threshold, *(f"{value:.3f}" for value in together.curve().at(threshold)))
    print("average precision", round(together.curve().average_precision, 3))
    if arguments.picture is not None:
        arguments.picture.write_bytes(drawn(together.curve(), label="fight", threshold=0.5))


def decoded(paths: list[Path], config: Any, kept: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Decodes all videos once for all folds: a row of clips is what the task itself makes of a file."""
    if kept is not None and kept.is_file():
        return np.load(kept, mmap_mode="r"), np.load(kept.with_suffix(".seconds.npy"))
    started = time.process_time()
    read: Any = list(in_workers(lambda path: read_clips(path, config), paths, workers=2))
    print(f"decoding: {time.process_time() - started:.0f} CPU-s", flush=True)
    clips, seconds = (np.array([getattr(video, name) for video in read]) for name in ("clips", "seconds"))
    if kept is not None:
        np.save(kept, clips)
        np.save(kept.with_suffix(".seconds.npy"), seconds)
    return clips, seconds


def _part(
    rows: list[dict[str, Any]], clips: np.ndarray, seconds: np.ndarray, chosen: np.ndarray
) -> dict[str, Any]:
    places = np.flatnonzero(chosen).tolist()
    return {
        "clip": [np.asarray(clips[place]) for place in places],
        "seconds": seconds[places],
        "label": [rows[place]["label"] for place in places],
    }


def main() -> None:
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=["shapes", "jhmdb", "fights"])
    parser.add_argument("--skeletons", type=Path)
    parser.add_argument("--fights", type=Path)
    parser.add_argument(
        "--decoded", type=Path, help="a .npy in which decoded fights are kept for other folds"
    )
    parser.add_argument("--scores", type=Path, help="a folder for the scores of each fold")
    parser.add_argument("--runs", type=Path, help="a folder for the run of each fold, to be watched with")
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--folds", type=numbers, default=[0, 1, 2, 3, 4])
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    {"shapes": shapes, "jhmdb": jhmdb, "fights": fights}[arguments.recipe](arguments)


if __name__ == "__main__":
    main()
