"""Tables that a task made of its answers, in the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kerasft.reports.markup import Html, join, section, table
from kerasft.training.checkpoint import write_atomically

TABLES = "tables"
"""Folder of a run for tables, NAME.json; the report shows them in the order of their names."""


def save_table(
    folder: Path,
    name: str,
    *,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: int = 1,
) -> None:
    """Puts a table into the report of a run, in place of an earlier one of the name.

    Args:
        folder: Of the run.
        name: Its place among the tables.
        title: Stands above it.
        headings: One a column.
        rows: Cells.
        text: The first so many columns are text, the others numbers.

    Raises:
        TrainingError: The folder cannot be written.
    """
    content = {"title": title, "headings": list(headings), "rows": [list(row) for row in rows], "text": text}
    encoded = (json.dumps(content, ensure_ascii=False) + "\n").encode(errors="replace")
    write_atomically(folder / TABLES / f"{name}.json", lambda file: file.write(encoded))


def tables(folder: Path) -> Html:
    """Returns a section for each table of a run; a broken one only makes the report shorter.

    Args:
        folder: Of a run.
    """
    sections = []
    for path in sorted((folder / TABLES).glob("*.json")):
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            made = table(held["headings"], held["rows"], text=held["text"])
            sections.append(section(held["title"], made))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return join(sections)
