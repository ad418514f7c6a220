"""How well the image task does on public data sets, and what that costs.

    python benchmarks/image_accuracy.py [RECIPE ...] [--faces att_faces.zip] [--cifar cifar10_jpg.tar.xz]

`att_faces.zip` holds sNN/MM.png (40 persons, 10 pictures each), `cifar10_jpg.tar.xz` train/CLASS/*.jpg and
test/CLASS/*.jpg. Everything runs on the CPU; figures are CPU seconds of this process, all threads, from the
encoded pictures on.
"""

from __future__ import annotations

import argparse
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import kerasft

Rows = dict[str, list[Any]]

LITE: dict[str, Any] = {"backbone": "efficientnet_lite0"}
FACES: dict[str, Any] = {"fit": "stretch", "augment": {"test_time": "flip"}}
MOVED = {"flip": "horizontal", "shift": 0.08, "rotate": 8, "zoom": 0.1, "brightness": 0.1}


def faces(path: Path, keep: Callable[[int, int], bool]) -> Rows:
    """Returns the pictures of AT&T whose person and number `keep` takes."""
    rows: Rows = {"image_bytes": [], "label": []}
    with zipfile.ZipFile(path) as file:
        for name in sorted(file.namelist()):
            place = PurePosixPath(name)
            if place.suffix == ".png" and keep(int(place.parent.name[1:]), int(place.stem)):
                rows["image_bytes"].append(file.read(name))
                rows["label"].append(place.parent.name)
    return rows


def cifar(path: Path) -> dict[str, Rows]:
    """Returns the pictures of CIFAR-10 by part, in a fixed random order."""
    parts: dict[str, Rows] = {part: {"image_bytes": [], "label": []} for part in ("train", "test")}
    with tarfile.open(path) as file:
        for member in file:
            if member.name.endswith(".jpg"):
                part, label, _ = PurePosixPath(member.name).parts[-3:]
                content = file.extractfile(member)
                assert content is not None
                parts[part]["image_bytes"].append(content.read())
                parts[part]["label"].append(label)
    for rows in parts.values():
        order = np.random.default_rng(0).permutation(len(rows["label"]))
        for name, values in rows.items():
            rows[name] = [values[at] for at in order]
    return parts


def classify(train: Any, test: Any, *, freeze: Any = None, **config: Any) -> str:
    """Trains and tests one task; returns the cells of its line."""
    task = kerasft.create("image", **config)
    started = time.process_time()
    history = task.finetune(train, freeze=freeze, verbose="line").history
    trained = time.process_time()
    accuracy = task.evaluate(test, verbose="quiet")["accuracy"]
    losses = " -> ".join(f"{loss:.3f}" for loss in (history["loss"][0], history["loss"][-1]))
    return f"{accuracy:.4f} | {losses} | {trained - started:.0f} | {time.process_time() - trained:.0f}"


def digits(_: argparse.Namespace) -> str:
    config = {"size": 16, "network": {"filters": (16, 32, 64)}, "training": {"epochs": 6}}
    return classify("digits:train", "digits:test", **config)


def att(arguments: argparse.Namespace, **config: Any) -> str:
    train = faces(arguments.faces, lambda person, number: number <= 5)
    return classify(train, faces(arguments.faces, lambda person, number: number > 5), **config)


def att_lite(arguments: argparse.Namespace) -> str:
    training = {"batch_size": 16, "epochs": 60, "learning_rate": 5e-3}
    return att(arguments, freeze="backbone", **LITE, **FACES, size=112, training=training)


def att_cnn(arguments: argparse.Namespace) -> str:
    return att(
        arguments,
        size=64,
        fit="stretch",
        network={"filters": (16, 32, 64, 128)},
        augment={**MOVED, "test_time": "flip"},
        head={"label_smoothing": 0.1},
        training={"batch_size": 16, "epochs": 40},
    )


def att_open(arguments: argparse.Namespace) -> str:
    """Trains on persons 1 to 30, and verifies and enrols the other ten."""
    task = kerasft.create(
        "image",
        kind="recognition",
        size=64,
        fit="stretch",
        network={"filters": (16, 32, 64, 128)},
        augment={**MOVED, "test_time": "flip"},
        recognition={"margin": 0.3},
        training={"batch_size": 32, "epochs": 40},
    )
    started = time.process_time()
    task.finetune(faces(arguments.faces, lambda person, number: person <= 30), verbose="line")
    trained = time.process_time()
    found = task.verification(faces(arguments.faces, lambda person, number: person > 30))
    if arguments.roc is not None:
        found.plot(arguments.roc)
    task.enroll(faces(arguments.faces, lambda person, number: person > 30 and number <= 5))
    new = faces(arguments.faces, lambda person, number: person > 30 and number > 5)
    first = task.predict(new, verbose="quiet")["candidates"][:, 0]
    nearest = np.mean([name.decode() == label for name, label in zip(first, new["label"], strict=True)])
    rates = ", ".join(f"TAR {found.at_far(far)[0]:.3f} at FAR {far:g}" for far in (0.01, 0.001))
    spent = f"{trained - started:.0f} | {time.process_time() - trained:.0f}"
    return (
        f"EER {found.eer:.3f}, {rates}; enrolled by 5 pictures, found among 40: {nearest:.3f} | - | {spent}"
    )


def cifar_lite(arguments: argparse.Namespace) -> str:
    parts = cifar(arguments.cifar)
    return classify(
        parts["train"],
        parts["test"],
        freeze="backbone",
        **LITE,
        size=32,
        network={"scale": 224, "stages": 5},
        augment={"test_time": "flip"},
        head={"hidden": (1024,), "dropout": 0.5, "members": 4},
        training={"batch_size": 256, "epochs": 15, "learning_rate": 2e-3},
    )


def cifar_resnet20(arguments: argparse.Namespace) -> str:
    parts = cifar(arguments.cifar)
    training = {"batch_size": 128, "epochs": 2, "learning_rate": 3e-3}
    return classify(parts["train"], parts["test"], backbone="resnet20", training=training)


RECIPES: dict[str, Callable[[argparse.Namespace], str]] = {
    "digits": digits,
    "att-lite": att_lite,
    "att-cnn": att_cnn,
    "att-open": att_open,
    "cifar-lite": cifar_lite,
    "cifar-resnet20": cifar_resnet20,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipes", nargs="*", choices=[*RECIPES, []], default=list(RECIPES))
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--roc", type=Path, help="Where att-open draws its curve (PNG).")
    arguments = parser.parse_args()
    for name in arguments.recipes:
        print(f"| {name} | {RECIPES[name](arguments)} |", flush=True)


if __name__ == "__main__":
    main()
