"""The folder of a run: what was trained, how far it came, and all that rebuilds it."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from kerasft.errors import TrainingError
from kerasft.training.checkpoint import CheckpointFolder, to_json, write_atomically

_MANIFEST = "run.json"
_LOCK = ".lock"
_KEYS = ("task", "config", "frozen", "lora", "freeze", "unfreeze", "data")


class Run:
    """Files of a run.

    run.json (task, config, freeze state), assets/ (vocabulary and the like), checkpoints/, history.json and
    history.csv, tensorboard/, report.html.

    Args:
        folder: The run folder; made when something is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoints = CheckpointFolder(folder=self.folder / "checkpoints")

    @property
    def assets(self) -> Path:
        """Where the task's assets are."""
        return self.folder / "assets"

    @property
    def tensorboard(self) -> Path:
        """Where TensorBoard logs go."""
        return self.folder / "tensorboard"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training into the folder; the kernel ends the lock of a killed one.

        A folder in which nothing was written is removed again.

        Raises:
            TrainingError: another training holds it, or, before hours of work rely on it, the folder cannot
                be made and written.
        """
        path = self.folder / _LOCK
        with self._locked(path):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    if [*self.folder.iterdir()] == [path]:
                        path.unlink()
                        self.folder.rmdir()

    def _locked(self, path: Path) -> IO[bytes]:
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = path.open("ab")
            except OSError as error:
                raise TrainingError(
                    f"{self.folder} cannot hold a run ({error.strerror or error}): choose another folder."
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(
                    f"{self.folder} is in use by another training: wait for its end, or choose another "
                    "run_dir."
                ) from error
            except OSError as error:
                warnings.warn(
                    f"{self.folder} cannot be locked ({error.strerror or error}): see to it yourself that no "
                    "other training writes there.",
                    stacklevel=2,
                )
            # Whoever held it before may have removed it between our opening and our locking it.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
            file.close()

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.folder / _MANIFEST).is_file()

    def can_resume(self) -> bool:
        """Whether the folder holds a run that has saved a checkpoint."""
        return self.exists() and bool(self.checkpoints.steps())

    def read(self) -> dict[str, Any]:
        """Returns what `write` wrote.

        Raises:
            TrainingError: the folder is no run, or its manifest is broken.
        """
        path = self.folder / _MANIFEST
        if not path.is_file():
            raise TrainingError(f"{self.folder} is not a run: there is no {_MANIFEST} in it.")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{path} is not valid JSON ({error}).") from error
        missing = [key for key in _KEYS if not isinstance(manifest, dict) or key not in manifest]
        if missing:
            raise TrainingError(f"{path} is not the manifest of a run: it has no {missing[0]!r}.")
        return manifest

    def write(self, manifest: Mapping[str, Any]) -> None:
        """Writes run.json."""
        self._write_json(_MANIFEST, manifest)

    def write_history(self, history: Mapping[str, list[Any]], epochs: list[int]) -> None:
        """Writes history.json and history.csv: one column a metric, one row an epoch (counted from 1)."""
        self._write_json("history.json", {"epoch": [epoch + 1 for epoch in epochs], **history})
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(["epoch", *history])
        for epoch, *values in zip(epochs, *history.values(), strict=True):
            table.writerow([epoch + 1, *values])
        encoded = text.getvalue().encode()
        write_atomically(self.folder / "history.csv", lambda file: file.write(encoded))

    def read_history(self) -> dict[str, list[Any]]:
        """Returns history.json, or {} before the first epoch ended; None where a metric was not measured."""
        path = self.folder / "history.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _write_json(self, name: str, value: Any) -> None:
        write_atomically(self.folder / name, lambda file: file.write(to_json(value) + b"\n"))
