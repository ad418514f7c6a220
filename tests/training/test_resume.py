"""A run killed at any step, or stopped by a signal, ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
from resumable import BATCH, EPOCHS, ROWS, train

from kerasft.training.checkpoint import load
from kerasft.training.run import Run


def newest(folder: str):
    checkpoints = Run(folder).checkpoints
    return load(checkpoints.path(checkpoints.steps()[-1]))


def test_killed_five_times_and_interrupted_twice_ends_bit_for_bit(tmp_path, in_process):
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert in_process(train, whole) == 0
    generator = random.Random(1)
    for _ in range(5):
        assert in_process(train, broken, generator.randrange(3, 6)) == -signal.SIGKILL
    for number in (signal.SIGINT, signal.SIGTERM):
        before = newest(broken).state["step"]
        assert in_process(train, broken, 3, number) == 0
        assert newest(broken).state["step"] == before + 3
        message = Path(f"{broken}.message").read_text()
        assert f"{number.name} stopped training at step {before + 3} " in message
        assert f"is saved in {broken}: the same command with resume='auto'" in message
    assert in_process(train, broken) == 0

    expected, actual = newest(whole), newest(broken)
    assert expected.state["step"] == EPOCHS * ROWS // BATCH
    assert actual.state == expected.state
    assert actual.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(actual.arrays[name], array, err_msg=name)
    assert Run(broken).read_history() == Run(whole).read_history()
