"""The model card, read as Markdown; its requests are sent."""

from __future__ import annotations

import base64
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from markdown_it import MarkdownIt

import kerasft.serving.client
from kerasft.data.balance import Balance
from kerasft.reports import Notes, model_card
from kerasft.reports.requests import python_request, rest_request
from kerasft.serving.client import Client

EVIL = ("<script>alert(1)</script>", "```\n# not a heading", "a|b *c* [d](e)")


def blocks(card: str, language: str) -> list[str]:
    tokens = MarkdownIt().parse(card)
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def rendered(card: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(card)


class Recorder:
    """Stands for the client: takes what it takes, and keeps it."""

    asked: tuple = ()

    def __init__(self, target):
        self.target = target

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def predict(self, *args, **kwargs):
        bound = inspect.signature(Client.predict).bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        Recorder.asked = (given["model"], given["signature"], {**(given["inputs"] or {}), **given["named"]})


@pytest.fixture
def ask(monkeypatch):
    """Runs Python from a card and returns what it asked for."""
    monkeypatch.setattr(kerasft.serving.client, "Client", Recorder)

    def run(code: str):
        exec(compile(code, "card", "exec"), {})
        return Recorder.asked

    return run


def test_says_what_the_model_is(make_run):
    task, _ = make_run()
    outputs = {"serving_default": {"scores": tf.TensorSpec([None, 2], tf.float32)}}
    html = rendered(model_card(task, name="moods", metrics={"accuracy": 0.875, "epoch": 3}, outputs=outputs))
    assert "<h1>moods</h1>" in html
    assert "Tells the mood of a number." in html
    assert "<td>accuracy</td>\n<td>0.8750</td>" in html
    assert "<td>epoch</td>\n<td>3</td>" in html
    assert "<td>x</td>\n<td>float32[?]</td>" in html
    assert "<td>scores</td>\n<td>float32[?, 2]</td>" in html


def test_training_and_validation_stand_side_by_side(make_run):
    task, _ = make_run()
    html = rendered(model_card(task, metrics={"epoch": 3, "accuracy": 0.875, "val_accuracy": 0.75}))
    assert "<td>accuracy</td>\n<td>0.8750</td>\n<td>0.7500</td>" in html
    assert "<td>epoch</td>\n<td>3</td>\n<td>–</td>" in html


def test_labels_are_listed_whatever_they_look_like(make_run):
    task, _ = make_run(labels=EVIL)
    card = model_card(task)
    assert json.loads(blocks(card, "json")[0]) == list(EVIL)
    html = rendered(card)
    assert "<script" not in html
    assert "<h1>not a heading" not in html


def test_requests_ask_for_the_examples(make_run, ask):
    task, _ = make_run()
    card = model_card(task, name="moods")
    (code,) = blocks(card, "python")
    assert ask(code) == ("moods", "serving_default", {"x": [0.5, 2.0]})
    body = json.loads(blocks(card, "json")[-1])
    assert body == {"signature_name": "serving_default", "inputs": {"x": [0.5, 2.0]}}
    assert "POST /v1/models/moods:predict" in card


@pytest.mark.parametrize(
    "inputs",
    [
        {"text": ['say "hi"\n\\ \u202e', "早餐"]},
        {"tokens": [["a", "b"]], "timeout": [1.5]},
        {"class": [True], "not a name": [None]},
        {"x": [np.float32(0.5), np.array([1, 2])]},
        {"image": [b"\x00\xff"]},
    ],
)
def test_python_request_sends_any_values(ask, inputs):
    model, signature, sent = ask(python_request("m", "other", inputs))
    assert (model, signature) == ("m", "other")
    plain = {key: [v.tolist() if hasattr(v, "tolist") else v for v in row] for key, row in inputs.items()}
    assert sent == plain


def test_rest_request_writes_bytes_as_base64():
    body = json.loads(rest_request("serving_default", {"image": [b"\x00\xff"], "n": [np.int64(3)]}))
    assert base64.b64decode(body["inputs"]["image"][0]["b64"]) == b"\x00\xff"
    assert body["inputs"]["n"] == [3]


def test_long_bytes_are_read_from_a_file(ask, tmp_path, monkeypatch):
    content = bytes(range(256)) * 4
    code = python_request("m", "serving_default", {"image": [content]})
    assert len(code) < 300
    Path(tmp_path / "FILE").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert ask(code)[2] == {"image": [content]}
    assert len(rest_request("serving_default", {"image": [content]})) < 200


def test_limits_follow_from_the_run(make_run, counted):
    task, run = make_run()
    card = model_card(task)
    assert "No validation was recorded" in card
    Notes(run).add_balance(Balance(source="a", field="label", rows=55, counts={"bad": 50, "good": 5}))
    metrics = {"m": counted([[9, 1], [6, 4]])}
    Notes(run).add_evaluation("test", {"accuracy": 0.65}, metrics=metrics, task=task)
    card = model_card(task, run=run, limits=["English only."])
    assert "No validation was recorded" not in card
    assert "- English only." in card
    assert "50 examples of bad, 5 of good" in card
    assert "In test it missed more than half of the examples of: good." in card
    assert "<td>accuracy</td>\n<td>0.6500</td>" in rendered(card)


def test_licence_of_pretrained_weights(make_run):
    task, _ = make_run()
    assert "Pretrained weights" not in model_card(task)
    task.config.encoder = "minilm"
    assert "Licence: Apache-2.0 AND MIT" in model_card(task)
    task.config.encoder = "hf://someone/something"
    assert "hf://someone/something: its licence is on its page" in model_card(task)
    task.config.encoder, task.config.labels = "scratch", ("minilm", "good")
    assert "Pretrained weights" not in model_card(task)
