"""What a person sees while something runs: a bar in a terminal, a line an epoch elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from kerasft.errors import ConfigError

Verbosity = Literal["auto", "bar", "line", "quiet"]

_REFRESH_SECONDS = 0.25


def format_logs(logs: Mapping[str, float]) -> str:
    """Returns metrics as one line.

    Example:
        >>> format_logs({"loss": 0.12345, "accuracy": 0.5})
        'loss 0.1235  accuracy 0.5000'
    """
    return "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in logs.items())


class Reporter:
    """Shows progress on standard error.

    Args:
        verbose: "auto" is "bar" in a terminal and "line" elsewhere.
        console: Where to write; standard error if None.

    Raises:
        ConfigError: no such `verbose`.
    """

    def __init__(self, *, verbose: Verbosity = "auto", console: Console | None = None) -> None:
        if verbose not in get_args(Verbosity):
            raise ConfigError(f"verbose: {verbose!r} is none of {', '.join(map(repr, get_args(Verbosity)))}.")
        self.console = console or Console(stderr=True)
        self.verbose = verbose if verbose != "auto" else ("bar" if self.console.is_terminal else "line")

    def say(self, message: object) -> None:
        """Prints a message (a string or anything rich can print) unless quiet."""
        if self.verbose == "quiet":
            return
        if isinstance(message, str):
            self.console.print(Text(message), soft_wrap=True)
        else:
            self.console.print(message)

    def line(self, message: str) -> None:
        """Prints a line where there is no bar to show the same."""
        if self.verbose == "line":
            self.say(message)

    def bar(self, description: str, *, total: int, unit: str = "examples") -> Bar:
        """Returns a context manager with a progress bar (invisible unless verbose is "bar")."""
        return Bar(description, total=total, unit=unit, console=self.console, visible=self.verbose == "bar")


class Bar:
    """A progress bar with metrics, speed and time left."""

    def __init__(self, description: str, *, total: int, unit: str, console: Console, visible: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[logs]}", markup=False),
            console=console,
            disable=not visible,
            refresh_per_second=4,
        )
        self._visible = visible
        self._unit = unit
        self._task = self._progress.add_task(description, total=total, logs="", speed="")
        self._drawn = self._began = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, done: int, logs: Callable[[], Mapping[str, float]] = dict) -> None:
        """Moves the bar to `done`; `logs` is only called when it is drawn anew."""
        if self._first is None:
            self._first = done
        now = time.monotonic()
        if not self._visible or (
            now - self._drawn < _REFRESH_SECONDS and done < (self._progress.tasks[0].total or 0)
        ):
            return
        self._drawn = now
        speed = (done - self._first) / max(now - self._began, 1e-9)
        self._progress.update(
            self._task,
            completed=done,
            logs=format_logs(logs()),
            speed=f"{speed:,.0f} {self._unit}/s" if speed else "",
        )
