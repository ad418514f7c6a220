"""What tests of several parts need."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any

import pytest


@pytest.fixture(scope="session")
def in_process() -> Callable[..., int | None]:
    """Calls a function of a module in a process of its own and gives the exit code.

    The process starts quickly: forked from one that has imported TensorFlow but not used it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kerasft.task"])
    with pytest.MonkeyPatch.context() as patch:
        # The server looks for what it preloads before it is told our sys.path.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()

    def run(function: Callable[..., Any], *arguments: Any) -> int | None:
        process = context.Process(target=function, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run
