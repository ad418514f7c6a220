"""Responses of TensorFlow Serving's REST API, into their JSON."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import numpy as np
from google.protobuf import json_format

from kerasft.serving import protos
from kerasft.serving.server.calls import invalid
from kerasft.serving.server.rest_json.values import RANGES, name_of
from kerasft.serving.tensors import STRING, to_numpy


def predict_body(response: Any, *, rows: bool) -> bytes:
    """Writes a PredictResponse, in the row format (`predictions`) or by columns (`outputs`).

    Raises:
        ServingError: With the code and message of TensorFlow Serving, if JSON cannot hold it.
    """
    tensors = dict(sorted(response.outputs.items()))
    columns = {name: _plain(name, tensor) for name, tensor in tensors.items()}
    if not rows:
        return _dumps({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    size = None
    for name, tensor in tensors.items():
        if not tensor.tensor_shape.dim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        found = tensor.tensor_shape.dim[0].size
        if size is not None and found != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {found} expecting: {size}")
        size = found
    if len(columns) == 1:
        return _dumps({"predictions": next(iter(columns.values()))})
    return _dumps(
        {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}
    )


def _plain(name: str, tensor: Any) -> Any:
    array = to_numpy(tensor)
    if tensor.dtype == STRING:
        if name.endswith("_bytes"):
            flat = [{"b64": base64.b64encode(item).decode()} for item in array.reshape(-1).tolist()]
        else:
            flat = [item.decode("utf-8", "surrogateescape") for item in array.reshape(-1).tolist()]
        return _nested(flat, array.shape)
    if tensor.dtype == 1:
        # By way of its shortest decimal form: 0.2 and not 0.20000000298.
        return _nested(list(map(float, array.reshape(-1).astype("U"))), array.shape)
    if tensor.dtype != 2 and tensor.dtype != 10 and tensor.dtype not in RANGES:
        raise invalid(f"Failed to write JSON value for tensor type: {name_of(tensor.dtype)}")
    return array.tolist()


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        if not size:
            return np.empty(shape).tolist()
        items = iter(flat)
        flat = [list(itertools.islice(items, size)) for _ in range(len(flat) // size)]
    return flat


def classify_body(response: Any) -> bytes:
    """Writes a ClassificationResponse."""
    rows = response.result.classifications
    return _dumps({"results": [[[c.label, _shortest(c.score)] for c in row.classes] for row in rows]})


def regress_body(response: Any) -> bytes:
    """Writes a RegressionResponse."""
    return _dumps({"results": [_shortest(row.value) for row in response.result.regressions]})


def status_body(response: Any) -> bytes:
    """Writes a GetModelStatusResponse."""
    return json.dumps(_dict(response), indent=1).encode()


def metadata_body(response: Any) -> bytes:
    """Writes a GetModelMetadataResponse."""
    definitions = protos.SignatureDefMap.FromString(response.metadata["signature_def"].value)
    document = {
        "model_spec": _dict(response.model_spec),
        "metadata": {"signature_def": _dict(definitions)},
    }
    return json.dumps(document, indent=1).encode()


def error_body(message: str) -> bytes:
    """Writes an error."""
    return _dumps({"error": message})


def _shortest(value: float) -> float:
    return float(str(np.float32(value)))


def _dict(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _dumps(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
