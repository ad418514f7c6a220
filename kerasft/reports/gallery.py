"""Pictures that a task drew during training, in the report."""

from __future__ import annotations

import base64
from pathlib import Path

from kerasft.reports.markup import Html, details, section, tag

SAMPLES = "samples"
"""Folder of a run for pictures (PNG); the report shows the last one of each series, NAME-NUMBER.png."""

_LARGEST = 4 << 20


def gallery(folder: Path) -> Html:
    """Returns a section with the last picture of each series, or nothing.

    Args:
        folder: Of a run.
    """
    latest: dict[str, Path] = {}
    for path in sorted((folder / SAMPLES).glob("*.png")):
        series, _, number = path.stem.rpartition("-")
        latest[series if series and number.isdecimal() else path.stem] = path
    shown = {name: path for name, path in latest.items() if path.stat().st_size <= _LARGEST}
    if not shown:
        return Html("")
    return section("Pictures", *(_picture(name, path) for name, path in shown.items()))


def _picture(name: str, path: Path) -> Html:
    data = base64.b64encode(path.read_bytes()).decode()
    image = tag("img", src=f"data:image/png;base64,{data}", alt=path.name, style="max-width:100%")
    return details(f"{name} ({path.name})", image, is_open=True)
