"""A run killed at any step, or stopped by a signal, ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from resumable import BATCH, EPOCHS, ROWS, train

from kerasft.training.checkpoint import load
from kerasft.training.run import Run


@pytest.fixture(scope="module")
def processes():
    """Real processes that start quickly: forked from one that has imported TensorFlow but not used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resumable"])
    with pytest.MonkeyPatch.context() as patch:
        # The server looks for what it preloads before it is told our sys.path.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()

    def run(*arguments) -> int:
        process = context.Process(target=train, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run


def newest(folder: str):
    checkpoints = Run(folder).checkpoints
    return load(checkpoints.path(checkpoints.steps()[-1]))


def test_killed_five_times_and_interrupted_twice_ends_bit_for_bit(tmp_path, processes):
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert processes(whole) == 0
    generator = random.Random(1)
    for _ in range(5):
        assert processes(broken, generator.randrange(3, 6)) == -signal.SIGKILL
    for number in (signal.SIGINT, signal.SIGTERM):
        before = newest(broken).state["step"]
        assert processes(broken, 3, number) == 0
        assert newest(broken).state["step"] == before + 3
        message = Path(f"{broken}.message").read_text()
        assert f"{number.name} stopped training at step {before + 3} " in message
        assert f"is saved in {broken}: the same command with resume='auto'" in message
    assert processes(broken) == 0

    expected, actual = newest(whole), newest(broken)
    assert expected.state["step"] == EPOCHS * ROWS // BATCH
    assert actual.state == expected.state
    assert actual.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(actual.arrays[name], array, err_msg=name)
    assert Run(broken).read_history() == Run(whole).read_history()
