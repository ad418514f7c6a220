"""A bar that counts answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def counting(requests: Any, *, show: bool) -> Iterator[Callable[[], None]]:
    """Shows a bar on standard error while it is open; gives the function to call after each answer.

    Args:
        requests: What is to be answered; if it has no length, the bar counts without an end.
        show: Whether to show anything.
    """
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        total = len(requests) if hasattr(requests, "__len__") else None
        answers = bar.add_task("answers", total=total)
        yield lambda: bar.advance(answers)
