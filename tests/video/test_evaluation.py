"""What an alarm is worth at each threshold, against scikit-learn and by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score

import kerasft
from kerasft.errors import DataError
from kerasft.reports import write_run_report
from kerasft_video.drawn import draw
from kerasft_video.evaluation import Alarms


def test_the_curve_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 200)
    score = np.round(np.clip(0.3 * truth + random.uniform(0, 0.7, 200), 0, 1), 2)
    alarms = Alarms(number=1, threshold=0.5)
    # Half a step more, so that no score lies on the edge of a step.
    for part in np.split(np.arange(200), 4):
        alarms.update_state(truth[part], np.stack([1 - score[part], score[part] + 5e-4], axis=1))
    values = alarms.result()
    assert values["average_precision"] == pytest.approx(average_precision_score(truth, score), abs=1e-6)
    assert values["alarm_precision"] == pytest.approx(precision_score(truth, score >= 0.5))
    assert values["alarm_recall"] == pytest.approx(recall_score(truth, score >= 0.5))
    assert "false_alarms_per_hour" not in values


def test_only_the_time_of_other_videos_counts_for_false_alarms() -> None:
    alarms = Alarms(number=0, threshold=0.5)
    scores = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]
    alarms.update_state([0, 1, 1, 1], scores, seconds=[5000, 1800, 900, 900])
    assert alarms.result()["false_alarms_per_hour"] == 2.0
    assert alarms.curve().at(0.75)[2] == 1.0
    alarms.reset_state()
    assert np.isnan(alarms.curve().at(0.5)[2])


def test_a_run_reports_its_alarm(tiny: dict[str, Any], video: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(6):
        video(f"data/{['calm', 'fight'][number % 2]}/{number}.mp4", count=10, seed=number)
    alarm = {"alarm": {"label": "fight", "threshold": 0.4}}
    sampling = {"sampling": {"frames": 4, "clips": 2}}
    task = kerasft.create("video", **{**tiny, **alarm, **sampling})
    task.finetune(tmp_path / "data", run_dir=tmp_path / "run", epochs=1, verbose="quiet")
    values = task.evaluate(tmp_path / "data", verbose="quiet")
    false = values["false_alarms_per_hour"] * 3 / 3600  # three calm videos of a second each
    assert false == pytest.approx(round(false), abs=0.01)
    assert (tmp_path / "run/samples/alarm.png").read_bytes().startswith(b"\x89PNG")
    assert task.run is not None
    page = write_run_report(task, task.run).read_text()
    assert "An alarm for fight, by threshold" in page
    assert "0.4 (chosen)" in page


def test_an_alarm_for_no_class_is_refused(tiny: dict[str, Any]) -> None:
    task = kerasft.create("video", **tiny, alarm={"label": "fire"})
    with pytest.raises(DataError, match="has no videos of the class 'fire', for which alarm"):
        task.finetune((draw(2, frames=4), ["a", "b"]), verbose="quiet")
