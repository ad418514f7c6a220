"""Alarms as JSON lines."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The beginning or the end of an alarm.

    Attributes:
        event: "start" or "end".
        label: The class.
        score: Smoothed, from 0 to 1: at a start that of now, at an end the highest of the alarm.
        source: What is watched.
        source_time: Seconds in the source.
        window: Seconds in the source of the first and the last picture that the score is of.
        since: Seconds in the source when the score reached the upper threshold.
        clip: File with the pictures around it, which is there once they are written; None if none is saved.
        id: The same for both events of an alarm.
        time: When it was raised, or ended, ISO 8601 in UTC.
    """

    event: Literal["start", "end"]
    label: str
    score: float
    source: str
    source_time: float
    window: tuple[float, float]
    since: float
    clip: Path | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    time: str = field(default_factory=_now)

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON knows; the label is called "class".

        Example:
            >>> alarm = Alarm(event="start", label="fight", score=0.91, source="yard.mp4",
            ...               source_time=12.04, window=(10.04, 12.04), since=11.5, id="7f",
            ...               time="2026-03-01T10:00:00.000+00:00")
            >>> print(json.dumps(alarm.to_dict()))
            {"time": "2026-03-01T10:00:00.000+00:00", "event": "start", "id": "7f", "source": "yard.mp4",
            "source_time": 12.04, "class": "fight", "score": 0.91, "since": 11.5, "window": [10.04, 12.04],
            "clip": null}
        """
        values = asdict(self)
        values["class"] = values.pop("label")
        values["window"] = [round(time, 3) for time in self.window]
        values["clip"] = None if self.clip is None else str(self.clip)
        for name in ("source_time", "since"):
            values[name] = round(values[name], 3)
        values["score"] = round(values["score"], 4)
        order = ("time", "event", "id", "source", "source_time", "class", "score", "since", "window", "clip")
        return {name: values[name] for name in order}


class Lines:
    """Appends JSON lines to a file, each written whole before the next.

    Args:
        path: Made if need be; lines that are there stay.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, value: Any) -> None:
        """Adds a line."""
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


Sink = Callable[[Alarm], None]
