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
    """Returns a code block that its content cannot end; what is no string is shown as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=None)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


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
