"""Checkpoints: one file each, written beside and renamed, checked when read, never unpickled."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasft.errors import TrainingError

AVERAGE = "average/"
"""What the names of average weights begin with in a checkpoint; the name of the weight follows."""

_STATE = "state.json"
_PATTERN = re.compile(r"step-(\d{8,})\.npz")


class Checkpoint(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        arrays: Name to array.
        state: A JSON object.
        path: The file.
    """

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]
    path: Path


def model_variables(models: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all variables of models by their names in a checkpoint, dropout seeds included."""
    return {f"model/{name}/{i}": v for name, model in models.items() for i, v in enumerate(model.variables)}


def to_json(value: Any) -> bytes:
    """Returns JSON; numpy and TensorFlow values, as callbacks put into logs, become plain numbers."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=lambda v: np.asarray(v).tolist()).encode()


def write_atomically(path: Path, write: Any) -> None:
    """Calls `write(binary_file)` on a hidden sibling of `path` and renames it: no half file is ever seen.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; what `path` held before is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written ({error.strerror or error}); what was saved before is intact. "
            "Free some space or choose another folder; a run goes on with resume='auto'."
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def save(path: Path, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Writes a checkpoint file atomically.

    Args:
        path: Ends in .npz.
        arrays: Name to array of a numeric dtype.
        state: A JSON-able object.
    """
    content: dict[str, Any] = {_STATE: np.frombuffer(to_json(state), np.uint8), **arrays}
    write_atomically(path, lambda file: np.savez(file, **content))


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint file whole, so that every checksum in it is verified.

    Raises:
        TrainingError: the file is missing, truncated or corrupt.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(arrays.pop(_STATE).tobytes())
    except Exception as error:  # whatever a flipped bit turns into, the file is of no use
        raise TrainingError(f"Checkpoint {path} cannot be read ({error}).") from error
    return Checkpoint(arrays, state, path)


class CheckpointFolder:
    """The checkpoints of a run: the latest ones and the best one.

    Args:
        folder: Where they are; made when the first one is saved.
        keep: How many of the latest to keep.
    """

    def __init__(self, *, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep
        self._broken: set[int] = set()

    @property
    def best_path(self) -> Path:
        """File of the best checkpoint (weights only)."""
        return self.folder / "best.npz"

    def steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_PATTERN.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, step: int) -> Path:
        """Returns the file of `step`."""
        return self.folder / f"step-{step:08d}.npz"

    def save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
        """Writes the checkpoint of `step` and removes those no longer kept, broken ones among them."""
        save(self.path(step), arrays, state)
        self._broken.discard(step)
        kept = [other for other in self.steps() if other not in self._broken][-self._keep :]
        # A process killed while it wrote leaves its unfinished file behind; the lock of the run sees to it
        # that no other process is writing one now.
        unfinished = self.folder.glob(".*.tmp")
        for old in [*(self.path(other) for other in self.steps() if other not in kept), *unfinished]:
            old.unlink(missing_ok=True)
        return self.path(step)

    def latest(self) -> Checkpoint | None:
        """Returns the newest readable checkpoint; a broken one is passed over with a warning.

        Raises:
            TrainingError: there are checkpoints, but none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return load(self.path(step))
            except TrainingError as error:
                self._broken.add(step)
                warnings.warn(f"{error} Falling back to the one before.", stacklevel=2)
        if steps:
            raise TrainingError(
                f"None of the checkpoints in {self.folder} can be read: restore one from a backup, or "
                "delete the run folder to start anew."
            )
        return None

    def last_readable(self) -> Checkpoint | None:
        """Returns what `latest` does, or None where it raises."""
        try:
            return self.latest()
        except TrainingError:
            return None
