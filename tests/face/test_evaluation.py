"""FID and its kin of the face task: in evaluate, in validation, and what is noted of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.errors import ConfigError
from kerasft.metrics import Features, frechet, perceptual_path_length
from kerasft.metrics.extractors import extractor
from kerasft.training.examples import Examples
from kerasft_face.evaluation import caution
from kerasft_face.samples import faces, grid, styles, synthesize

NAMES = {
    f"{name}_random_v1"
    for name in ("fid", "fidr", "kid", "precision", "recall", "density", "coverage", "novelty", "ppl")
}


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
    shown = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert shown == ["nearest-00001.png", "nearest-00002.png"]
    pairs = np.asarray(Image.open(tmp_path / "run" / "samples" / shown[1]))
    assert pairs.shape == (2 * 8, 8 * 8, 3)
    known = [near["row"] for near in lines[1]["nearest"]]
    np.testing.assert_array_equal(pairs[8:], grid(pictures[known], columns=8))


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
    w = styles(task, range(10))
    whole = perceptual_path_length(lambda ws: synthesize(task, ws), w[::2], w[1::2], extractor=network)
    assert found["ppl_random_v1"] == pytest.approx(whole, rel=1e-4)


def test_faces_learned_by_heart_are_told(tiny, discs):
    task = kerasft.create("face", **tiny)
    task.build()
    learned = task.evaluate({"picture": faces(task, range(8))}, verbose="quiet")
    assert learned["novelty_random_v1"] == pytest.approx(0.0, abs=1e-3)
    assert task.evaluate({"picture": discs(12, 8)}, verbose="quiet")["novelty_random_v1"] > 0.5


def test_no_more_than_a_batch_of_pictures_is_held(tiny, discs, monkeypatch):
    task = kerasft.create("face", **tiny)
    task.build()
    examples = Examples(
        task=task, source=kerasft.data.open_source(discs(12, 8), fields=task.fields()), targets=True
    )
    asked = []
    batch = examples.batch
    monkeypatch.setattr(examples, "batch", lambda rows: asked.append(len(rows)) or batch(rows))
    task.measure(examples, batch_size=5, progress=lambda done: None)
    assert sorted(asked) == [2, 2, 5, 5, 5, 5]  # once for the hash, once for the features


def test_an_extractor_that_can_mislead_is_said_to(tiny, discs, capfd):
    task = kerasft.create("face", **tiny)
    task.build()
    task.evaluate({"picture": discs(12, 8)}, verbose="line")
    assert "random convolutions, which can mislead" in capfd.readouterr().err.replace("\n", " ")
    assert caution("vgg16") == ""
    assert "not that of published values" in caution("inception")


def test_a_run_can_be_measured_by_another_extractor(tiny, discs, tmp_path):
    task = kerasft.create("face", **tiny)
    task.finetune(discs(12, 8), epochs=1, run_dir=tmp_path / "run", verbose="quiet")
    config = {"metrics": {"extractor": "vgg16", "path_samples": 0}}
    again = kerasft.load(tmp_path / "run", config=config)
    assert (again.config.metrics.extractor, again.config.metrics.samples) == ("vgg16", 8)
    assert again.monitor == "val_fidr_vgg16"
    np.testing.assert_array_equal(faces(again, [1]), faces(task, [1]))
    with pytest.raises(ConfigError, match="extractor"):
        kerasft.load(tmp_path / "run", config={"metrics": {"extractor": "best"}})


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
