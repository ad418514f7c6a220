"""How fast a million items are searched: an exported recommender with clustered vectors, asked in process.

    taskset -c 0 python benchmarks/recommender_index.py [--items N] [--noise X ...] [--out FILE.md]

A GMF has vectors drawn for the purpose: 2,000 centres, each coordinate standard normal, and around them items
and users with `noise` times as much again. Each user chose 20 items of the same centre, which are left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import kerasft
from kerasft.export.layout import MANIFEST
from kerasft.export.runtime import Model

CENTRES, WIDTH, USERS, CHOICES = 2000, 64, 5000, 20
REQUESTS = 500


def made(items: int, noise: float) -> Any:
    """Returns a recommender with such vectors."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CENTRES, WIDTH))
    of_item = random.integers(0, CENTRES, items)
    of_user = random.integers(0, CENTRES, USERS)
    by_centre = np.argsort(of_item, kind="stable")
    starts, sizes = np.searchsorted(of_item[by_centre], of_user), np.bincount(of_item, minlength=CENTRES)
    places = starts[:, None] + random.random((USERS, CHOICES)) * sizes[of_user][:, None]
    chosen = by_centre[places.astype(int)]
    rest = np.setdiff1d(np.arange(items), chosen)
    rows = {
        "user_id": [*np.repeat(np.arange(USERS), CHOICES).tolist(), *(["crowd"] * len(rest))],
        "item_id": [*chosen.ravel().tolist(), *rest.tolist()],
    }
    task = kerasft.create(
        "recommender", objective="bce", index="ivf", network={"factors": WIDTH}, metrics={"baselines": ()}
    )
    task.finetune(rows, epochs=1, batch_size=1 << 16, verbose="quiet")
    for table, ids, centre in (
        (task.scorer.item_table.table, task.catalogue.items, of_item),
        (task.scorer.user_table.table, task.catalogue.users, of_user),
    ):
        values = np.zeros(table.shape, np.float32)
        vectors = centres[centre] + noise * random.standard_normal((len(centre), WIDTH))
        values[ids.numbers(map(str, range(len(centre)))), :WIDTH] = vectors / WIDTH**0.5
        table.assign(values)
    return task


def measure(items: int, noise: float) -> list[str]:
    task = made(items, noise)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        report = task.export(Path(folder) / "items", verify=False)
        spent, cpu = time.perf_counter() - began, time.process_time() - cpu
        facts = json.loads((report.path / MANIFEST).read_text(encoding="utf-8"))["facts"]["index"]
        model = Model(report.path)
        took: dict[str, list[float]] = {}
        for user in range(REQUESTS):
            name = np.array([str(user).encode()], object)
            k = np.array([10])
            for signature, request in (
                ("serving_default", {"user_id": name, "k": k, "exclude_seen": np.array([True])}),
                ("similar_items", {"item_id": name, "k": k}),
            ):
                before = time.perf_counter()
                model.call(signature, request)
                took.setdefault(signature, []).append(1e3 * (time.perf_counter() - before))
    p50, p99 = np.percentile(took["serving_default"][20:], [50, 99])
    alike = np.percentile(took["similar_items"][20:], 50)
    return [
        f"| {items:,} | {noise:g} | {facts['lists']:,} | {facts['probes']} | {facts['recall@10']:.3f} "
        f"| {p50:.2f} | {p99:.2f} | {facts['similar_items_recall@10']:.3f} | {alike:.2f} "
        f"| {spent:.0f} ({cpu:.0f}) |"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.5, 1.0])
    parser.add_argument("--out", type=Path, help="append the table to this file")
    options = parser.parse_args()
    lines = [
        "| items | noise | lists | probed | recall@10 | p50 ms | p99 ms "
        "| similar: recall@10 | p50 ms | export s (CPU-s) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for noise in options.noise:
        lines += measure(options.items, noise)
        print("\n".join(lines[-3:] if len(lines) == 3 else lines[-1:]), flush=True)
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))


if __name__ == "__main__":
    main()
