"""The notes beside a run."""

from __future__ import annotations

import contextlib

from kerasft.data import Field, describe_balance, open_source
from kerasft.reports import ClassScores, Notes


def test_notes_add_up(make_run, counted):
    task, run = make_run()
    fields = task.fields()
    source = open_source({"x": [1.0, 2.0, 3.0], "label": ["bad", "good", "good"]}, fields=fields)
    assert isinstance(fields[1], Field)
    notes = Notes(run)
    notes.add_balance(describe_balance(source))
    metrics = {"m": counted([[1, 0], [1, 1]])}
    notes.add_evaluation("validation", {"loss": 0.5}, metrics={}, task=task, epoch=1)
    notes.add_evaluation("validation", {"loss": 0.25}, metrics=metrics, task=task, epoch=2)
    noted = Notes(run).read()
    assert noted["balance"] == {"field": "label", "rows": 3, "counts": {"bad": 1, "good": 2}}
    assert list(noted["evaluations"]) == ["validation"]
    assert noted["evaluations"]["validation"]["epoch"] == 2
    assert noted["evaluations"]["validation"]["values"] == {"loss": 0.25}
    scores = ClassScores.from_json(noted["evaluations"]["validation"]["classes"])
    assert scores.names == ("bad", "good")


def test_a_session_that_fails_counts_too(make_run):
    _, run = make_run()
    with contextlib.suppress(RuntimeError), Notes(run).session(device="CPU"):
        raise RuntimeError
    with Notes(run).session(device="GPU"):
        pass
    sessions = Notes(run).read()["sessions"]
    assert [session["device"] for session in sessions] == ["CPU", "GPU"]
    assert all(session["seconds"] >= 0 for session in sessions)
    assert set(sessions[0]["versions"]) >= {"python", "kerasft", "keras", "tensorflow"}


def test_without_a_run_nothing_is_noted(make_run, tmp_path):
    task, _ = make_run()
    before = sorted(tmp_path.rglob("*"))
    notes = Notes(None)
    with notes.session():
        notes.add_evaluation("validation", {}, metrics={}, task=task)
    assert notes.read() == {}
    assert sorted(tmp_path.rglob("*")) == before
