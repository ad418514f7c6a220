"""Classify, Regress and MultiInference: tf.Examples in; classes with scores, or numbers, out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server import calls
from kerasft.serving.server.calls import Array, Call, Signature, data_type, invalid
from kerasft.serving.tensors import dtype_number

_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


def classify(request: Any, *, version: int, signatures: Mapping[str, Signature]) -> Call:
    """Checks a ClassificationRequest.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    name, signature = _found(request.model_spec, signatures)
    feed, fetches = _classify_tensors(signature)
    examples = _examples(request.input)

    def finish(values: list[Array]) -> Any:
        response = protos.ClassificationResponse()
        calls.set_spec(response.model_spec, name=request.model_spec.name, version=version, signature=name)
        _fill_classes(response.result, signature, dict(zip(fetches, values, strict=True)), len(examples))
        return response

    return Call(feeds={feed: examples}, fetches=fetches, finish=finish, examples=len(examples))


def regress(request: Any, *, version: int, signatures: Mapping[str, Signature]) -> Call:
    """Checks a RegressionRequest.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    name, signature = _found(request.model_spec, signatures)
    feed, fetches = _regress_tensors(signature)
    examples = _examples(request.input)

    def finish(values: list[Array]) -> Any:
        response = protos.RegressionResponse()
        calls.set_spec(response.model_spec, name=request.model_spec.name, version=version, signature=name)
        _fill_numbers(response.result, signature, dict(zip(fetches, values, strict=True)), len(examples))
        return response

    return Call(feeds={feed: examples}, fetches=fetches, finish=finish, examples=len(examples))


def multi_inference(request: Any, *, version: int, signatures: Mapping[str, Signature]) -> Call:
    """Checks a MultiInferenceRequest: several signatures of one model on the same examples, in one run.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    feeds: set[str] = set()
    fetches: set[str] = set()
    seen: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = calls.signature_name(task.model_spec)
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if name not in signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _TENSORS:
            raise ServingError(f"Unsupported signature method_name: {task.method_name}", code="UNIMPLEMENTED")
        feed, outputs = _TENSORS[task.method_name](signatures[name])
        feeds.add(feed)
        fetches.update(outputs)
        if len(feeds) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
    examples, order = _examples(request.input), sorted(fetches)

    def finish(values: list[Array]) -> Any:
        response = protos.MultiInferenceResponse()
        tensors = dict(zip(order, values, strict=True))
        for task in request.tasks:
            name = calls.signature_name(task.model_spec)
            result = response.results.add()
            calls.set_spec(result.model_spec, name=task.model_spec.name, version=version, signature=name)
            if task.method_name == calls.CLASSIFY:
                _fill_classes(result.classification_result, signatures[name], tensors, len(examples))
            else:
                _fill_numbers(result.regression_result, signatures[name], tensors, len(examples))
        return response

    return Call(feeds=dict.fromkeys(feeds, examples), fetches=order, finish=finish, examples=len(examples))


def _found(spec: Any, signatures: Mapping[str, Signature]) -> tuple[str, Signature]:
    name = calls.signature_name(spec)
    if name not in signatures:
        raise invalid(f"No signature was found with the name: {name}")
    return name, signatures[name]


def _examples(message: Any) -> Array:
    """The serialized examples; a context that they share is put before each, which merges the two."""
    kind, context = message.WhichOneof("kind"), b""
    if kind == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
    rows = (
        [context + example.SerializeToString() for example in getattr(message, kind).examples] if kind else []
    )
    if not rows:
        raise invalid("Input is empty.")
    examples = np.empty(len(rows), dtype=object)
    examples[:] = rows
    return examples


def _check_method(signature: Signature, kind: str, method: str) -> None:
    if signature.method_name != method:
        raise invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")


def _precondition(message: str) -> ServingError:
    return ServingError(message, code="FAILED_PRECONDITION")


def _classify_tensors(signature: Signature) -> tuple[str, list[str]]:
    _check_method(signature, "classification", calls.CLASSIFY)
    outputs = signature.outputs
    if len(outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(outputs)}")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No classification inputs found in SignatureDef: {signature}")
    fetches = [outputs[alias].name for alias in (_CLASSES, _SCORES) if alias in outputs]
    if not fetches:
        raise _precondition("Expected classification signature outputs to contain at least one of "
                            f'"{_CLASSES}" or "{_SCORES}". Signature was: {signature}')  # fmt: skip
    return signature.inputs[_INPUTS].name, fetches


def _regress_tensors(signature: Signature) -> tuple[str, list[str]]:
    _check_method(signature, "regression", calls.REGRESS)
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No regression inputs found in SignatureDef: {signature}")
    if _OUTPUTS not in signature.outputs:
        raise _precondition(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs[_INPUTS].name, [signature.outputs[_OUTPUTS].name]


_TENSORS = {calls.CLASSIFY: _classify_tensors, calls.REGRESS: _regress_tensors}


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _matrix(alias: str, array: Array, wanted: str, rows: int) -> list[list[Any]]:
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if (found := data_type(dtype_number(array.dtype))) != wanted:
        raise invalid(f"Expected {alias} Tensor of {wanted}. Got: {found}")
    if len(array) != rows:
        raise invalid(f"Expected {alias} output batch size of {rows}. Got: {len(array)}")
    matrix: list[list[Any]] = array.tolist()
    return matrix


def _fill_classes(result: Any, signature: Signature, tensors: Mapping[str, Array], rows: int) -> None:
    outputs = signature.outputs
    labels = scores = None
    if _CLASSES in outputs:
        labels = _matrix(_CLASSES, tensors[outputs[_CLASSES].name], "DT_STRING", rows)
    if _SCORES in outputs:
        scores = _matrix(_SCORES, tensors[outputs[_SCORES].name], "DT_FLOAT", rows)
    if labels and scores and len(labels[0]) != len(scores[0]):
        raise invalid("Tensors class and score should match in dim_size(1). "
                      f"Got {len(labels[0])} vs. {len(scores[0])}")  # fmt: skip
    for row in range(rows):
        classes = result.classifications.add().classes
        for column in range(len((labels or scores or [[]])[row])):
            found = classes.add()
            if labels:
                found.label = labels[row][column].decode("utf-8", "replace")
            if scores:
                found.score = scores[row][column]


def _fill_numbers(result: Any, signature: Signature, tensors: Mapping[str, Array], rows: int) -> None:
    array = tensors[signature.outputs[_OUTPUTS].name]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid("Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
                      + _shape(array))  # fmt: skip
    if len(array) != rows:
        raise invalid(f"Input batch size did not match output batch size: {rows} vs. {len(array)}")
    if (found := data_type(dtype_number(array.dtype))) != "DT_FLOAT":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {found}")
    for value in array.reshape(-1).tolist():
        result.regressions.add().value = value
