"""Source to scores to alarms: the loop of watching."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasft._suggest import suggestion
from kerasft.errors import ConfigError, DataError
from kerasft.serving.errors import ServingError
from kerasft_video.watching.alarms import Alarm, Sink
from kerasft_video.watching.clips import Recorder
from kerasft_video.watching.hysteresis import Hysteresis, Rule, Turn
from kerasft_video.watching.pace import Figures, Pace
from kerasft_video.watching.scoring import Scorer
from kerasft_video.watching.smoothing import Exponential, Smoother
from kerasft_video.watching.sources import Picture, Source

_LOST_AFTER = 5.0
_PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")


class Score(NamedTuple):
    """What the model said of a moment.

    Attributes:
        source_time: Seconds in the source.
        labels: The classes.
        raw: Their scores, float `[classes]`.
        smooth: The same, smoothed.
    """

    source_time: float
    labels: tuple[str, ...]
    raw: np.ndarray
    smooth: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON knows: time, and label to score."""
        named = {
            name: {label: round(float(value), 4) for label, value in zip(self.labels, values, strict=True)}
            for name, values in (("scores", self.raw), ("smoothed", self.smooth))
        }
        return {"source_time": round(self.source_time, 3), **named}


class _Open(NamedTuple):
    id: str
    clip: Path | None
    since: float


class Watcher:
    """Watches a source until it ends.

    Args:
        source: From `open_source`.
        scorer: From `kerasft_video.watching.scoring.scorer`.
        classes: Labels that alarms are raised for.
        rule: When.
        smoother: Of scores; an average of about a second if None.
        recorder: Saves clips, if any are wanted.
        alarms: Take alarms as they begin and end; they must not wait.
        scores: Take every score.
        say: Takes sentences for people.
        report: Seconds between lines about the pace; 0: none.

    Example:
        >>> from kerasft_video.watching import OfRun, Watcher, open_source, scorer          # doctest: +SKIP
        >>> watcher = Watcher(open_source("yard.mp4"), scorer(model, fit=fit),              # doctest: +SKIP
        ...                   classes=["fight"], alarms=[print])
        >>> watcher.run().fps                                                               # doctest: +SKIP
    """

    def __init__(
        self,
        source: Source,
        scorer: Scorer,
        *,
        classes: Sequence[str],
        rule: Rule | None = None,
        smoother: Smoother | None = None,
        recorder: Recorder | None = None,
        alarms: Sequence[Sink] = (),
        scores: Sequence[Callable[[Score], None]] = (),
        say: Callable[[str], None] = print,
        report: float = 10.0,
    ) -> None:
        self.source, self.scorer = source, scorer
        self.classes = tuple(classes)
        self.rule = rule or Rule()
        self.smoother = smoother or Exponential(seconds=1.0)
        self.recorder = recorder
        self._alarms, self._scores = tuple(alarms), tuple(scores)
        self._say, self._report = say, report
        self._follow = {label: Hysteresis(self.rule) for label in self.classes}
        self._open: dict[str, _Open] = {}
        self._last: Picture | None = None
        self.raised = 0

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> Figures:
        """Watches; clips are whole when it returns.

        Args:
            stop: Asked again and again; once it says so, watching ends.

        Returns:
            How fast it was, over the whole time.

        Raises:
            DataError: The source cannot be read, or has no picture.
            ConfigError: The model knows no such class.
            ServingError: The server fails; one that is away for a while is waited for if the source is live.
        """
        self.scorer.warm_up()
        places = _places(self.classes, self.scorer.labels)
        pace = Pace(reported := time.monotonic())
        try:
            for batch in self.source.batches():
                if stop():
                    break
                self._see(batch, pace, places)
                now = time.monotonic()
                if self._report and now - reported >= self._report:
                    reported = now
                    self._tell(self._figures(pace, now))
            else:
                self._end(pace, places)
        finally:
            self._break_off()
            self.source.close()
            if self.recorder is not None:
                self.recorder.close()
        return self._figures(pace, time.monotonic(), whole=True)

    def _see(self, batch: list[Picture], pace: Pace, places: dict[str, int]) -> None:
        if not batch:
            if self._last is not None and time.monotonic() - self._last.arrived > _LOST_AFTER:
                self._break_off()
            return
        due = 0
        for picture in batch:
            pace.pictures += 1
            if picture.gap:
                self._break_off()
                self.scorer.reset()
                self.smoother.reset()
                due = 0
            self._last = picture
            if self.recorder is not None:
                self.recorder.add(picture)
            due += self.scorer.add(picture)
        if due:
            # Of several moments that are due by now, the newest is what somebody must know of.
            pace.dropped += due - 1
            self._score(batch[-1], pace, places)

    def _end(self, pace: Pace, places: dict[str, int]) -> None:
        if self._last is None:
            raise DataError(f"{self.source.name} has no pictures")
        if self.scorer.last():
            self._say(f"{self.source.name} is shorter than the window: it is scored as a whole")
            self._score(self._last, pace, places, last=True)

    def _score(self, picture: Picture, pace: Pace, places: dict[str, int], *, last: bool = False) -> None:
        try:
            raw = self.scorer.score()
        except ServingError as error:
            if not self.source.drops or error.code not in _PASSING:
                raise
            # A server that is being restarted is no reason to look away from a live source for good.
            pace.dropped += 1
            self._say(f"{self.source.name}: no score at {picture.source_time:.1f} s: {error}")
            return
        if not (self.scorer.ready or last):
            return
        smooth = self.smoother.update(picture.time, raw)
        pace.scored(time.monotonic() - picture.arrived)
        score = Score(picture.source_time, self.scorer.labels, raw, smooth)
        for take in self._scores:
            take(score)
        for label, follow in self._follow.items():
            turn = follow.update(picture.time, float(smooth[places[label]]))
            if turn is not None:
                self._raise(label, turn, picture)

    def _break_off(self) -> None:
        """Ends all alarms and clips: what comes next has nothing to do with what was."""
        if self._last is None:
            return
        for label, follow in self._follow.items():
            turn = follow.interrupt(self._last.time)
            if turn is not None:
                self._raise(label, turn, self._last)
        if self.recorder is not None:
            self.recorder.cut()

    def _raise(self, label: str, turn: Turn, picture: Picture) -> None:
        said: dict[str, Any] = {
            "label": label,
            "score": turn.score,
            "source": self.source.name,
            "source_time": picture.source_time,
            "window": self.scorer.window,
        }
        if turn.kind == "start":
            self.raised += 1
            since = picture.source_time - (turn.time - turn.since)
            alarm = Alarm(event="start", since=since, **said)
            clip = None
            if self.recorder is not None:
                stamp = re.sub(r"[-:]|\.\d+|\+.*", "", alarm.time)
                clip = self.recorder.begin(alarm.id, turn.time, f"{stamp}-{label}")
                alarm = replace(alarm, clip=clip)
            self._open[label] = _Open(alarm.id, clip, since)
        else:
            begun = self._open.pop(label)
            alarm = Alarm(event="end", since=begun.since, id=begun.id, clip=begun.clip, **said)
            if self.recorder is not None:
                self.recorder.end(alarm.id, turn.time)
        for take in self._alarms:
            take(alarm)

    def _figures(self, pace: Pace, now: float, *, whole: bool = False) -> Figures:
        figures = pace.figures(now, whole=whole)
        return figures._replace(dropped=figures.dropped + self.source.lost)

    def _tell(self, figures: Figures) -> None:
        where = "no picture yet" if self._last is None else f"at {self._last.source_time:.1f} s"
        self._say(f"{self.source.name}: {where}, {figures}, alarms: {self.raised}")


def _places(classes: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    for label in classes:
        if label not in labels:
            raise ConfigError(
                f"class {label!r}: the model knows no such class; {suggestion(label, labels, noun='classes')}"
            )
    return {label: list(labels).index(label) for label in classes}
