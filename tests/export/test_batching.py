"""Batching inside the graph: the same answers, for requests that arrive side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, ExportError
from kerasft.export import Batching, export_savedmodel
from kerasft.export.batching import batch_in_graph
from kerasft.export.runtime import Model


def rows_seen(**specs: tf.TensorSpec) -> Any:
    """A function that answers each row with the number of rows that it came with."""

    def call(x: Any) -> dict[str, Any]:
        count = tf.shape(x)[0]
        return {"double": 2 * x, "rows": tf.fill([count], count), "names": tf.constant(["a", "b"])}

    return tf.function(call).get_concrete_function(**(specs or {"x": tf.TensorSpec([None], tf.int32)}))


def served(folder: Path, batching: Batching) -> Model:
    function = batch_in_graph("serving_default", rows_seen(), batching)
    example = ("serving_default", {"x": [1] * batching.max_batch_size})
    return Model(
        export_savedmodel(tf.Module(), {"serving_default": function}, folder, examples=[example]).path
    )


def ask(model: Model, values: list[int]) -> dict[str, Any]:
    return model.call("serving_default", {"x": np.array(values, np.int32)})


def test_a_batch_is_padded_to_an_allowed_size_and_large_ones_are_split(tmp_path: Path) -> None:
    with served(tmp_path / "m", Batching(max_batch_size=4, allowed_batch_sizes=(2, 4))) as model:
        for count, seen in ((1, [2]), (2, [2, 2]), (3, [4] * 3), (6, [4] * 4 + [2] * 2)):
            answer = ask(model, list(range(count)))
            assert answer["rows"].tolist() == seen
            assert answer["double"].tolist() == [2 * x for x in range(count)]
            assert answer["names"].tolist() == [b"a", b"b"]  # stands once, whatever the batch


def test_requests_of_several_clients_run_together(tmp_path: Path) -> None:
    minute = 60_000_000  # a batch that is not full waits; here both clients fill it
    batching = Batching(max_batch_size=2, timeout_micros=minute)
    with served(tmp_path / "m", batching) as model, ThreadPoolExecutor(2) as clients:
        first, second = clients.map(lambda x: ask(model, [x]), (5, 7))
    assert (first["double"].tolist(), second["double"].tolist()) == ([10], [14])
    assert first["rows"].tolist() == second["rows"].tolist() == [2]


def test_a_task_answers_as_without(tmp_path: Path) -> None:
    task = kerasft.create("text", encoder="cnn", labels=["bad", "good"])
    texts = ["what a film", "what a bore", "fine", "a long and winding review of a film"]
    task.finetune({"text": texts, "label": ["good", "bad", "good", "bad"]}, epochs=1, verbose="quiet")
    report = task.export(tmp_path / "m", batching=Batching(max_batch_size=8))
    assert report.verification is not None
    assert report.verification.ok
    expected = task.predict(texts)
    with Model(report.path) as model, ThreadPoolExecutor(8) as clients:
        content = [np.array([text.encode()], object) for text in texts * 8]
        answers = list(clients.map(lambda text: model.call("serving_default", {"text": text}), content))
    for answer, row in zip(answers, list(range(len(texts))) * 8, strict=True):
        assert answer["label"][0].decode() == np.asarray(expected["label"][row]).item().decode()
        np.testing.assert_allclose(answer["scores"][0], expected["scores"][row], atol=1e-5)
        assert answer["labels"].tolist() == [b"bad", b"good"]


def test_what_has_no_rows_is_refused() -> None:
    with pytest.raises(ExportError, match=r"'m' cannot batch in the graph: the input 'x' has no row"):
        batch_in_graph("m", rows_seen(x=tf.TensorSpec([3], tf.int32)), Batching())
    ragged = tf.function(lambda x: {"start": x, "row_splits": x}).get_concrete_function(
        x=tf.TensorSpec([None], tf.int32)
    )
    with pytest.raises(ExportError, match=r"answers differ in length"):
        batch_in_graph("m", ragged, Batching())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch_size": 0}, r"max_batch_size must be at least 1, not 0"),
        ({"timeout_micros": -1}, r"timeout_micros must be at least 0"),
        (
            {"max_batch_size": 8, "allowed_batch_sizes": (2, 4)},
            r"must ascend to max_batch_size \(8\), not 2, 4",
        ),
        ({"max_batch_size": 4, "allowed_batch_sizes": (4, 2, 4)}, r"must ascend to max_batch_size"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Batching(**settings)
