"""The data that comes with the plugin."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Snips(NamedTuple):
    """Where the files are.

    Attributes:
        train: 1,400 rows, 200 of each intent.
        test: 700 rows, 100 of each intent.
    """

    train: Path
    test: Path


def snips() -> Snips:
    """Returns a subset of the SNIPS intents: short requests, seven intents, and the spans of their slots
    (CC0).
        Returns:
            Paths of two .jsonl files with `text`, `label` and `entities`.

        Example:
            >>> snips().train.name
            'train.jsonl'
    """
    folder = Path(__file__).parent / "snips_data"
    return Snips(train=folder / "train.jsonl", test=folder / "test.jsonl")
