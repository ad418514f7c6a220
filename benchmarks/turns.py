"""Contenders take turns, so that a slow minute of the machine hits all alike; figures are CPU seconds."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def cpu_seconds() -> float:
    """Returns the CPU time of this process, user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(**values: Any) -> None:
    """Tells the parent what a turn measured."""
    print("REPORT " + json.dumps(values), flush=True)


class Turns:
    """Counts steps; after a turn it reports the CPU time spent and waits until it is told to go on.

    Args:
        steps: Steps in one turn.
    """

    def __init__(self, steps: int) -> None:
        self._every = steps
        self._steps = self._examples = 0
        self._began = cpu_seconds()

    def step(self, examples: int) -> None:
        """Counts a step of so many examples."""
        self._steps += 1
        self._examples += examples
        if self._steps % self._every == 0:
            report(examples=self._examples, cpu=cpu_seconds() - self._began)
            self.wait()
            self._examples, self._began = 0, cpu_seconds()

    def wait(self) -> None:
        """Waits for the word; ends the process when there is no more."""
        if sys.stdin.readline().strip() != "go":
            os._exit(0)


class Worker:
    """A contender in a process of its own.

    Args:
        name: For the table.
        command: Starts it; it calls `Turns.wait` before it begins.
        environment: Variables to add.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.turns: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def turn(self) -> dict[str, Any]:
        """Lets it run one turn and returns what it reports."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Waits for what it reports next, and returns it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("REPORT "):
                return dict(json.loads(line.removeprefix("REPORT ")))
        raise RuntimeError(f"the contender {self.name!r} ended early; run it with --contender to see why")

    def kill(self) -> None:
        """Ends it in the middle of its work."""
        self._process.kill()

    def stop(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def race(
    workers: Sequence[Worker], rounds: int, say: Callable[[str], None] = print
) -> dict[str, list[float]]:
    """Lets the workers take turns; the first turn (tracing, warming up) does not count.

    Returns:
        Name to examples per CPU second, a figure for each round.
    """
    for turn in range(rounds + 1):
        for worker in workers:
            figures = worker.turn()
            if turn:
                worker.turns.append(figures)
        say(f"round {turn} of {rounds}")
    for worker in workers:
        worker.stop()
    return {worker.name: [turn["examples"] / turn["cpu"] for turn in worker.turns] for worker in workers}


def rows(speeds: Mapping[str, Sequence[float]], ours: str) -> list[str]:
    """Returns lines of a table: median, least and most, and how many times as fast `ours` is."""
    lines = []
    for name, values in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(speeds[ours], values, strict=True))
        span = f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
        lines.append(f"| {name} | {span} | {'-' if name == ours else f'{ratio:.2f}x'} |")
    return lines
