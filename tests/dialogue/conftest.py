"""Dialogue tasks small enough to learn within seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kerasft

TINY: dict[str, Any] = {
    "vocabulary": {"size": 330},
    "network": {"layers": 2, "width": 32, "heads": 2, "hidden": 48},
    "context": 64,
    "dropout": 0.0,
    "decoding": {"max_tokens": 12},
    "training": {"batch_tokens": 128, "epochs": 30, "learning_rate": 5e-3},
}

ANSWERS = {
    "What is red?": "The rose is red.",
    "What is blue?": "The sea is blue.",
    "What is green?": "The grass is green.",
    "Who sings?": "The bird sings.",
    "Who barks?": "The dog barks.",
}


def conversation(*texts: str) -> list[dict[str, str]]:
    """Turns of the user and the assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "text": text} for at, text in enumerate(texts)]


@pytest.fixture(scope="session")
def create() -> Callable[..., Any]:
    """Makes a tiny task."""

    def make(**config: Any) -> Any:
        return kerasft.create("dialogue", **{**TINY, "seed": 1, **config})

    return make


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Pairs of questions, as conversations of four turns."""
    pairs = list(ANSWERS.items())
    return [{"turns": conversation(*one, *other)} for one in pairs for other in pairs]


@pytest.fixture(scope="session")
def trained(create: Callable[..., Any], rows: list[dict[str, Any]]) -> Any:
    """A task that knows the answers."""
    task = create(system="You know it.")
    task.finetune(rows, verbose="quiet")
    return task
