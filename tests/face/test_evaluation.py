"""FID and its kin of the face task: in evaluate, in validation, and what is noted of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kerasft
from kerasft.metrics import Features, frechet
from kerasft.metrics.extractors import extractor
from kerasft.training.examples import Examples
from kerasft_face.samples import faces

NAMES = {f"{name}_random_v1" for name in ("fid", "fidr", "kid", "precision", "recall", "density", "coverage")}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASFT_HOME", str(tmp_path / "home"))


def test_validation_finds_the_best_epoch_and_every_value_names_its_extractor(tiny, discs, tmp_path):
    task = kerasft.create("face", **tiny)
    pictures = discs(12, 8)
    history = task.finetune(
        pictures, validation_data=pictures, run_dir=tmp_path / "run", verbose="quiet"
    ).history
    assert {f"val_{name}" for name in NAMES} < set(history)
    assert kerasft.load(tmp_path / "run").last_metrics["val_fidr_random_v1"] == min(
        history["val_fidr_random_v1"]
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "measures.jsonl").read_text().splitlines()]
    assert [line["values"]["fid_random_v1"] for line in lines] == history["val_fid_random_v1"]
    assert {line["extractor"] for line in lines} == {extractor("random:v1").identity}
    assert [(line["real"], line["made"]) for line in lines] == [(12, 8)] * 2
    distances = [near["distance"] for near in lines[0]["nearest"]]
    assert distances == sorted(distances)


def test_evaluate_measures_the_faces_of_the_first_seeds(tiny, discs):
    task = kerasft.create("face", **tiny)
    task.build()
    pictures = discs(12, 8)
    found = task.evaluate({"picture": pictures}, verbose="quiet")
    assert set(found) == NAMES
    network = extractor("random:v1")
    sets = [Features(network(these), network.identity) for these in (pictures, faces(task, range(8)))]
    assert found["fid_random_v1"] == pytest.approx(frechet(*sets), rel=1e-6)
    assert task.evaluate({"picture": pictures}, verbose="quiet") == found


def test_batches_and_classes_change_nothing_and_progress_covers_the_made_faces(tiny, discs):
    task = kerasft.create("face", **{**tiny, "conditional": True, "labels": ["a", "b", "c"]})
    task.build()
    rows = {"picture": discs(12, 8), "label": ["a", "b", "c"] * 4}
    whole, parts = (task.evaluate(rows, batch_size=size, verbose="quiet") for size in (64, 5))
    assert parts == pytest.approx(whole, rel=1e-4)
    done = []
    source = kerasft.data.open_source(rows, fields=task.fields())
    task.measure(Examples(task=task, source=source, targets=True), batch_size=5, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 12
    assert done[-2] < 12


def test_pictures_like_the_data_are_nearer_than_others(tiny, discs):
    network = extractor("random:v1")
    real, alike = (Features(network(discs(64, 16, seed=seed)), network.identity) for seed in (0, 1))
    noise = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)
    assert frechet(real, alike) * 10 < frechet(real, Features(network(noise), network.identity))
