"""The loop beside the same step by hand: the benchmark for accelerators, in short and on a CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_step.py"
FIGURES = re.compile(r"\| recommender, [\w-]+ \| (float32|mixed_bfloat16) \| (off|on) \|( \d+\.\d\d \|){4}")


@pytest.mark.slow
def test_each_combination_gives_a_row_of_figures(tmp_path) -> None:
    short = ["--small", "--steps", "2", "--rounds", "1", "--jobs", "2", "--tasks", "recommender"]
    command = [sys.executable, str(SCRIPT), *short, "--out", str(tmp_path / "rows.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = done.stdout.splitlines()[2:]
    assert done.returncode == 0, done.stdout
    assert len(rows) == 8
    assert all(map(FIGURES.fullmatch, rows)), done.stdout
    assert (tmp_path / "rows.md").read_text(encoding="utf-8") == done.stdout
