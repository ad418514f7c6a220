"""The report of a run, read as a browser and a person would."""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest

import kerasft
from kerasft.data.balance import Balance
from kerasft.errors import TrainingError
from kerasft.reports import Notes, write_run_report
from kerasft.training.run import Run

EVIL = "<script>alert('x')</script>"


def test_says_how_well_it_went(make_run, read_page):
    task, run = make_run()
    page = read_page(write_run_report(task, run))
    assert "report-moods: moods" in page.texts
    assert "Tells the mood of a number." in page.text
    assert "More about it" not in page.text
    assert ["loss", "0.3000", "0.8000", "0.7000"] in page.cells
    assert ["accuracy", "0.9000", "0.7500", "0.8125"] in page.cells
    tile = page.texts.index("0.8125")
    assert page.texts[tile + 1] == "best validation accuracy, epoch 2"


def test_every_metric_has_one_chart_with_both_curves(make_run, read_page):
    task, run = make_run()
    page = read_page(write_run_report(task, run))
    assert ("aria-label", "loss by epoch") in page.attributes
    assert ("aria-label", "accuracy by epoch") in page.attributes
    assert page.tags.count("svg") == 2
    assert page.text.count("epoch 2, validation: 0.8125") == 1
    assert page.text.count("epoch 3, training: 0.9000") == 1


def test_many_metrics_are_folded_away_after_loss_and_monitored_metric(make_run, read_page):
    history = {f"extra_{i}": [0.1, 0.2] for i in range(8)} | {
        "val_loss": [1.0, 2.0],
        "loss": [1.0, 2.0],
        "val_accuracy": [0.5, 0.6],
    }
    task, run = make_run(history=history)
    page = read_page(write_run_report(task, run))
    charts = [value for key, value in page.attributes if key == "aria-label"]
    assert len(charts) == 10
    assert charts[:2] == ["loss by epoch", "accuracy by epoch"]
    assert "4 more curves" in page.texts


def test_needs_nothing_but_itself(make_run, read_page, counted):
    task, run = make_run()
    Notes(run).add_evaluation(
        "validation", {"loss": 0.7}, metrics={"m": counted([[3, 1], [0, 4]])}, task=task
    )
    page = read_page(write_run_report(task, run))
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    loads = {"src", "href", "xlink:href", "srcset", "action", "data"}
    assert not [pair for pair in page.attributes if pair[0] in loads or pair[0].startswith("on")]
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert "@import" not in page.source
    assert "url(" not in page.source


def test_suits_phones_and_dark_mode(make_run, read_page):
    task, run = make_run()
    page = read_page(write_run_report(task, run))
    assert ("content", "width=device-width, initial-scale=1") in page.attributes
    assert "prefers-color-scheme: dark" in page.source
    # Pictures take their colours from the style sheet; one of their own would not follow the mode.
    pictures = "".join(re.findall("<svg.*?</svg>", page.source, re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{3,6}|rgb\(", pictures)


def test_escapes_what_comes_from_files(make_run, read_page, counted):
    folder = "<script>alert(1)<"
    task, run = make_run(
        folder,
        history={"loss": [1.0, 0.5], f"val_{EVIL}": [0.1, 0.2], EVIL: [0.3, 0.4]},
        best=None,
        labels=(EVIL, '"><img src=x onerror=alert(1)>'),
    )
    names = task.config.labels
    balance = Balance(source=EVIL, field=EVIL, rows=8, counts=dict.fromkeys(names, 4))
    Notes(run).add_balance(balance)
    Notes(run).add_evaluation(EVIL, {EVIL: 0.5}, metrics={EVIL: counted([[3, 1], [0, 4]])}, task=task)
    page = read_page(write_run_report(task, run))
    assert not {"script", "img"} & set(page.tags)
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert f"report-moods: {folder}" in page.texts
    assert [EVIL, "1.000", "0.750", "0.857", "4", ""] in page.cells
    assert "Where the <weights> come from." in page.texts


@pytest.mark.skipif(sys.platform != "linux", reason="folder names are bytes on Linux only")
def test_folder_name_that_is_no_utf8(make_run, read_page):
    task, run = make_run(os.fsdecode(b"run-\xff"))
    assert "report-moods: run-?" in read_page(write_run_report(task, run)).texts


def test_writing_again_gives_the_same_bytes(make_run):
    task, run = make_run()
    first = write_run_report(task, run).read_bytes()
    assert write_run_report(task, run).read_bytes() == first
    assert not list(run.folder.glob(".*"))


def test_no_epoch_and_one_epoch(make_run, read_page):
    task, run = make_run("none", history={}, best=None)
    page = read_page(write_run_report(task, run))
    assert "No epoch has ended yet." in page.texts
    task, run = make_run("one", history={"loss": [0.5], "val_loss": [0.25]}, best=None)
    page = read_page(write_run_report(task, run))
    assert "svg" not in page.tags
    assert ["loss", "0.5000", "0.2500"] in page.cells
    assert page.texts[page.texts.index("1 of 3") + 1] == "epochs"


def test_without_validation_there_is_no_best(make_run, read_page):
    task, run = make_run(history={"loss": [0.5, 0.4, 0.3]}, best=None)
    page = read_page(write_run_report(task, run))
    assert ["metric", "training"] in page.cells
    assert "best validation" not in page.text


def test_values_that_are_not_finite(make_run, read_page):
    nan, inf = float("nan"), float("inf")
    history = {"loss": [1.0, nan, 0.5], "accuracy": [nan, nan, inf]}
    task, run = make_run(history=history, best=None)
    page = read_page(write_run_report(task, run))
    assert "no finite value" in page.texts
    assert ["accuracy", "inf"] in page.cells
    paths = re.findall(r'<path class="training" d="([^"]*)"', page.source)
    assert [path.count("M") for path in paths] == [2]  # the curve has a gap


def test_values_that_were_not_measured_leave_a_gap_at_their_epochs(make_run, read_page):
    history = {"loss": [3.0, 2.0, 1.0], "val_loss": [None, 0.25, None], "note": ["a", "b", "c"]}
    task, run = make_run(history=history, best=None)
    page = read_page(write_run_report(task, run))
    assert "epoch 2, validation: 0.2500" in page.text
    assert "epoch 1, validation" not in page.text
    assert page.tags.count("svg") == 1


def test_broken_best_checkpoint_and_notes_are_left_out(make_run, read_page):
    task, run = make_run()
    run.checkpoints.best_path.write_bytes(b"PK broken")
    (run.folder / "report.json").write_text("{", encoding="utf-8")
    page = read_page(write_run_report(task, run))
    assert "best validation" not in page.text
    assert "Validation" not in page.text


def test_folder_that_is_no_run(make_run, tmp_path):
    task, _ = make_run()
    with pytest.raises(TrainingError, match="is not a run"):
        write_run_report(task, Run(tmp_path / "nothing"))


def test_gradual_unfreezing_shows_since_when_groups_train(make_run, read_page):
    task, run = make_run(unfreeze="gradual:2")
    page = read_page(write_run_report(task, run))
    assert ["first", "1", "8", "0", "–", "–"] in page.cells
    assert ["second", "1", "15", "15", "1", "3"] in page.cells
    assert ["head", "1", "8", "8", "1", "1"] in page.cells
    assert page.texts[page.texts.index("23") + 1] == "of 31 parameters train"


def test_frozen_groups_without_schedule(make_run, read_page):
    task, run = make_run(training={"learning_rate": kerasft.Layerwise(learning_rate=1e-2, decay=0.5)})
    page = read_page(write_run_report(task, run))
    assert ["second", "1", "15", "0", "–"] in page.cells
    assert ["head", "1", "8", "8", "1"] in page.cells


def test_config_shows_first_what_differs_from_the_defaults(make_run, read_page):
    task, run = make_run(seed=7, training={"batch_size": 4, "class_weight": {"bad": 2.0}})
    page = read_page(write_run_report(task, run))
    assert re.search(r"\b3 of \d+ settings differ from their defaults", page.text)
    changed, rest = (
        page.cells.index(["setting", "value", "default"]),
        page.cells.index(["setting", "default"]),
    )
    assert page.cells[changed + 1] == ["seedSeed of weights, dropout and data order.", "7", "0"]
    assert [row[1:] for row in page.cells[changed + 2 : rest]] == [["4", "32"], ['{"bad": 2.0}', "null"]]
    assert ["labels", '["bad", "good"]'] in page.cells[rest:]


def test_shows_time_machine_and_versions(make_run, read_page):
    task, run = make_run()
    for _ in range(2):
        with Notes(run).session(device="CPU", precision="float32"):
            pass
    page = read_page(write_run_report(task, run))
    assert "of training, in 2 sessions" in page.texts
    assert re.search(r"20\d\d-\d\d-\d\d on CPU, float32", page.text)
    assert re.search(rf"keras 3\.99, then 3.*kerasft {re.escape(kerasft.__version__)}", page.text)


def test_commands_name_the_run(make_run, read_page):
    task, run = make_run("my run's")
    text = read_page(write_run_report(task, run)).text
    quoted = "'" + str(run.folder).replace("'", "'\"'\"'") + "'"
    assert f"kerasft evaluate {quoted} --data" in text
    assert f"kerasft export {quoted} saved_models/my-run-s" in text
    assert f"kerasft.load({str(run.folder)!r})" in text


def test_what_must_be_known_of_the_weights(make_run, read_page):
    task, run = make_run()
    run.write({**run.read(), "notice": "For research only."})
    assert "For research only." in read_page(write_run_report(task, run)).texts


def test_confusions_and_classes_of_the_validation(make_run, read_page, counted):
    task, run = make_run()
    metrics = {"m": counted([[30, 10], [0, 4]])}
    Notes(run).add_evaluation("validation", {"loss": 0.5}, metrics=metrics, task=task, epoch=2)
    page = read_page(write_run_report(task, run))
    assert "Validation after epoch 2" in page.texts
    assert "bad → good: 10 (25.0%)" in page.texts
    assert ["bad", "1.000", "0.750", "0.857", "40", ""] in page.cells
    assert ["good", "0.286", "1.000", "0.444", "4", ""] in page.cells


def test_many_classes_are_shown_by_their_extremes(make_run, read_page, counted):
    task, run = make_run()
    count = 60
    names = [f"class-{i}" for i in range(count)]
    matrix = np.diag(np.full(count, 10))
    matrix[7, 9], matrix[3, 4] = 6, 2
    Notes(run).add_evaluation("test", {}, metrics={"m": counted(matrix, names)}, task=task)
    balance = Balance(source="a", field="label", rows=count * 50, counts=dict.fromkeys(names, 50))
    Notes(run).add_balance(balance)
    page = read_page(write_run_report(task, run))
    pairs = page.cells.index(["true", "predicted", "count", "share of true"])
    assert page.cells[pairs + 1] == ["class-7", "class-9", "6", "37.5%"]
    assert page.cells[pairs + 2] == ["class-3", "class-4", "2", "16.7%"]
    weakest = page.cells.index(["class", "precision", "recall", "F1", "examples", ""]) + 1
    assert [row[0] for row in page.cells[weakest : weakest + 4]] == [
        "class-7",
        "class-9",
        "class-3",
        "class-4",
    ]
    assert page.texts.count("All 60 classes") == 2
    assert "… 40 more" in page.texts
    assert "class-7 → class-9" not in page.text  # no hint for each of the cells


def test_test_result_is_a_main_number(make_run, read_page):
    task, run = make_run()
    Notes(run).add_evaluation("test", {"loss": 0.5, "accuracy": 0.9375}, metrics={}, task=task)
    page = read_page(write_run_report(task, run))
    assert page.texts[page.texts.index("0.9375") + 1] == "test accuracy"


def test_training_writes_it_and_a_loaded_run_writes_it_again(tmp_path, read_page):
    task = kerasft.create("report-moods", training={"epochs": 2, "batch_size": 4})
    data = {"x": [float(i % 2) for i in range(16)], "label": ["bad", "good"] * 8}
    run = Run(tmp_path / "run")
    task.finetune(data, validation_data=0.25, run_dir=run.folder, verbose="quiet")
    write_run_report(task, run)
    first = read_page(run.report)
    run.report.unlink()
    again = read_page(write_run_report(kerasft.load(run.folder), run))
    assert again.source == first.source
    assert again.tags.count("svg") >= 2
