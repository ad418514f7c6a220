"""How near a generator is to the training pictures."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.metrics import (
    Features,
    extract,
    extractor,
    frechet,
    frechet_relative,
    kernel_distance,
    nearest,
    precision_recall,
)
from kerasft.training.checkpoint import write_atomically
from kerasft_face.samples import faces

if TYPE_CHECKING:
    from kerasft.training.examples import Examples
    from kerasft_face.task import Face

LOG = "measures.jsonl"
_NEIGHBOURS = 5
_BATCH = 256


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
    the number of pictures, and the made pictures that lie nearest to a real one.

    Args:
        task: With trained models; as many faces are made as `metrics.samples` says, of the seeds 0, 1, 2 ...
        examples: The pictures of the data.
        batch_size: Pictures that go through the extractor at once.
        progress: Called with how many of the examples are done, were the made faces half of the work.

    Returns:
        "fid", "fidr" (see `kerasft.metrics.frechet_relative`), "kid", precision, recall, density and
        coverage, each with the name of the extractor behind it.
    """
    network, count = _network(task.config.metrics.extractor), task.config.metrics.samples
    half = len(examples) // 2
    real = extract(
        _pictures(examples),
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
    named = {f"{name}_{suffix(network.name)}": value for name, value in values.items()}
    _note(task, real, made, named)
    return named


def _pictures(examples: Examples) -> np.ndarray:
    count = len(examples)
    parts = [np.arange(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return np.concatenate([examples.batch(part).features["picture"] for part in parts])


def _note(task: Face, real: Features, made: Features, values: dict[str, float]) -> None:
    if task.run is None:
        return
    indices, distances = nearest(real, made)
    closest = np.argsort(distances)[:10]
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
    write_atomically(path, lambda file: file.write(before + json.dumps(line).encode() + b"\n"))
