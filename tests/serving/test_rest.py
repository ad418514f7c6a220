"""The REST API: routes, both formats, errors, and what JSON can and cannot say."""

from __future__ import annotations

import base64
import http.client
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.serving import ServingError, protos
from kerasft.serving.server import Server, rest_json
from kerasft.serving.tensors import to_numpy, to_proto

ROW = {"x": [1, 2, 3.0], "text": "a"}


class Rest:
    """A connection that speaks JSON."""

    def __init__(self, server: Server) -> None:
        assert server.rest_address is not None
        self.connection = http.client.HTTPConnection(server.rest_address, timeout=60)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self.connection.request(method, path, content)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.headers["Content-Type"].startswith("application/json"), text
        return answer.status, json.loads(text)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        return self.ask("POST", path, body)

    def get(self, path: str) -> tuple[int, Any]:
        return self.ask("GET", path)


@pytest.fixture(scope="module")
def rest(both: Server) -> Iterator[Rest]:
    rest = Rest(both)
    yield rest
    rest.connection.close()


def test_rows_in_predictions_out(rest: Rest) -> None:
    status, answer = rest.post("/v1/models/demo:predict", {"instances": [ROW, {**ROW, "text": "käse"}]})
    assert status == 200
    assert answer == {
        "predictions": [
            {"y": [6.0, 6.0], "echo": "a", "length": 1},
            {"y": [6.0, 6.0], "echo": "käse", "length": 5},
        ]
    }


def test_columns_in_outputs_out(rest: Rest) -> None:
    columns = {"inputs": {"x": [[1, 2, 3]], "text": ["a"]}}
    status, answer = rest.post("/v1/models/demo/versions/3:predict", columns)
    assert status == 200
    assert answer == {"outputs": {"y": [[6.0, 6.0]], "echo": ["a"], "length": [1]}}


def test_one_input_and_one_output_need_no_names(rest: Rest) -> None:
    assert rest.post("/v1/models/judge:predict", {"instances": [1, 3.0]}) == (
        200,
        {"predictions": [0.5, 1.5]},
    )
    assert rest.post("/v1/models/judge:predict", {"inputs": [1, 3.0]}) == (200, {"outputs": [0.5, 1.5]})
    named = {"instances": [{"x": 1}, {"x": 3}]}
    assert rest.post("/v1/models/judge:predict", named) == (200, {"predictions": [0.5, 1.5]})


def test_bytes_come_as_base64(rest: Rest) -> None:
    raw = base64.b64encode("käse".encode()).decode()
    status, answer = rest.post("/v1/models/demo:predict", {"instances": [{**ROW, "text": {"b64": raw}}]})
    assert (status, answer["predictions"][0]["echo"]) == (200, "käse")


def test_signatures_versions_and_labels_are_chosen(rest: Rest) -> None:
    body = {"signature_name": "mean", "instances": [[[[1, 2, 3.0]]]]}
    for choice in ("", "/versions/20", "/labels/stable"):
        status, answer = rest.post(f"/v1/models/demo{choice}:predict", body)
        assert (status, answer["predictions"][0]["mean"]) == (200, 2.0)


def test_routes_are_matched_as_tensorflow_serving_does(rest: Rest) -> None:
    assert rest.post("/V1/Models/judge:PREDICT", {"instances": [1]})[0] == 200
    assert rest.post("/v1/models/%6audge:predict", {"instances": [1]})[0] == 200
    for method, path in (
        ("POST", "/v1/models/judge"),
        ("POST", "/v1/models/judge:explain"),
        ("GET", "/v1/models/judge:predict"),
        ("PUT", "/v1/models/judge:predict"),
        ("GET", "/v1/models/judge/versions/x"),
    ):
        assert rest.ask(method, path, b"{}") == (400, {"error": f"Malformed request: {method} {path}"})
    assert rest.get("/v1/models") == (400, {"error": "Missing model name in request."})
    assert rest.get("/")[0] == 404
    number = "9" * 19
    answer = rest.post(f"/v1/models/judge/versions/{number}:predict", {"instances": [1]})
    assert answer == (400, {"error": f"Failed to convert version: {number} to numeric."})


def test_status_and_metadata(rest: Rest) -> None:
    ok = {"error_code": "OK", "error_message": ""}
    versions = [{"version": number, "state": "AVAILABLE", "status": ok} for number in ("20", "3")]
    assert rest.get("/v1/models/demo") == (200, {"model_version_status": versions})
    assert rest.get("/v1/models/demo/versions/3") == (200, {"model_version_status": versions[1:]})
    assert rest.get("/v1/models/demo/labels/next") == (200, {"model_version_status": versions[:1]})

    status, answer = rest.get("/v1/models/demo/labels/stable/metadata")
    assert status == 200
    spec = answer["model_spec"]
    assert (spec["name"], spec["version"]) == ("demo", "3")
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "3"]


def test_classify_and_regress(rest: Rest) -> None:
    body = {"signature_name": "judge", "examples": [{"x": 0.5}, {"x": [-1.0]}]}
    assert rest.post("/v1/models/judge:classify", body) == (
        200,
        {"results": [[["small", -0.5], ["large", 0.5]], [["small", 1.0], ["large", -1.0]]]},
    )
    body = {"signature_name": "double", "context": {"x": 0.2}, "examples": [{}, {"x": 1.5}]}
    assert rest.post("/v1/models/judge:regress", body) == (200, {"results": [0.4, 3.0]})


EXAMPLES = {"examples": [{"x": 1.0}]}
GOLDEN: list[tuple[str, Any, int, str]] = [
    ("demo:predict", b"", 400, "JSON Parse error: The document is empty"),
    ("demo:predict", b"[1]", 400, "JSON Value: [\n    1\n] Is not object"),
    ("demo:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    ("m:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(m)"),
    ("m/versions/9:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(m, 9)"),
    ("demo/labels/L:predict", {"instances": [1]}, 400, "Unrecognized servable version label: L"),
    (
        "demo:predict",
        {"signature_name": "s", "instances": [1]},
        400,
        'Serving signature name: "s" not found in signature def',
    ),
    (
        "demo:predict",
        {"signature_name": 1},
        400,
        'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    (
        "judge:predict",
        {"instances": [1], "inputs": 1},
        400,
        'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": 1\n} Not formatted correctly '
        "expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    (
        "judge:predict",
        {"instances": 1},
        400,
        "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array",
    ),
    (
        "judge:predict",
        {"instances": []},
        400,
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    (
        "demo:predict",
        {"instances": [1]},
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    (
        "demo:predict",
        {"inputs": [1]},
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    ("demo:predict", {"inputs": {"x": [[1, 2, 3]]}}, 400, "Missing named input: text in 'inputs' object."),
    (
        "judge:predict",
        {"instances": [{"x": 1}, 2]},
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        "judge:predict",
        {"instances": [1, {"x": 2}]},
        400,
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        "judge:predict",
        {"instances": [{"z": 1}]},
        400,
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does "
        "not have named input: z",
    ),
    (
        "demo:predict",
        {"instances": [{"text": "a"}]},
        400,
        'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "text": "a"\n} keys must be '
        "equal to: text,x",
    ),
    (
        "judge:predict",
        {"instances": [1, "b"]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"b\" Type: "
        "String is not of expected type: float",
    ),
    (
        "judge:predict",
        {"inputs": [1, True]},
        400,
        "JSON Value: true Type: True is not of expected type: float",
    ),
    (
        "judge:predict",
        {"inputs": [16777216]},
        400,
        "Cannot convert JSON value: 16777216 to float without loss of precision.",
    ),
    (
        "judge:predict",
        {"inputs": [[1, 2], [3]]},
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        "judge:predict",
        {"inputs": [[1], 2]},
        400,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    ("judge:predict", {"inputs": [1, [2]]}, 400, "Encountered list at unexpected level: 1 expected < 1"),
    (
        "judge:predict",
        {"instances": [[1, 2], [3]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 "
        "but got: 1",
    ),
    (
        "demo:predict",
        {"inputs": {"x": [[1, 2, 3]], "text": [{"b64": "?"}]}},
        400,
        "Unable to base64 decode",
    ),
    (
        "demo:predict",
        {"inputs": {"x": [[1, 2, 3]], "text": [{"b65": ""}]}},
        400,
        'JSON Value: {\n    "b65": ""\n} not formatted correctly for base64 data',
    ),
    (
        "judge:classify",
        {"signature_name": "s", **EXAMPLES},
        400,
        "No signature was found with the name: s",
    ),
    (
        "judge:regress",
        {"signature_name": "judge", **EXAMPLES},
        400,
        "Expected regression signature method_name to be tensorflow/serving/regress. "
        "Was: tensorflow/serving/classify",
    ),
    (
        "judge:classify",
        {},
        400,
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
    ),
    (
        "judge:classify",
        {"examples": 1},
        400,
        "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
    ),
    ("judge:classify", {"examples": [1]}, 400, "Example must be JSON object but got JSON Number"),
    (
        "judge:classify",
        {"examples": [{"x": None}]},
        400,
        "Feature: x has element with unexpected JSON type: Null",
    ),
    (
        "judge:classify",
        {"examples": [{"x": [1.0, "a"]}]},
        400,
        "Unexpected element type in feature: x expecting type: float",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"), GOLDEN, ids=[f"{row[0]}-{row[3][:40]}" for row in GOLDEN]
)
def test_requests_are_refused_with_the_status_and_the_words(
    rest: Rest, path: str, body: Any, status: int, message: str
) -> None:
    assert rest.post(f"/v1/models/{path}", body) == (status, {"error": message})


def test_statuses_are_refused_with_the_words(rest: Rest) -> None:
    assert rest.get("/v1/models/m") == (404, {"error": "Could not find any versions of model m"})
    answer = rest.get("/v1/models/demo/versions/9")
    assert answer == (404, {"error": "Could not find version 9 of model demo"})
    answer = rest.get("/v1/models/m/metadata")
    assert answer == (404, {"error": "Servable not found for request: Latest(m)"})


@pytest.mark.parametrize(
    "body", [b"{", b'{"instances": [1', b"\xff\xfe", b'{"instances": nope}', b"[" * 100_000]
)
def test_what_is_no_json_is_refused(rest: Rest, body: bytes) -> None:
    status, answer = rest.post("/v1/models/judge:predict", body)
    assert status == 400
    assert answer["error"].startswith("JSON Parse error: ")


def test_what_the_graph_refuses_is_a_bad_request(rest: Rest) -> None:
    body = {"instances": [{"x": [1.0], "text": "a"}]}
    status, answer = rest.post("/v1/models/demo:predict", body)
    assert status == 400
    assert answer["error"].startswith("Matrix size-incompatible")


def column(value: Any, dtype: int) -> Any:
    """The tensor that the only input of a signature becomes."""
    info = protos.message("tensorflow.TensorInfo")(dtype=dtype)
    request = protos.PredictRequest()
    rest_json.fill_predict({"inputs": value}, {"x": info}, request.inputs)
    return to_numpy(request.inputs["x"])


TYPES: list[tuple[int, Any]] = [
    *((1, np.float32), (2, np.float64), (3, np.int32), (4, np.uint8), (6, np.int8)),
    *((9, np.int64), (10, np.bool_), (22, np.uint32), (23, np.uint64)),
]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), kind=st.sampled_from(TYPES))
def test_numbers_go_in_and_come_back_unchanged(data: st.DataObject, kind: tuple[int, Any]) -> None:
    from hypothesis.extra import numpy as hnp

    number, dtype = kind
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)))
    response = protos.PredictResponse()
    response.outputs["x"].CopyFrom(to_proto(array, fields=True))
    plain = json.loads(rest_json.predict_body(response, rows=False))["outputs"]
    np.testing.assert_array_equal(column(plain, number), array)


def test_floats_are_written_in_their_shortest_form() -> None:
    response = protos.PredictResponse()
    response.outputs["x"].CopyFrom(to_proto(np.array([[0.2, math.inf, math.nan]], np.float32), fields=True))
    assert rest_json.predict_body(response, rows=True) == b'{"predictions": [[0.2, Infinity, NaN]]}'


def test_outputs_named_bytes_are_written_as_base64_and_others_as_they_are() -> None:
    response = protos.PredictResponse()
    response.outputs["image_bytes"].CopyFrom(to_proto([b"\xff"]))
    response.outputs["text"].CopyFrom(to_proto([b"\xff"]))
    body = rest_json.predict_body(response, rows=True)
    assert body == b'{"predictions": [{"image_bytes": {"b64": "/w=="}, "text": "\xff"}]}'


def test_rows_need_outputs_of_one_batch_size() -> None:
    response = protos.PredictResponse()
    response.outputs["a"].CopyFrom(to_proto([1.0]))
    response.outputs["b"].CopyFrom(to_proto([1.0, 2.0]))
    with pytest.raises(ServingError, match="Tensor name: b has inconsistent batch size: 2 expecting: 1"):
        rest_json.predict_body(response, rows=True)
    response.outputs["a"].CopyFrom(to_proto(1.0))
    with pytest.raises(ServingError, match="Tensor name: a has no shape information"):
        rest_json.predict_body(response, rows=True)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, np.uint16])
def test_types_that_json_cannot_carry_are_refused(dtype: Any) -> None:
    response = protos.PredictResponse()
    response.outputs["x"].CopyFrom(to_proto(np.zeros(1, dtype)))
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type"):
        rest_json.predict_body(response, rows=True)
    with pytest.raises(ServingError, match=r"Conversion of JSON Value: 1 to type") as caught:
        column([1], response.outputs["x"].dtype)
    assert caught.value.code == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("value", "dtype"), [(2**31, 3), (2**63, 9), (1.5, 9), (-1, 22), (2**64, 23), ("1", 9), (1, 7), (1, 10)]
)
def test_values_that_do_not_fit_the_type_are_refused(value: Any, dtype: int) -> None:
    with pytest.raises(ServingError, match="is not of expected type"):
        column([value], dtype)


@pytest.mark.parametrize("value", [1e39, -1e39, 10**40, 2**24])
def test_floats_that_lose_precision_are_refused(value: Any) -> None:
    with pytest.raises(ServingError, match="without loss of precision"):
        column([value], 1)
