"""The loop of watching, with a model that says what the test says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kerasft.errors import DataError
from kerasft.serving.errors import InvalidArgumentError, UnavailableError
from kerasft_video.reading import Frame
from kerasft_video.watching import Alarm, Recorder, Rule, Watcher
from kerasft_video.watching.smoothing import parse
from kerasft_video.watching.sources import Picture, Source

from .test_watching_io import shown

Script = list[float | None]


class Scripted(Source):
    """A picture a second, in batches of given sizes; None in the script is a gap.

    After each batch nothing comes for a while: `age` seconds since the last picture.
    """

    name = "script"

    def __init__(self, script: Script, *, batch: int = 1, drops: bool = False, age: float = 0.0) -> None:
        self.drops = drops
        self._script, self._batch, self._age = script, batch, age

    def batches(self) -> Iterator[list[Picture]]:
        pictures: list[Picture] = []
        gap, place = False, 0.0
        for value in self._script:
            if value is None:
                gap = True
                continue
            pixels = np.full((8, 8, 3), int(100 * value), np.uint8)
            frame = Frame(place, lambda pixels=pixels: pixels)
            pictures.append(Picture(place, place, time.monotonic() - self._age, gap, frame))
            gap, place = False, place + 1.0
        for begin in range(0, len(pictures), self._batch):
            yield pictures[begin : begin + self._batch]
            yield []

    def close(self) -> None:
        pass


class Says:
    """Scores each picture with how light it is."""

    labels: tuple[str, ...] = ()
    ready = True

    def __init__(self, errors: dict[float, Exception] | None = None) -> None:
        self.resets = 0
        self._errors = errors or {}

    def warm_up(self) -> None:
        self.labels = ("calm", "fight")

    def add(self, picture: Picture) -> bool:
        self._last = picture
        return True

    def score(self) -> np.ndarray:
        if self._last.time in self._errors:
            raise self._errors[self._last.time]
        value = self._last.pixels[0, 0, 0] / 100
        return np.array([1 - value, value])

    def last(self) -> bool:
        return False

    @property
    def window(self) -> tuple[float, float]:
        return self._last.source_time - 1, self._last.source_time

    def reset(self) -> None:
        self.resets += 1


def watched(source: Source, scorer: Says | None = None, **options) -> tuple[list[Alarm], Watcher]:
    """Watches a source to its end; gives the alarms."""
    found: list[Alarm] = []
    watcher = Watcher(
        source,
        scorer or Says(),
        classes=["fight"],
        rule=Rule(on=0.8, off=0.5),
        smoother=parse("none"),
        alarms=[found.append],
        report=0,
        **options,
    )
    watcher.figures = watcher.run()  # type: ignore[attr-defined]
    return found, watcher


def turns(found: list[Alarm]) -> list[tuple[str, float, float]]:
    return [(alarm.event, alarm.source_time, round(alarm.score, 2)) for alarm in found]


def test_alarms_begin_and_end_where_scores_say() -> None:
    found, watcher = watched(Scripted([0.1, 0.9, 0.6, 0.95, 0.2, 0.85]))
    assert turns(found) == [("start", 1, 0.9), ("end", 4, 0.95), ("start", 5, 0.85), ("end", 5, 0.85)]
    assert found[0].id == found[1].id != found[2].id
    assert watcher.raised == 2


def test_a_gap_ends_an_alarm_where_it_was_and_all_begins_anew() -> None:
    scorer = Says()
    found, _ = watched(Scripted([0.9, 0.9, None, 0.6, 0.9]), scorer)
    assert turns(found) == [("start", 0, 0.9), ("end", 1, 0.9), ("start", 3, 0.9), ("end", 3, 0.9)]
    assert scorer.resets == 1


def test_a_source_that_says_nothing_for_long_ends_its_alarm() -> None:
    found, _ = watched(Scripted([0.9, 0.9], age=60.0))
    assert turns(found) == [("start", 0, 0.9), ("end", 0, 0.9), ("start", 1, 0.9), ("end", 1, 0.9)]


def test_of_pictures_that_came_together_the_newest_is_scored() -> None:
    scores: list = []
    _, watcher = watched(Scripted([0.1, 0.2, 0.3, 0.4, 0.5], batch=2), scores=[scores.append])
    assert [score.source_time for score in scores] == [1, 3, 4]
    assert (watcher.figures.pictures, watcher.figures.scores, watcher.figures.dropped) == (5, 3, 2)


def test_a_live_source_outlives_a_server_that_is_away() -> None:
    said: list[str] = []
    away = Says({2.0: UnavailableError("nobody answers")})
    found, watcher = watched(Scripted([0.1, 0.9, 0.9, 0.1], drops=True), away, say=said.append)
    assert turns(found) == [("start", 1, 0.9), ("end", 3, 0.9)]
    assert said == ["script: no score at 2.0 s: nobody answers"]
    assert watcher.figures.dropped == 1


@pytest.mark.parametrize(
    ("error", "drops"), [(UnavailableError("away"), False), (InvalidArgumentError("wrong"), True)]
)
def test_other_failures_end_it_in_good_order(error, drops, tmp_path: Path) -> None:
    found: list[Alarm] = []
    recorder = Recorder(tmp_path, wait=True)
    watcher = Watcher(
        Scripted([0.9, 0.9, 0.9], drops=drops),
        Says({2.0: error}),
        classes=["fight"],
        alarms=[found.append],
        recorder=recorder,
        report=0,
    )
    with pytest.raises(type(error)):
        watcher.run()
    assert [alarm.event for alarm in found] == ["start", "end"]
    assert len(shown(found[0].clip)[0]) == 3


def test_it_stops_when_told() -> None:
    found: list = []
    watcher = Watcher(
        Scripted([0.9] * 50), Says(), classes=["fight"], scores=[found.append], alarms=[], report=0
    )
    figures = watcher.run(stop=lambda: len(found) == 3)
    assert (figures.scores, watcher.raised) == (3, 1)


def test_nothing_to_see_is_an_error() -> None:
    with pytest.raises(DataError, match="script has no pictures"):
        watched(Scripted([]))
