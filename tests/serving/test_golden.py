"""Every refusal of TensorFlow Serving, asked for with the official stubs of tensorflow-serving-api."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kerasft.serving.server import Server

X = np.array([[1, 2, 3]], np.float32)


@pytest.fixture(scope="module")
def channel(both: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(both.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def predictions(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def fill_spec(
    spec: Any,
    name: str = "demo",
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str | None = None,
) -> None:
    spec.name = name
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    if signature is not None:
        spec.signature_name = signature


def predict_request(
    inputs: dict[str, Any] | None = None, filter: tuple[str, ...] = (), **spec: Any
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=filter)
    fill_spec(request.model_spec, **spec)
    for name, value in ({"x": X, "text": ["a"]} if inputs is None else inputs).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def examples(*values: float) -> input_pb2.Input:
    """tf.Examples with a feature `x`."""
    feature = [tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for value in values]
    rows = [tf.train.Example(features=tf.train.Features(feature={"x": x})) for x in feature]
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=rows))


def classify_request(*values: float, **spec: Any) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest(input=examples(*values))
    fill_spec(request.model_spec, "judge", **spec)
    return request


def regress_request(*values: float, **spec: Any) -> regression_pb2.RegressionRequest:
    request = regression_pb2.RegressionRequest(input=examples(*values))
    fill_spec(request.model_spec, "judge", **spec)
    return request


def multi_request(*tasks: tuple[str, str], names: tuple[str, ...] = ()) -> Any:
    request = inference_pb2.MultiInferenceRequest(input=examples(0.5, -1.0))
    for index, (signature, method) in enumerate(tasks):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        fill_spec(task.model_spec, names[index] if names else "judge", signature=signature)
    return request


def corrupt() -> predict_pb2.PredictRequest:
    request = predict_request()
    request.inputs["x"].tensor_content = b"123"
    return request


def no_spec() -> predict_pb2.PredictRequest:
    request = predict_request()
    request.ClearField("model_spec")
    return request


Refusal = tuple[Callable[[], Any], str, str]

PREDICT: list[Refusal] = [
    (no_spec, "INVALID_ARGUMENT", "Missing ModelSpec"),
    (lambda: predict_request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (
        lambda: predict_request(name="m"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    (
        lambda: predict_request(name="m", version=9),
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 9)",
    ),
    (
        lambda: predict_request(version=9),
        "NOT_FOUND",
        "Servable not found for request: Specific(demo, 9)",
    ),
    (
        lambda: predict_request(label="L"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: L",
    ),
    (
        lambda: predict_request(signature="s"),
        "FAILED_PRECONDITION",
        'Serving signature key "s" not found.',
    ),
    (
        lambda: predict_request({}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=2 len({}) != len({text,x}). Sent extra: {}. "
        "Missing but required: {text,x}.",
    ),
    (
        lambda: predict_request({"x": X, "text": ["a"], "z": [1]}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 3!=2 len({text,x,z}) != len({text,x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    (
        lambda: predict_request({"z": X, "text": ["a"]}),
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
        "provided. Inputs expected to be in the request {text,z}, or default input alias set: ",
    ),
    (corrupt, "INVALID_ARGUMENT", "tensor parsing error: x"),
    (
        lambda: predict_request({"x": X.astype(np.int64), "text": ["a"]}),
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but int64 is provided",
    ),
    (
        lambda: predict_request({"x": X.astype(np.int64)}, name="judge"),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but int64 is provided",
    ),
    (
        lambda: predict_request(filter=("a",)),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: a Outputs expected to be in the set {echo,length,y}.",
    ),
    (
        lambda: predict_request(filter=("y", "y")),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
]

CLASSIFY: list[Refusal] = [
    (
        lambda: classification_pb2.ClassificationRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    (
        lambda: classify_request(1, signature="s"),
        "INVALID_ARGUMENT",
        "No signature was found with the name: s",
    ),
    (
        lambda: classify_request(1, signature="double"),
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress",
    ),
    (
        lambda: classify_request(1),
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/predict",
    ),
    (lambda: classify_request(signature="judge"), "INVALID_ARGUMENT", "Input is empty."),
]

REGRESS: list[Refusal] = [
    (
        lambda: regress_request(1, signature="s"),
        "INVALID_ARGUMENT",
        "No signature was found with the name: s",
    ),
    (
        lambda: regress_request(1, signature="judge"),
        "INVALID_ARGUMENT",
        "Expected regression signature method_name to be tensorflow/serving/regress. "
        "Was: tensorflow/serving/classify",
    ),
    (lambda: regress_request(signature="double"), "INVALID_ARGUMENT", "Input is empty."),
    (
        lambda: regress_request(1, 2, signature="total"),
        "INVALID_ARGUMENT",
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
    ),
]

MULTI: list[Refusal] = [
    (
        lambda: inference_pb2.MultiInferenceRequest(),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    (
        lambda: multi_request(("s", "classify")),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: s",
    ),
    (
        lambda: multi_request(("judge", "classify"), ("judge", "classify")),
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: judge",
    ),
    (
        lambda: multi_request(("judge", "classify"), ("double", "regress"), names=("judge", "demo")),
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    (
        lambda: multi_request(("judge", "classify"), ("double", "regress"), names=("judge", "")),
        "INVALID_ARGUMENT",
        "Found ModelSpec with an empty model name.",
    ),
    (
        lambda: multi_request(("judge", "classify"), ("double", "regress")),
        "INVALID_ARGUMENT",
        "Input tensor must be the same for all Signatures.",
    ),
    (
        lambda: multi_request(("judge", "predict")),
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
]


def metadata_request(*fields: str, **spec: Any) -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    fill_spec(request.model_spec, **spec)
    return request


METADATA: list[Refusal] = [
    (
        lambda: get_model_metadata_pb2.GetModelMetadataRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    (
        lambda: metadata_request(),
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    (
        lambda: metadata_request("size"),
        "INVALID_ARGUMENT",
        "Metadata field %s is not supportedsize",
    ),
    (
        lambda: metadata_request("signature_def", name="m"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
]


def status_request(**spec: Any) -> get_model_status_pb2.GetModelStatusRequest:
    request = get_model_status_pb2.GetModelStatusRequest()
    fill_spec(request.model_spec, **spec)
    return request


STATUS: list[Refusal] = [
    (
        lambda: get_model_status_pb2.GetModelStatusRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    (
        lambda: status_request(name="m"),
        "NOT_FOUND",
        "Could not find any versions of model m",
    ),
    (
        lambda: status_request(name="demo", version=9),
        "NOT_FOUND",
        "Could not find version 9 of model demo",
    ),
]

TABLE = [
    *(("Predict", *row) for row in PREDICT),
    *(("Classify", *row) for row in CLASSIFY),
    *(("Regress", *row) for row in REGRESS),
    *(("MultiInference", *row) for row in MULTI),
    *(("GetModelMetadata", *row) for row in METADATA),
]


def refused(call: Callable[..., Any], request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    error: Any = caught.value
    return error.code().name, error.details()


@pytest.mark.parametrize(
    ("method", "request_of", "code", "message"), TABLE, ids=[f"{row[0]}-{row[3][:40]}" for row in TABLE]
)
def test_predictions_are_refused_with_the_code_and_the_words(
    predictions: Any, method: str, request_of: Callable[[], Any], code: str, message: str
) -> None:
    assert refused(getattr(predictions, method), request_of()) == (code, message)


@pytest.mark.parametrize(("request_of", "code", "message"), STATUS, ids=[row[2] for row in STATUS])
def test_statuses_are_refused_with_the_code_and_the_words(
    models: Any, request_of: Callable[[], Any], code: str, message: str
) -> None:
    assert refused(models.GetModelStatus, request_of()) == (code, message)


def test_messages_are_cut_at_1024_characters(predictions: Any) -> None:
    code, message = refused(predictions.Predict, predict_request(signature="s" * 2000))
    assert code == "FAILED_PRECONDITION"
    assert message == f'Serving signature key "{"s" * 2000}'[:1024] + "...TRUNCATED"


def test_predict_answers_with_values_one_by_one(predictions: Any) -> None:
    response = predictions.Predict(predict_request(label="stable", filter=("y", "echo")), timeout=60)
    assert response.outputs["y"].float_val[:] == [6.0, 6.0]
    assert response.outputs["echo"].string_val[:] == [b"a"]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("demo", 3, "serving_default")
    assert predictions.Predict(predict_request(), timeout=60).model_spec.version.value == 20


def test_classify_answers_with_classes_and_scores(predictions: Any) -> None:
    response = predictions.Classify(classify_request(0.5, -1.0, signature="judge"), timeout=60)
    rows = [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]
    assert rows == [[("small", -0.5), ("large", 0.5)], [("small", 1.0), ("large", -1.0)]]
    assert response.model_spec.signature_name == "judge"
    only_scores = predictions.Classify(classify_request(0.5, signature="scores"), timeout=60)
    assert [(c.label, c.score) for c in only_scores.result.classifications[0].classes] == [("", 0.5)]


def test_regress_answers_with_numbers(predictions: Any) -> None:
    response = predictions.Regress(regress_request(0.5, -1.0, signature="double"), timeout=60)
    assert [row.value for row in response.result.regressions] == [1.0, -2.0]


def test_a_context_is_shared_by_all_examples(predictions: Any) -> None:
    context = examples(3.0).example_list.examples[0]
    request = regress_request(signature="double")
    request.input.Clear()
    request.input.example_list_with_context.context.CopyFrom(context)
    request.input.example_list_with_context.examples.add()
    request.input.example_list_with_context.examples.extend(examples(7.0).example_list.examples)
    response = predictions.Regress(request, timeout=60)
    assert [row.value for row in response.result.regressions] == [6.0, 14.0]


def test_multi_inference_answers_for_each_task(predictions: Any) -> None:
    response = predictions.MultiInference(multi_request(("scores", "classify")), timeout=60)
    (result,) = response.results
    assert [row.classes[0].score for row in result.classification_result.classifications] == [0.5, -1.0]
    assert (result.model_spec.name, result.model_spec.version.value) == ("judge", 1)
    regressed = predictions.MultiInference(multi_request(("double", "regress")), timeout=60)
    assert [row.value for row in regressed.results[0].regression_result.regressions] == [1.0, -2.0]


def test_metadata_holds_the_signatures(predictions: Any) -> None:
    response = predictions.GetModelMetadata(metadata_request("signature_def", version=3), timeout=60)
    assert (response.model_spec.name, response.model_spec.version.value) == ("demo", 3)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert {"serving_default", "mean"} <= set(found.signature_def)


def test_the_status_of_every_version_is_told(models: Any) -> None:
    response = models.GetModelStatus(status_request(name="demo"), timeout=60)
    assert [(v.version, v.state, v.status.error_code) for v in response.model_version_status] == [
        (20, 30, 0),
        (3, 30, 0),
    ]


def test_only_lists_of_models_can_be_reloaded(models: Any) -> None:
    code, message = refused(models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
    assert (code, message) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )
