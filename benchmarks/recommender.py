"""How well the recommender ranks on MovieLens 1M, what new users get, and how fast a list is made.

    python benchmarks/recommender.py DATA [gmf neumf newcomers lists] [--out FILE.md]

DATA has the files train.tsv.gz and test.tsv.gz of the split of He et al. (2017), "Neural Collaborative
Filtering": the last choice of each user is ranked among 99 others. CPU seconds include reading the data.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kerasft

SEEDS = (0, 1, 2)
NEWCOMERS = 1000
CHOICES = (1, 5, 20, None)
DRAWS = 3
Lines = list[str]


def make(seed: int = 0, **config: Any) -> Any:
    metrics = {"protocol": "ncf99", **config.pop("metrics", {})}
    return kerasft.create("recommender", seed=seed, metrics=metrics, **config)


def gmf(seed: int = 0, **config: Any) -> Any:
    training = {"epochs": 40, "batch_size": 252, "learning_rate": 2e-3}
    return make(seed, scorer="gmf", network={"factors": 192}, training=training, **config)


def figures(found: dict[str, float], kind: str = "") -> str:
    return f"{found[f'hr@10{kind}']:.4f} | {found[f'ndcg@10{kind}']:.4f}"


def measure_gmf(data: Path) -> Lines:
    lines = ["| recommender | HR@10 | NDCG@10 | CPU-s |", "|---|---|---|---|"]
    all_found = []
    for seed in SEEDS:
        began = time.process_time()
        task = gmf(seed)
        task.finetune(data / "train.tsv.gz", verbose="quiet")
        spent = time.process_time() - began
        found = task.evaluate(data / "test.tsv.gz", verbose="quiet")
        if seed == SEEDS[0]:
            lines += [f"| {name} | {figures(found, f'_{name}')} | - |" for name in ("popularity", "ease")]
        lines.append(f"| gmf, full softmax, 192 factors, seed {seed} | {figures(found)} | {spent:.0f} |")
        all_found.append(found)
    mean = {name: statistics.mean(found[name] for found in all_found) for name in ("hr@10", "ndcg@10")}
    return [*lines, f"| gmf, mean of {len(SEEDS)} seeds (goal 0.718, 0.445, 60) | {figures(mean)} | - |"]


def measure_neumf(data: Path) -> Lines:
    lines = ["| recommender | HR@10 | NDCG@10 | CPU-s |", "|---|---|---|---|"]
    sampled = {"batch_size": 2048, "learning_rate": 1e-3, "steps_per_call": 16}
    users = {"batch_size": 252, "learning_rate": 2e-3}
    stages: dict[str, dict[str, Any]] = {
        "gmf": {"training": {"epochs": 40, **users}},
        "mlp": {
            "objective": "bce",
            "penalty": 0.0,
            "network": {"deviation": 0.05},
            "training": {"epochs": 8, **sampled},
        },
        "neumf": {
            "objective": "full_softmax",
            "network": {"alpha": 0.8},
            "training": {"epochs": 2, **users, "learning_rate": 5e-4},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: Path(folder) / name for name in stages}
        for name, config in stages.items():
            began = time.process_time()
            start = [runs["gmf"], runs["mlp"]] if name == "neumf" else None
            task = make(scorer=name, **config)
            task.finetune(data / "train.tsv.gz", init_from=start, run_dir=runs[name], verbose="quiet")
            spent = time.process_time() - began
            found = task.evaluate(data / "test.tsv.gz", verbose="quiet")
            goal = " from both (goal 0.700, 0.425)" if start else ""
            lines.append(f"| {name}{goal} | {figures(found)} | {spent:.0f} |")
    return lines


def columns(path: Path) -> dict[str, list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return dict(zip(rows[0], map(list, zip(*rows[1:], strict=True)), strict=True))


def of_users(
    rows: dict[str, list[str]], users: set[str], most: int | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Returns the rows of some users, at most so many of each, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(rows["user"]))
    left = dict.fromkeys(users, len(order) if most is None else most)
    kept = []
    for at in order.tolist():
        if left.get(rows["user"][at], 0):
            left[rows["user"][at]] -= 1
            kept.append(at)
    return {name: [values[at] for at in sorted(kept)] for name, values in rows.items()}


def of_goal(rows: dict[str, list[str]], new: np.ndarray) -> dict[int | None, dict[str, list[str]]]:
    """Returns the choices of new users that the goals were measured with, by their number.

    Those came from one generator, which had drawn the users, the vectors of a model and the order of old
    users in 30 epochs before.
    """
    users, items, width, epochs = 6040, 3706, 128, 30
    random = np.random.default_rng(0)
    if not np.array_equal(random.choice(users, NEWCOMERS, replace=False), new):
        raise SystemExit("These are not the new users of the goals: is this another split?")
    random.normal(size=(users, width))
    random.normal(size=(items, width))
    for _ in range(epochs):
        random.permutation(np.setdiff1d(np.arange(users), new))
    chosen: list[list[int]] = [[] for _ in range(users)]
    for user, item in zip(rows["user"], rows["item"], strict=True):
        chosen[int(user)].append(int(item))
    found: dict[int | None, dict[str, list[str]]] = {}
    for most in CHOICES[:-1]:
        kept: dict[str, list[str]] = {"user": [], "item": []}
        for user in new.tolist():
            some = random.choice(sorted(chosen[user]), min(most, len(chosen[user])), replace=False)
            kept["user"] += [str(user)] * len(some)
            kept["item"] += [str(item) for item in some]
        found[most] = kept
    return found


def of_histories(task: Any, rows: dict[str, list[str]], test: dict[str, Any]) -> float:
    """Returns HR@10 of the lists that are made of histories, in a task that was not trained on them."""
    histories: dict[str, list[str]] = {user: [] for user in test["user"]}
    for user, item in zip(rows["user"], rows["item"], strict=True):
        histories[user].append(item)
    asked = {"item_ids": list(histories.values()), "k": [len(task.catalogue.items)] * len(histories)}
    lists = task.predict(asked, signature="recommend_from_history", verbose="quiet")["item_ids"]
    hits = []
    for names, item, others in zip(lists, test["positive"], test["negatives99"], strict=True):
        places = {name.decode(): place for place, name in enumerate(names)}
        place = places.get(item, len(places))
        hits.append(item in places and sum(places.get(other, len(places)) < place for other in others) < 10)
    return statistics.mean(hits)


def measure_newcomers(data: Path) -> Lines:
    train, test = columns(data / "train.tsv.gz"), columns(data / "test.tsv.gz")
    names = list(dict.fromkeys(train["user"]))
    drawn = np.random.default_rng(0).choice(names, NEWCOMERS, replace=False)
    new = set(drawn.tolist())
    old = set(names) - new
    test["negatives99"] = [row.split() for row in test["negatives99"]]  # type: ignore[misc]
    lines = [
        f"| choices of a new user | HR@10, choices of the goal | goal | HR@10, mean of {DRAWS} other draws "
        "| each | old users | CPU-s | moved | history alone |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    goals = {1: 0.481, 5: 0.618, 20: 0.669, None: 0.713}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "old"
        gmf(spare=0.3, metrics={"baselines": ()}).finetune(of_users(train, old), run_dir=run, verbose="quiet")
        of_goals = of_goal(train, drawn.astype(int)) | {None: of_users(train, new)}
        for most in CHOICES:
            found, alone, spent, moved = [], [], [], 0
            draws = [of_users(train, new, most, seed) for seed in range(DRAWS if most else 0)]
            for some in [of_goals[most], *draws]:
                task = kerasft.load(run)
                known = len(task.catalogue.users)
                before = task.scorer.user_table.table.numpy()[:known]
                alone.append(of_histories(task, some, of_users(test, new)))
                began = time.process_time()
                task.finetune(some, freeze="items", epochs=25, learning_rate=0.03, verbose="quiet")
                spent.append(time.process_time() - began)
                moved += int((task.scorer.user_table.table.numpy()[:known] != before).any(1).sum())
                found.append(task.evaluate(of_users(test, new), verbose="quiet")["hr@10"])
            others = task.evaluate(of_users(test, old), verbose="quiet")["hr@10"]
            same, *other = found
            each = ", ".join(f"{hr:.3f}" for hr in other)
            mean = f"{statistics.mean(other):.3f}" if other else ""
            lines.append(
                f"| {most or 'all'} | {same:.3f} | {goals[most]:.3f} | {mean} | {each} | {others:.3f} | "
                f"{statistics.mean(spent):.1f} | {moved} | {statistics.mean(alone):.3f} |"
            )
    return lines


def measure_lists(data: Path) -> Lines:
    task = gmf()
    task.finetune(data / "train.tsv.gz", epochs=1, verbose="quiet")
    with tempfile.TemporaryDirectory() as folder:
        from kerasft.export.runtime import Model

        path = task.export(Path(folder) / "films", verify=False).path
        model = Model(path)
        request = {
            "user_id": np.array([b"17"], object),
            "k": np.array([10]),
            "exclude_seen": np.array([True]),
        }
        times = []
        for _ in range(1000):
            began = time.perf_counter()
            model.call("serving_default", request)
            times.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times[100:], [50, 99])
    return [
        "| ten of 3,706 items for one user, in process, seen ones left out | ms |",
        "|---|---|",
        f"| p50 (goal 1) | {p50:.2f} |",
        f"| p99 | {p99:.2f} |",
    ]


PARTS: dict[str, Callable[[Path], Lines]] = {
    "gmf": measure_gmf,
    "neumf": measure_neumf,
    "newcomers": measure_newcomers,
    "lists": measure_lists,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--out", type=Path, help="append the tables to this file")
    options = parser.parse_args()
    for part in options.parts or PARTS:
        text = "\n".join(["", *PARTS[part](options.data), ""])
        print(text, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(text)


if __name__ == "__main__":
    main()
