"""Makes the good task and its broken variants importable, and keeps them out of other tests' registry."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kerasft import registry

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
