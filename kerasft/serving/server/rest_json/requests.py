"""Requests of TensorFlow Serving's REST API, from their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kerasft.serving.errors import ServingError
from kerasft.serving.server.calls import invalid
from kerasft.serving.server.rest_json.values import (
    INT64,
    Column,
    check_floats,
    checked,
    is_object,
    kind_of,
    quoted,
)
from kerasft.serving.tensors import STRING


def parse(body: bytes) -> dict[str, Any]:
    """Reads the JSON object of a request.

    Raises:
        ServingError: If it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: Invalid value. ({error})") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quoted(document)} Is not object")
    return document


def signature_of(document: Mapping[str, Any]) -> str:
    """Returns the signature that a request names, or an empty string.

    Raises:
        ServingError: If the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"JSON Value: {quoted(document)} not formatted correctly. "
                      "'signature_name' key must be a string value.")  # fmt: skip
    return name


def fill_predict(document: Mapping[str, Any], infos: Mapping[str, Any], inputs: Any) -> bool:
    """Fills the inputs of a PredictRequest.

    Args:
        document: The request.
        infos: TensorInfo of each input of the signature.
        inputs: The map to fill.

    Returns:
        Whether it is in the row format (`instances`), in which the answer is to be given too.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    if "instances" in document:
        if "inputs" in document:
            raise invalid(f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of "
                          "'inputs' or 'instances' keys to exist ")  # fmt: skip
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {quoted(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {quoted(document)} No values in 'instances' array")
        _fill_rows(rows, infos, inputs)
        return True
    if "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    _fill_columns(document["inputs"], infos, inputs)
    return False


def _fill_rows(rows: list[Any], infos: Mapping[str, Any], inputs: Any) -> None:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid("instances is a plain list, but expecting list of objects as multiple input tensors "
                      "required as per tensorinfo_map")  # fmt: skip
    objects = is_object(rows[0])
    columns: dict[str, Column] = {}
    for index, row in enumerate(rows):
        if objects != is_object(row):
            raise invalid(
                f"Expecting object but got list at item {index} of input list"
                if objects
                else f"Expecting value/list but got object at item {index} of input list"
            )
        for name, value in row.items() if objects else [(next(iter(infos)), row)]:
            try:
                if name not in infos:
                    raise invalid(f"JSON object: does not have named input: {name}")
                columns.setdefault(name, Column(infos[name].dtype)).add(value)
            except ServingError as error:
                key = f" key: {name}" if objects else ""
                message = f"Failed to process element: {index}{key} of 'instances' list. Error: "
                raise invalid(f"{message}{error.code}: {error}") from error
        if objects and row.keys() != set(infos):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {quoted(row)} keys "
                f"must be equal to: {','.join(sorted(infos))}"
            )
    for name, column in columns.items():
        inputs[name].CopyFrom(column.tensor())


def _fill_columns(value: Any, infos: Mapping[str, Any], inputs: Any) -> None:
    if not is_object(value):
        if len(infos) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors "
                          "required as per tensorinfo_map")  # fmt: skip
        value = {next(iter(infos)): value}
    for name, info in infos.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        column = Column(info.dtype)
        column.add(value[name])
        inputs[name].CopyFrom(column.tensor(rows=False))


def fill_examples(document: Mapping[str, Any], input: Any) -> None:
    """Fills the Input of a ClassificationRequest or RegressionRequest.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    if "context" in document:
        _fill_example(document["context"], input.example_list_with_context.context)
        target = input.example_list_with_context.examples
    else:
        target = input.example_list.examples
    if "examples" not in document:
        raise invalid(f"JSON Value: {quoted(document)} When method is classify, key 'examples' is expected "
                      "and was not found")  # fmt: skip
    rows = document["examples"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {quoted(document)} Expecting 'examples' value to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {quoted(document)} 'examples' value is an empty array")
    for row in rows:
        _fill_example(row, target.add())


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind_of(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(item, name, feature)


_FEATURES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def _add_to_feature(value: Any, name: str, feature: Any) -> None:
    if value is None or isinstance(value, list) or is_object(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
    if isinstance(value, str | dict):
        kind = "bytes_list"
        value = checked(value, STRING)
    elif isinstance(value, float):
        kind = "float_list"
        check_floats([value], 1)
    else:
        kind = "int64_list"
        if not INT64[0] <= value <= INT64[1]:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {_FEATURES[found]}")
    getattr(feature, kind).value.append(int(value) if kind == "int64_list" else value)
