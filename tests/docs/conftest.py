"""A user's folder."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

GOOD = ("a warm and funny film", "what a film", "superb acting", "a joy from start to end", "I loved it")
BAD = ("a dull and empty film", "what a bore", "wooden acting", "a waste of an evening", "I hated it")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of reviews, good ones and some with faults."""
    rows = [f"{text}\t{label}" for texts, label in ((GOOD, "positive"), (BAD, "negative")) for text in texts]
    files = {
        "reviews.tsv": ["text\tlabel", *rows * 4],
        "test.tsv": ["text\tlabel", *rows],
        "broken.tsv": ["text\tlabel", *rows, "\tpositive"],
        "odd.csv": ["nr,remark,verdict", *(f"{i},{row}".replace("\t", ",") for i, row in enumerate(rows))],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
