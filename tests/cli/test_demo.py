"""What `make demo` runs, with an encoder that needs no download."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_goes_from_a_file_to_three_answers(tmp_path) -> None:
    command = [sys.executable, DEMO, "--encoder", "mlp", "--epochs", "3", "--into", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"test accuracy (\d\.\d+)", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.8
    for intent in ("AddToPlaylist", "SearchScreeningEvent"):
        assert re.search(rf"{intent}.* 100 ", done.stdout), "a row for each class"
    for question in ("some jazz", "Lisbon", "Italian"):
        assert question in done.stdout
    assert (tmp_path / "saved_models" / "demo" / "1" / "saved_model.pb").is_file()
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
