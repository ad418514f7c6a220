"""Faces from nothing and from another domain, on drawn faces: how far the relative Fréchet distance falls.

    taskset -c 0 python benchmarks/face_cartoons.py [--extractor NAME] [--out FILE.md] [--picture FILE.png]

The preset micro learns people (2,000 pictures of 32x32) in 1,500 steps. Then aliens (100 pictures) are
learned in 200 steps, once from that run and once from nothing, with three seeds. Distances are between 1,000
made faces and 2,000 drawn ones that training did not see.
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
UNSEEN = 1000  # a seed of its own


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def distance(task: Any, real: Features, network: Any) -> float:
    return frechet_relative(real, extract(faces(task, range(MADE)), network))


def train(pictures: np.ndarray, steps: int, *, seed: int, folder: Path, init_from: Path | None = None) -> Any:
    task = kerasft.create("face", resolution=SIDE, seed=seed, samples={"count": 0})
    epochs = -(-steps * BATCH // len(pictures))
    task.finetune({"picture": pictures}, epochs=epochs, run_dir=folder, init_from=init_from, verbose="quiet")
    return task


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extractor", default="random:v1")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    network = extractor(options.extractor)
    runs = Path(tempfile.mkdtemp())
    real = {
        domain: extract(cartoons(domain, count=2000, resolution=SIDE, seed=UNSEEN), network)
        for domain in ("people", "aliens")
    }
    fresh = kerasft.create("face", resolution=SIDE)
    fresh.build()
    before = distance(fresh, real["people"], network)
    began = cpu_seconds()
    first = train(cartoons("people", count=2000, resolution=SIDE), STEPS, seed=0, folder=runs / "people")
    cost = cpu_seconds() - began
    after = distance(first, real["people"], network)
    lines = [
        f"Extractor {network.identity}.",
        "",
        f"| people, {STEPS} steps | FIDr |",
        "|---|---|",
        f"| before | {before:.0f} |",
        f"| after {cost:.0f} CPU-s | {after:.0f} |",
        f"| ratio | {before / after:.0f}x |",
        "",
        f"| aliens, {FEW} pictures, {FEW_STEPS} steps | from nothing | from people | ratio |",
        "|---|---|---|---|",
    ]
    few = cartoons("aliens", count=FEW, resolution=SIDE)
    for seed in (1, 2, 3):
        nothing = train(few, FEW_STEPS, seed=seed, folder=runs / f"nothing{seed}")
        moved = train(few, FEW_STEPS, seed=seed, folder=runs / f"moved{seed}", init_from=runs / "people")
        alone, started = (distance(task, real["aliens"], network) for task in (nothing, moved))
        lines.append(f"| seed {seed} | {alone:.0f} | {started:.0f} | {started / alone:.2f} |")
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if options.picture:
        rows = [faces(first, range(16)), faces(moved, range(16))]
        save_png(grid(np.concatenate(rows), columns=8), options.picture)


if __name__ == "__main__":
    main()
