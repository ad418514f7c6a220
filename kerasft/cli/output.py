"""Answers go to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

_WIDTH_ELSEWHERE = 160
_answers: list[TextIO] = []


@contextlib.contextmanager
def answering(*, only_json: bool) -> Iterator[None]:
    """With `only_json`, whatever anybody prints on the way goes to standard error: stdout is the answer's.

    This holds for C++ libraries and child processes too, hence the file descriptors.
    """
    if not only_json:
        yield
        return
    before = sys.stdout
    before.flush()
    with contextlib.ExitStack() as stack:
        answer: TextIO = before
        with contextlib.suppress(OSError, ValueError):  # a notebook's stdout has no descriptor
            ours = before.fileno() == 1
            saved = os.dup(1)
            stack.callback(os.close, saved)
            os.dup2(2, 1)
            stack.callback(os.dup2, saved, 1)
            if ours:  # and not a stand-in, as under a test runner
                answer = stack.enter_context(os.fdopen(os.dup(saved), "w", encoding="utf-8"))
                stack.callback(before.flush)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        _answers.append(answer)
        stack.callback(_answers.pop)
        yield


def print_json(value: Any) -> None:
    """Prints one JSON value as the answer; NaN and infinities become null."""
    print_lines([json.dumps(plain(value), ensure_ascii=False)])


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines as the answer."""
    stream = _answers[-1] if _answers else sys.stdout
    for line in lines:
        print(line, file=stream)
    stream.flush()


def plain(value: Any) -> Any:
    """Turns arrays, numpy scalars, paths and bytes into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def print_rich(*renderables: Any) -> None:
    """Prints tables and plain text on standard output, wide enough for tables when it is not a terminal.

    What stands in brackets is text: a label, a type such as `tuple[int, ...]`, `tfds:name[train]`.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_ELSEWHERE
    for renderable in renderables:
        console.print(Text(renderable) if isinstance(renderable, str) else renderable)
