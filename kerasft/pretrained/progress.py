"""A download bar on terminals, one line elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from kerasft.pretrained.catalogue import Entry


class Progress:
    """Shows how much of a wheel has arrived, on standard error.

    Args:
        entry: What is downloaded; its size is the bar's length.
        shown: False for silence.
    """

    def __init__(self, entry: Entry, *, shown: bool) -> None:
        self._entry = entry
        self._shown = shown
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if not self._shown:
            return self
        title = f"Fetching {self._entry.name}"
        if not sys.stderr.isatty():
            print(f"{title} ({self._entry.requirement}, {self._entry.megabytes:.0f} MB)", file=sys.stderr)
            return self
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._bar.add_task(title, total=round(self._entry.megabytes * 1e6))
        self._bar.start()
        return self

    def update(self, received: int) -> None:
        """Moves the bar.

        Args:
            received: Bytes that have arrived so far. A smaller number than before is ignored.
        """
        if self._bar is not None:
            done = self._bar.tasks[0].completed
            self._bar.update(self._task, completed=max(done, received))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
