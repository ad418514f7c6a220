"""Translation tasks small enough to learn within seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kerasft

SUBJECTS = {"the dog": "der Hund", "the cat": "die Katze", "the man": "der Mann", "the woman": "die Frau"}
VERBS = {"sees": "sieht", "hears": "hört", "finds": "findet"}
OBJECTS = {"the house": "das Haus", "the book": "das Buch", "the child": "das Kind", "the bread": "das Brot"}


def pairs() -> dict[str, list[str]]:
    """Every sentence of a small language, in English and in German."""
    rows = [
        (f"{s} {v} {o}.", f"{SUBJECTS[s]} {VERBS[v]} {OBJECTS[o]}.")
        for s in SUBJECTS
        for v in VERBS
        for o in OBJECTS
    ]
    return {"en": [row[0] for row in rows], "de": [row[1] for row in rows]}


TINY = {
    "vocabulary": {"size": 330},
    "transformer": {
        "encoder_layers": 1,
        "decoder_layers": 2,
        "width": 32,
        "heads": 2,
        "hidden": 48,
        "dropout": 0.1,
    },
    "gru": {"width": 24, "units": 32, "dropout": 0.1},
    "training": {"batch_tokens": 128, "epochs": 40, "learning_rate": 4e-3, "schedule": "cosine"},
    "evaluation": {"translate": False},
}


@pytest.fixture(scope="session")
def create() -> Callable[..., Any]:
    """Makes a task from English to German."""

    def make(**config: Any) -> Any:
        return kerasft.create("translation", **{**TINY, "source": "en", "target": "de", "seed": 1, **config})

    return make


@pytest.fixture(scope="session")
def rows() -> dict[str, list[str]]:
    return pairs()
