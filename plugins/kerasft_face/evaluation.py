"""How near a generator is to the training pictures."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.metrics import (
    Batches,
    Extractor,
    Features,
    extract,
    extractor,
    frechet,
    frechet_relative,
    kernel_distance,
    nearest,
    perceptual_path_length,
    precision_recall,
)
from kerasft.reports.gallery import SAMPLES
from kerasft.training.checkpoint import write_atomically
from kerasft_face.samples import faces, grid, save_png, styles, synthesize

if TYPE_CHECKING:
    from kerasft.training.examples import Examples
    from kerasft_face.task import Face

LOG = "measures.jsonl"
_NEIGHBOURS = 5
_SHOWN = 10


def suffix(name: str) -> str:
    """Returns what the names of values end in, so that those of two extractors cannot be confused.

    Example:
        >>> suffix("random:v1")
        'random_v1'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


# Every validation of a training asks for the same one.
_network = functools.lru_cache(maxsize=1)(extractor)


def measure(
    task: Face, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, float]:
    """Compares made pictures with those of data.

    Each measurement is a line in `measures.jsonl` of the run, with the extractor, the hash of its weights,
    the number of pictures, and the made pictures that lie nearest to a real one; `samples/nearest-00001.png`
    and so on show these beside the real ones. No more than a batch of pictures is held at a time.

    Args:
        task: With trained models; as many faces are made as `metrics.samples` says, of the seeds 0, 1, 2 ...
        examples: The pictures of the data.
        batch_size: Pictures that go through the extractor at once.
        progress: Called with how many of the examples are done, were the made faces half of the work.

    Returns:
        "fid", "fidr" (see `kerasft.metrics.frechet_relative`), "kid", precision, recall, density, coverage,
        "novelty" (how far made pictures lie from the nearest real one, over how far real ones do from each
        other, medians: about 1 for new faces, near 0 for faces learned by heart), and "ppl" (see
        `kerasft.metrics.perceptual_path_length`, along w), each with the name of the extractor behind it.
    """
    network, count = _network(task.config.metrics.extractor), task.config.metrics.samples
    half = len(examples) // 2
    real = extract(
        Batches(len(examples), lambda start, end: examples.batch(np.arange(start, end)).features["picture"]),
        network,
        batch_size=batch_size,
        cache=True,
        progress=lambda done: progress(done // 2),
    )
    parts = []
    for start in range(0, count, batch_size):
        end = min(start + batch_size, count)
        parts.append(network(faces(task, range(start, end))))
        progress(half + (len(examples) - half) * end // count)
    made = Features(np.concatenate(parts), network.identity)
    values = {
        "fid": frechet(real, made),
        "fidr": frechet_relative(real, made),
        "kid": kernel_distance(real, made),
    }
    if min(len(real.values), len(made.values)) > _NEIGHBOURS:
        values |= precision_recall(real, made, neighbours=_NEIGHBOURS)
    near = nearest(real, made)
    usual = float(np.median(nearest(real, real, other=True)[1])) if len(real.values) > 1 else 0.0
    if usual > 0.0:
        values["novelty"] = float(np.median(near[1])) / usual
    if task.config.metrics.path_samples and hasattr(task.models["generator"], "styles"):
        values["ppl"] = _path_length(task, network, task.config.metrics.path_samples, batch_size)
    named = {f"{name}_{suffix(network.name)}": value for name, value in values.items()}
    if task.run is not None:
        _note(task, examples, real, made, named, near)
    return named


def caution(name: str) -> str:
    """Returns what must be known of values of an extractor; nothing, if it is beyond doubt.

    Example:
        >>> caution("vgg16")
        ''
    """
    if name == "random:v1":
        return (
            "FID and its kin come from the extractor random:v1, random convolutions, which can mislead: they "
            "show progress, but compare runs by metrics.extractor=vgg16 (kerasft fetch vgg16)"
        )
    if name == "inception":
        return (
            "FID and its kin come from the Inception of keras.applications, which is not that of published "
            "values"
        )
    return ""


def _path_length(task: Face, network: Extractor, count: int, batch_size: int) -> float:
    w = styles(task, range(2 * count))
    return perceptual_path_length(
        lambda ws: synthesize(task, ws), w[::2], w[1::2], extractor=network, batch_size=batch_size
    )


def _note(
    task: Face,
    examples: Examples,
    real: Features,
    made: Features,
    values: dict[str, float],
    near: tuple[np.ndarray, np.ndarray],
) -> None:
    assert task.run is not None
    indices, distances = near
    closest = np.argsort(distances)[:_SHOWN]
    line: dict[str, Any] = {
        "extractor": real.extractor,
        "real": len(real.values),
        "made": len(made.values),
        "values": values,
        "nearest": [
            {"seed": int(i), "row": int(indices[i]), "distance": float(distances[i])} for i in closest
        ],
    }
    path = task.run.folder / LOG
    before = path.read_bytes() if path.is_file() else b""
    number = before.count(b"\n") + 1
    known = np.concatenate([examples.batch(indices[[i]]).features["picture"] for i in closest])
    pairs = np.concatenate([faces(task, closest.tolist()), known])
    save_png(grid(pairs, columns=len(closest)), task.run.folder / SAMPLES / f"nearest-{number:05}.png")
    write_atomically(path, lambda file: file.write(before + json.dumps(line).encode() + b"\n"))
