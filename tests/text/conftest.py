from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_SCRATCH = {"embedding": {"dim": 16, "dropout": 0.1}}
_OWN = {
    "cnn": {"cnn": {"filters": 8}},
    **{name: {"rnn": {"units": 8}} for name in ("bilstm", "gru", "attention")},
    "transformer": {"transformer": {"heads": 2, "intermediate_dim": 16}},
    "mlp": {"mlp": {"units": [16]}},
}


def tiny(encoder: str) -> dict[str, Any]:
    """Returns settings that make an encoder small and quick to learn."""
    own = {**_SCRATCH, **_OWN[encoder]} if encoder in _OWN else {}
    return {"encoder": encoder, "head": {"dropout": 0.1}, **own}


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows, or the columns that `Task.example` returns, as a .jsonl file."""

    def write(rows: list[dict[str, Any]] | dict[str, list[Any]], name: str = "data.jsonl") -> Path:
        if isinstance(rows, dict):
            rows = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the MiniLM weights, or a skip."""
    from kerasft.pretrained.cache import damage, folder_of
    from kerasft.pretrained.catalogue import CATALOGUE

    problem = damage(CATALOGUE["minilm"])
    if problem is not None:
        pytest.skip(f"the MiniLM weights are not in the cache ({problem}): kerasft fetch minilm")
    return folder_of(CATALOGUE["minilm"])
