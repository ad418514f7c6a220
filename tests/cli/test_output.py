"""Standard output belongs to the answer; libraries' chatter belongs nowhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from kerasft.cli.asking import split_rows
from kerasft.cli.output import answering, plain, print_json, print_rich
from kerasft.cli.quiet import quiet_import
from kerasft.data.balance import Balance
from kerasft.export.report import Check, VerifyReport
from kerasft.reports import ClassScores
from kerasft.testing.report import CheckReport
from kerasft.training.freezereport import FreezeReport, GroupRow
from kerasft.training.progress import Reporter

MARKUP = "[red] [/INST] x[train] :cat:"
CHECK = Check(name="graph", ok=True, detail=MARKUP)


def test_with_json_everything_else_goes_to_standard_error(capfd) -> None:
    with answering(only_json=True):
        print("from Python")
        os.write(1, b"from C++\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print_json({"answer": 1})
    print("afterwards")
    out, err = capfd.readouterr()
    assert out == '{"answer": 1}\nafterwards\n'
    assert all(line in err for line in ("from Python", "from C++", "from a child"))


def test_without_json_nothing_is_diverted(capfd) -> None:
    with answering(only_json=False):
        print("hello")
        print_json([1])
    assert capfd.readouterr().out == "hello\n[1]\n"


def test_standard_output_is_restored_after_an_error(capfd) -> None:
    with pytest.raises(ValueError, match="no"), answering(only_json=True):
        raise ValueError("no")
    print("back")
    assert capfd.readouterr().out == "back\n"


def test_arrays_bytes_and_odd_numbers_become_plain() -> None:
    value = {
        "a": np.array([[1.5, np.nan]]),
        "b": np.array([b"\xe4\xbd\xa0", b"\xff"]),
        3: np.int64(4),
        "c": float("inf"),
    }
    assert plain(value) == {"a": [[1.5, None]], "b": ["\u4f60", "\ufffd"], "3": 4, "c": None}


@pytest.mark.parametrize(
    ("renderable", "times"),
    [
        (Balance(source=MARKUP, field="x", rows=1, counts={MARKUP: 1}).table(), 2),
        (FreezeReport((GroupRow(MARKUP, 1, 1, 1, 1.0),)), 1),
        (VerifyReport(path=Path(MARKUP), checks=(CHECK,)), 2),
        (CheckReport(task=MARKUP, checks=(CHECK,)), 2),
        (ClassScores.of_matrix([MARKUP], [[1]]), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_report_prints_what_looks_like_markup_as_it_is(renderable, times) -> None:
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    assert console.file.getvalue().count(MARKUP) == times


def test_an_answer_prints_what_looks_like_markup_as_it_is(capsys) -> None:
    table = Table(title=MARKUP)
    table.add_column(MARKUP)
    table.add_row(MARKUP)
    print_rich(MARKUP, table)
    assert capsys.readouterr().out.count(MARKUP) == 4


def test_progress_shows_what_looks_like_markup_as_it_is() -> None:
    console = Console(width=160, file=io.StringIO(), force_terminal=True, color_system=None)
    reporter = Reporter(verbose="bar", console=console)
    reporter.say(MARKUP)
    with reporter.bar(MARKUP, total=1, unit=MARKUP) as bar:
        bar.update(1, lambda: {MARKUP: 0.5})
    assert MARKUP in console.file.getvalue().splitlines()[0]
    assert f"{MARKUP} 0.5000" in console.file.getvalue()


def test_quiet_import_drops_chatter_and_keeps_the_rest(capfd) -> None:
    with quiet_import():
        os.write(
            2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        )
        os.write(
            2, b"2026-01-02 03:04:05.678901: E external/xla/cuda_platform.cc:51] failed call to cuInit\n"
        )
        os.write(2, b"I0000 00:00:1795301033.192319   24128 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"E0000 00:00:1795301066.774559   24379 cuda_platform.cc:52] failed call to cuInit\n")
        os.write(2, b"a real warning\n")
    assert capfd.readouterr().err == "a real warning\n"


def test_quiet_import_lets_all_through_when_asked(capfd, monkeypatch) -> None:
    monkeypatch.setenv("KERASFT_VERBOSE", "1")
    with quiet_import():
        os.write(2, b"I0000 00:00:1 port.cc:153] oneDNN\n")
    assert "oneDNN" in capfd.readouterr().err


def test_a_start_that_is_none_is_one_sentence_without_chatter(tmp_path) -> None:
    command = ["finetune", "text", "--data", "x.tsv", "--run", tmp_path, "--init-from", tmp_path / "none"]
    done = subprocess.run(
        [sys.executable, "-m", "kerasft", *map(str, command)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'none'} is not a run: there is no run.json in it.\n"


def test_rows_repeat_what_stands_once_and_cut_what_is_flat() -> None:
    answers = {"label": np.array([b"a", b"b"]), "labels": np.array([b"a", b"b"])}
    assert plain(list(split_rows(answers, {"label"}))) == [
        {"label": "a", "labels": ["a", "b"]},
        {"label": "b", "labels": ["a", "b"]},
    ]
    flat = {
        "start": np.array([0, 4, 2]),
        "type": np.array([b"X", b"Y", b"X"]),
        "row_splits": np.array([0, 2, 2, 3]),
    }
    assert plain(list(split_rows(flat, {"start", "type", "row_splits"}))) == [
        {"start": [0, 4], "type": ["X", "Y"]},
        {"start": [], "type": []},
        {"start": [2], "type": ["X"]},
    ]
