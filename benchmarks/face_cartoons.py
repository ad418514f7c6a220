"""Faces from nothing and from another domain, on drawn faces: how far the relative Fréchet distance falls.

    taskset -c 0 python benchmarks/face_cartoons.py [--extractor NAME] [--only people|aliens] [--runs DIR]
        [--out FILE.md] [--picture FILE.png]

The preset micro learns people (2,000 pictures of 32x32) in 1,500 steps, without path length and style mixing,
as StyleGAN2-ADA does at 32x32, and with a rate that falls to nothing; with three seeds. Then micro as it is
learns aliens (100 pictures) in 200 steps, once from the first of these runs and once from nothing, with three
seeds.
Distances are between 1,000 made faces and 2,000 drawn ones that training did not see.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import kerasft
from kerasft.metrics import Features, extract, extractor, frechet_relative
from kerasft_face import cartoons
from kerasft_face.samples import faces, grid, save_png

SIDE, BATCH, MADE = 32, 16, 1000
STEPS, FEW_STEPS, FEW = 1500, 200, 100
SEEDS = (1, 2, 3)
UNSEEN = 1000  # a seed of its own
LONG_TRAINING: dict[str, Any] = {
    "game": {"path_weight": 0.0, "style_mixing": 0.0},
    "training": {"schedule": "cosine"},
}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def distance(task: Any, real: Features, network: Any) -> float:
    return frechet_relative(real, extract(faces(task, range(MADE)), network))


def create(seed: int, **settings: Any) -> Any:
    return kerasft.create("face", resolution=SIDE, seed=seed, samples={"count": 0}, **settings)


def train(task: Any, pictures: np.ndarray, steps: int, *, folder: Path, init_from: Path | None = None) -> Any:
    epochs = -(-steps * BATCH // len(pictures))
    task.finetune({"picture": pictures}, epochs=epochs, run_dir=folder, init_from=init_from, verbose="quiet")
    return task


def people(runs: Path, network: Any) -> tuple[list[str], Any]:
    """Returns a table, and the task of the first seed."""
    real = extract(cartoons("people", count=2000, resolution=SIDE, seed=UNSEEN), network)
    seen = cartoons("people", count=2000, resolution=SIDE)
    floor = frechet_relative(real, extract(seen[:MADE], network))
    lines = [
        f"| people, {STEPS} steps | FIDr before | after | ratio | CPU-s |",
        "|---|---|---|---|---|",
    ]
    first = None
    for seed in SEEDS:
        fresh = create(seed)
        fresh.build()
        before, began = distance(fresh, real, network), cpu_seconds()
        task = train(create(seed, **LONG_TRAINING), seen, STEPS, folder=runs / f"people{seed}")
        cost, after = cpu_seconds() - began, distance(task, real, network)
        lines.append(f"| seed {seed} | {before:.0f} | {after:.1f} | {before / after:.0f}x | {cost:.0f} |")
        print(lines[-1], flush=True)
        first = first or task
    lines += [
        "",
        f"{MADE:,} other drawn faces are {floor:.1f} from the unseen ones: no generator gets lower.",
    ]
    return lines, first


def aliens(runs: Path, network: Any) -> tuple[list[str], Any]:
    """Returns a table, and the task that was trained last."""
    real = extract(cartoons("aliens", count=2000, resolution=SIDE, seed=UNSEEN), network)
    few = cartoons("aliens", count=FEW, resolution=SIDE)
    lines = [
        f"| aliens, {FEW} pictures, {FEW_STEPS} steps | from nothing | from people | ratio |",
        "|---|---|---|---|",
    ]
    moved = None
    for seed in SEEDS:
        nothing = train(create(seed), few, FEW_STEPS, folder=runs / f"nothing{seed}")
        start = runs / f"people{SEEDS[0]}"
        moved = train(create(seed), few, FEW_STEPS, folder=runs / f"moved{seed}", init_from=start)
        alone, started = (distance(task, real, network) for task in (nothing, moved))
        lines.append(f"| seed {seed} | {alone:.0f} | {started:.0f} | {started / alone:.2f} |")
        print(lines[-1], flush=True)
    return lines, moved


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extractor", default="random:v1")
    parser.add_argument(
        "--only", choices=["people", "aliens"], help="one part; aliens needs the --runs of people"
    )
    parser.add_argument("--runs", type=Path, help="keep the runs there")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    network = extractor(options.extractor)
    runs = options.runs or Path(tempfile.mkdtemp())
    lines, made = [f"Extractor {network.identity}."], []
    for part in (people, aliens):
        if options.only in (None, part.__name__):
            table, task = part(runs, network)
            lines += ["", *table]
            made.append(faces(task, range(16)))
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if options.picture:
        save_png(grid(np.concatenate(made), columns=8), options.picture)


if __name__ == "__main__":
    main()
