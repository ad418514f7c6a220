"""`kerasft ask` against the embedded server: rows, outputs that stand once, other types, gRPC and REST."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from kerasft.export import export_savedmodel
from kerasft.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "sums"
    module = tf.Module()
    one = tf.function(lambda text: {"echo": text, "names": tf.constant(["first", "second"])})
    two = tf.function(lambda count, rate, pair: {"sum": tf.cast(count, tf.float32) * rate + pair[:, 0]})
    signatures = {
        "serving_default": one.get_concrete_function(text=tf.TensorSpec([None], tf.string)),
        "sum": two.get_concrete_function(
            count=tf.TensorSpec([None], tf.int64),
            rate=tf.TensorSpec([None], tf.float32),
            pair=tf.TensorSpec([None, 2], tf.float32),
        ),
    }
    export_savedmodel(
        module, signatures, folder, examples=[("serving_default", {"text": ["a"]})], verify=False
    )
    with Server(folder, grpc_port=0, rest_port=0) as running:
        yield running


def test_outputs_that_stand_once_stay_whole_whatever_the_number_of_rows(cli, server):
    for texts in (["a"], ["a", "b"], ["a", "b", "c"]):
        flags = [flag for text in texts for flag in ("--text", text)]
        lines = cli("ask", server.address, "default", *flags).out.splitlines()
        answers = [json.loads(line) for line in lines]
        assert answers == [{"echo": text, "names": ["first", "second"]} for text in texts]


@pytest.mark.parametrize("rest", [[], ["--rest"]])
def test_inputs_are_read_by_the_type_of_the_signature(cli, server, rest):
    address = server.rest_address if rest else server.address
    given = ("--input", "count=1..2", "--input", "rate=0.5", "--input", "pair=[10, 0]")
    lines = cli("ask", address, "default", *given, "--signature", "sum", *rest).out.splitlines()
    assert [json.loads(line) for line in lines] == [{"sum": 10.5}, {"sum": 11.0}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs either --text or --input"),
        (("--text", "a", "--signature", "sum"), "a signature with one input, not count, pair, rate"),
        (("--input", "count=1.5", "--signature", "sum"), "which is not a whole number"),
        (("--input", "texxt=a"), "with one of the names text"),
        (("--text", "a", "--version", "7"), "Servable not found for request: Specific(default, 7)"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(cli, server, arguments, message):
    answer = cli("ask", server.address, "default", *arguments, code=2)
    assert answer.out == ""
    (line,) = answer.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
