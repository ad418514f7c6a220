"""Photos of faces, UTKFace: what a fixed budget of CPU time makes of them, and what makes them old.

    taskset -c 0 python benchmarks/face_utkface.py DATA --runs FOLDER [--sides 32 64] [--minutes 60]
        [--steps 600] [--seeds 3] [--out FILE.md] [--picture FILE.png]

DATA is a folder with utkface_64x64_jpg.tar.xz (23,708 aligned pictures) and utkface_labels.tsv, which has the
columns file and age. UTKFace is for research that is not commercial. The preset micro is trained on all but
5,000 pictures until the budget of CPU time, measurements left out, does not suffice for another epoch; runs
that were stopped go on. Then pictures of people over 60 are learned from 500 of them, from the first run and
from nothing. Distances are between made faces and pictures that training did not see. The age of made faces
is what ridge regression on the extractor's features says, fitted on pictures of known age.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image

import kerasft
from kerasft.metrics import Features, extract, extractor, frechet
from kerasft_face.samples import faces, grid, save_png

UNSEEN, OLD, FEW = 5000, 60, 500
RIDGE = 10.0
SHOWN = 24
SHARES = (0.5, 1.0)  # of the steps, after which a new domain is measured


class Photos(NamedTuple):
    """Pictures uint8 `[pictures, side, side, 3]` and the age of each person in years."""

    pictures: np.ndarray
    ages: np.ndarray

    def where(self, chosen: np.ndarray) -> Photos:
        return Photos(self.pictures[chosen], self.ages[chosen])


def read(folder: Path, side: int) -> Photos:
    """Reads all pictures, in an order that tells nothing."""
    with (folder / "utkface_labels.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    ages = {row["file"]: int(row["age"]) for row in rows if row["age"]}
    pictures, known = [], []
    with tarfile.open(folder / "utkface_64x64_jpg.tar.xz") as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member) if name in ages else None
            if file is not None:
                photo = Image.open(io.BytesIO(file.read())).convert("RGB")
                pictures.append(np.asarray(photo.resize((side, side), Image.Resampling.LANCZOS)))
                known.append(ages[name])
    order = np.random.default_rng(0).permutation(len(pictures))
    return Photos(np.stack(pictures)[order], np.array(known)[order])


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Judge:
    """Measures made faces.

    Args:
        name: An extractor.
        made: How many faces are made.
        unseen: Real pictures with ages.
    """

    def __init__(self, name: str, *, made: int, unseen: Photos) -> None:
        self.network, self._made = extractor(name), made
        self.unseen, self._ages = self.features(unseen.pictures), unseen.ages
        half = len(unseen.ages) // 2
        self._weights = _ridge(self.unseen.values[:half], unseen.ages[:half])
        self.age_error = float(np.abs(self.age(self.unseen.values[half:]) - unseen.ages[half:]).mean())

    def features(self, pictures: np.ndarray) -> Features:
        return extract(pictures, self.network, cache=True)

    def age(self, values: np.ndarray) -> np.ndarray:
        mean, scale, weights, middle = self._weights
        return (values - mean) / scale @ weights + middle

    def look(self, task: Any) -> Features:
        return extract(faces(task, range(self._made)), self.network)


def _ridge(values: np.ndarray, ages: np.ndarray) -> tuple[Any, ...]:
    mean, scale, middle = values.mean(0), values.std(0) + 1e-6, ages.mean()
    x = (values - mean) / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) / 100 * np.eye(x.shape[1]), x.T @ (ages - middle))
    return mean, scale, weights, middle


class Curve(keras.callbacks.Callback):
    """Measures after each epoch and stops before the budget is passed; a file keeps what was measured."""

    def __init__(self, task: Any, judge: Judge, *, seconds: float, path: Path) -> None:
        super().__init__()
        self._task, self._judge, self._seconds, self._path = task, judge, seconds, path
        self.points: list[list[float]] = json.loads(path.read_text()) if path.is_file() else []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = cpu_seconds()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        spent = cpu_seconds() - self._began
        before = self.points[-1][0] if self.points else 0.0
        distance = frechet(self._judge.unseen, self._judge.look(self._task))
        self.points.append([before + spent, distance])
        self._path.write_text(json.dumps(self.points))
        print(f"epoch {epoch + 1}: {before + spent:.0f} CPU-s, FID {distance:.1f}", flush=True)
        if before + 2 * spent > self._seconds:
            self.model.stop_training = True


class Steps(keras.callbacks.Callback):
    """Measures a training on few pictures at the end of some epochs."""

    def __init__(self, task: Any, judge: Judge, real: Features, epochs: list[int]) -> None:
        super().__init__()
        self._task, self._judge, self._real, self._epochs = task, judge, real, epochs
        self.distances: list[float] = []
        self.age = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self._epochs:
            made = self._judge.look(self._task)
            self.distances.append(frechet(self._real, made))
            self.age = float(self._judge.age(made.values).mean())


def learn(photos: Photos, judge: Judge, *, side: int, seconds: float, folder: Path) -> tuple[Any, Curve]:
    folder.mkdir(parents=True, exist_ok=True)
    task = kerasft.create("face", resolution=side, samples={"count": 0})
    curve = Curve(task, judge, seconds=seconds, path=folder / "curve.json")
    if curve.points and curve.points[-1][0] + curve.points[0][0] > seconds:
        return kerasft.load(folder / "run"), curve
    task.finetune(
        {"picture": photos.pictures},
        epochs=10_000,
        run_dir=folder / "run",
        callbacks=[curve],
        verbose="quiet",
    )
    return task, curve


def age(
    few: Photos, judge: Judge, real: Features, *, side: int, steps: int, seed: int, start: Path | None
) -> tuple[Any, Steps]:
    task = kerasft.create("face", resolution=side, seed=seed, samples={"count": 0})
    batch = task.config.training.batch_size
    last = -(-steps * batch // len(few.pictures))
    watch = Steps(task, judge, real, [max(1, round(share * last)) for share in SHARES])
    task.finetune({"picture": few.pictures}, epochs=last, init_from=start, callbacks=[watch], verbose="quiet")
    return task, watch


def report(options: argparse.Namespace, side: int) -> tuple[list[str], list[np.ndarray]]:
    photos = read(options.data, side)
    unseen, seen = photos.where(np.arange(UNSEEN)), photos.where(np.arange(UNSEEN, len(photos.ages)))
    judge = Judge(options.extractor, made=options.made, unseen=unseen)
    print(f"{side}x{side}: age error {judge.age_error:.1f} years", flush=True)
    folder = options.runs / str(side)
    task, curve = learn(seen, judge, side=side, seconds=60.0 * options.minutes, folder=folder)
    old = seen.where(seen.ages > OLD)
    few = old.where(np.arange(FEW))
    # A reference of one size for both domains; the old people that training does not see.
    rest = np.concatenate([old.pictures[FEW:], unseen.pictures[unseen.ages > OLD]])
    real = judge.features(rest)
    first = judge.look(task)
    lines = [
        f"## {side}x{side}",
        "",
        f"Trained {curve.points[-1][0] / 60:.1f} CPU-minutes of a budget of {options.minutes:g}, "
        f"{len(curve.points)} epochs of {len(seen.ages):,} pictures. Two halves of the unseen pictures are "
        f"{_halves(judge.unseen):.1f} apart.",
        "",
        "| CPU-minutes | FID |",
        "|---|---|",
        *(f"| {seconds / 60:.1f} | {distance:.1f} |" for seconds, distance in _some(curve.points)),
        "",
        f"Over {OLD} years, from {FEW} pictures (distance to {len(rest):,} others; without any training the "
        f"first run is {frechet(real, first):.1f} away). Mean age by regression, wrong by "
        f"{judge.age_error:.1f} years on average: {judge.age(real.values).mean():.0f} years for the real "
        f"ones, {judge.age(first.values).mean():.0f} years for faces of the first run.",
        "",
        "| seed | start | " + " | ".join(f"FID, {options.steps * s:.0f} steps" for s in SHARES) + " | age |",
        "|---|---|" + "---|" * (len(SHARES) + 1),
    ]
    drawn = [faces(task, range(SHOWN), truncation=0.8)]
    for seed in range(1, options.seeds + 1):
        for name, start in (("nothing", None), ("the first run", folder / "run")):
            aged, watch = age(few, judge, real, side=side, steps=options.steps, seed=seed, start=start)
            values = " | ".join(f"{distance:.1f}" for distance in watch.distances)
            lines.append(f"| {seed} | {name} | {values} | {watch.age:.0f} |")
            print(lines[-1], flush=True)
    drawn.append(faces(aged, range(SHOWN), truncation=0.8))
    return lines, drawn


def _halves(features: Features) -> float:
    half = len(features.values) // 2
    parts = features.values[:half], features.values[half:]
    return frechet(*(Features(part, features.extractor) for part in parts))


def _some(points: list[list[float]], most: int = 8) -> list[list[float]]:
    """Returns about so many points, twice as far apart each time, and the last."""
    last = len(points) - 1
    chosen = {min(last, round(last ** (i / (most - 1)))) for i in range(most)} | {0, last}
    return [points[i] for i in sorted(chosen)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--extractor", default="vgg16")
    parser.add_argument("--made", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    lines = [
        f"Extractor {extractor(options.extractor).identity}, {options.made:,} made faces, {UNSEEN:,} unseen.",
    ]
    rows = []
    for side in options.sides:
        found, drawn = report(options, side)
        lines += ["", *found]
        largest = max(options.sides) // side
        rows += [pictures.repeat(largest, axis=1).repeat(largest, axis=2) for pictures in drawn]
        if options.out:
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if options.picture:
        save_png(grid(np.concatenate(rows), columns=12), options.picture)


if __name__ == "__main__":
    main()
