"""The plugin keeps every promise of the framework."""

from __future__ import annotations

import pytest

from kerasft.testing import check_task

from .conftest import TINY


@pytest.mark.slow
def test_the_task_passes_the_conformance_kit() -> None:
    training = {**TINY["training"], "batch_tokens": 64, "epochs": 6}
    check_task("dialogue", **{**TINY, "training": training, "system": "Be kind."}).raise_if_failed()
