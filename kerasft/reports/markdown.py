"""Markdown from values: everything that comes from outside is escaped here."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_SPECIAL = re.compile(r"([\\`*_\[\]|~#$!])")


def cell(value: Any) -> str:
    """Returns a value as text on one line, neither Markdown nor HTML.

    Example:
        >>> cell("<b>a|b*</b>")
        '&lt;b&gt;a\\\\|b\\\\*&lt;/b&gt;'
    """
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(str(value).split()), quote=False))


def fenced(content: Any, language: str) -> str:
    """Returns a code block; what is no string is shown as JSON.

    Only a line that starts with backticks ends a block. Values inside must not begin a line, and their line
    breaks must be escaped, as in JSON and in Python literals.
    """
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return f"```{language}\n{text}\n```"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table.

    Example:
        >>> print(table(["a", "b"], [(1, 2)]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    lines = [headings, ["---"] * len(headings), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
