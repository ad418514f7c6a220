"""A run killed at any step and resumed ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import multiprocessing
import random
import signal

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

    def run(*arguments) -> int:
        process = context.Process(target=train, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run


def test_killed_five_times_and_resumed_bit_for_bit(tmp_path, processes):
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert processes(whole, None) == 0
    generator = random.Random(1)
    for _ in range(5):
        assert processes(broken, generator.randrange(3, 6)) == -signal.SIGKILL
    assert processes(broken, None) == 0

    expected = load(Run(whole).checkpoints.path(Run(whole).checkpoints.steps()[-1]))
    actual = load(Run(broken).checkpoints.path(Run(broken).checkpoints.steps()[-1]))
    assert expected.state["step"] == EPOCHS * ROWS // BATCH
    assert actual.state == expected.state
    assert actual.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(actual.arrays[name], array, err_msg=name)
    assert Run(broken).read_history() == Run(whole).read_history()
