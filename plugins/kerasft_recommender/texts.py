"""Texts of users and items as vectors, by another task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import kerasft
from kerasft.training.run import Run


class TextEncoder:
    """Turns texts into vectors by a task's `embed`.

    Args:
        encoder: Folder of a run of any task that embeds texts; or the name of an encoder of the task "text",
            as it is before any training.

    Raises:
        RegistryError: no plugin has the task.
    """

    def __init__(self, encoder: str) -> None:
        is_run = Path(encoder).is_dir() and Run(encoder).exists
        self._task = kerasft.load(encoder) if is_run else kerasft.create("text", encoder=encoder)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray | str]:
        """Returns a vector for each text, float32 `[width]`, and "" where there is none."""
        places = [place for place, text in enumerate(texts) if text]
        vectors: list[np.ndarray | str] = [""] * len(texts)
        if places:
            found = self._task.embed([texts[place] for place in places])
            for place, vector in zip(places, found, strict=True):
                vectors[place] = vector
        return vectors
