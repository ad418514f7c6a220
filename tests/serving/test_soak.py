"""Load, reloads, memory: the soak of benchmarks/, in short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serving_soak.py"


@pytest.mark.slow
def test_reloads_under_full_load_fail_no_call_and_keep_no_memory() -> None:
    short = ["--minutes", "0.6", "--every", "2", "--clients", "8", "--growth", "0.1"]
    done = subprocess.run([sys.executable, str(SCRIPT), *short], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| requests failed | 0 |" in done.stdout
