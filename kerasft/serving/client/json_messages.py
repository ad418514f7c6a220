"""The JSON form of what a client asks: which page, the body, and how to read the response."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from kerasft.serving import protos, tensors
from kerasft.serving.client import asks
from kerasft.serving.client.asks import Array, Spec
from kerasft.serving.client.channel import senseless
from kerasft.serving.client.examples import features
from kerasft.serving.client.values import BINARY, to_array
from kerasft.serving.errors import InvalidArgumentError, UnimplementedError


class Form(NamedTuple):
    """How one kind of ask travels.

    Args:
        path: What follows the model in the path.
        write: Turns an ask into the JSON body; None where there is none (GET).
        read: Turns the JSON of the response and the ask into the answer.
    """

    path: str
    write: Callable[[Any], Any] | None
    read: Callable[[Any, Any], Any]


def to_json(name: str, array: Array) -> Any:
    """Returns an array as nested lists.

    Strings that are not UTF-8, and all of a tensor whose name ends in `_bytes`, become `{"b64": "..."}`.

    Example:
        >>> to_json("text", np.array([b"Kino", b"\\xff"], dtype=object))
        ['Kino', {'b64': '/w=='}]
    """
    if not array.dtype.hasobject:
        return array.tolist()
    encoded = np.empty(array.shape, dtype=object)
    encoded.reshape(-1)[:] = [_text(item, binary=name.endswith(BINARY)) for item in array.reshape(-1)]
    return encoded.tolist()


def _text(item: bytes, *, binary: bool) -> Any:
    if not binary:
        try:
            return item.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(item).decode()}


def _from_json(value: Any, tensor: Any) -> Array:
    """Returns nested lists as an array of a signature's type."""
    if tensor.dtype == tensors.STRING:
        return to_array(_strings(value), tensors.STRING)
    array: Array = np.array(value, dtype=tensors.dtype_of(tensor.dtype))
    return array


def _strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_strings(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no string")
    return value.encode(errors="surrogateescape")


def _write_predict(ask: asks.Predict) -> Any:
    inputs = {name: to_json(name, array) for name, array in ask.inputs.items()}
    return {"signature_name": ask.signature, "inputs": inputs}


def _read_predict(content: Any, ask: asks.Predict) -> Any:
    assert ask.outputs is not None  # a client that speaks JSON always knows the signature
    outputs = content["outputs"]
    if len(ask.outputs) == 1:
        outputs = dict.fromkeys(ask.outputs, outputs)
    # The API has no filter.
    names = ask.output_filter or sorted(ask.outputs)
    return {name: _from_json(outputs[name], ask.outputs[name]) for name in names}


def _write_examples(ask: asks.Classify | asks.Regress) -> Any:
    kind = ask.input.WhichOneof("kind")
    given = getattr(ask.input, kind)
    rows = [_features(example) for example in given.examples]
    body: dict[str, Any] = {"signature_name": ask.signature, "examples": rows}
    if kind == "example_list_with_context":
        body["context"] = _features(given.context)
    return body


def _features(example: Any) -> dict[str, Any]:
    found = {}
    for name, values in features(example).items():
        encoded = [_text(v, binary=name.endswith(BINARY)) if isinstance(v, bytes) else v for v in values]
        found[name] = encoded[0] if len(encoded) == 1 else encoded
    return found


def _read_metadata(content: Any, _: asks.Metadata) -> Any:
    from google.protobuf import json_format

    found = content["metadata"]["signature_def"]
    return json_format.ParseDict(found, protos.SignatureDefMap(), ignore_unknown_fields=True).signature_def


def _read_status(content: Any, _: asks.Status) -> Any:
    from google.protobuf import json_format

    response = protos.GetModelStatusResponse()
    return asks.states(json_format.ParseDict(content, response, ignore_unknown_fields=True))


FORMS: dict[type, Form] = {
    asks.Predict: Form(":predict", _write_predict, _read_predict),
    asks.Classify: Form(":classify", _write_examples, lambda content, _: asks.classes(content["results"])),
    asks.Regress: Form(
        ":regress", _write_examples, lambda content, _: np.array(content["results"], dtype=np.float32)
    ),
    asks.Metadata: Form("/metadata", None, _read_metadata),
    asks.Status: Form("", None, _read_status),
}


def write(ask: Any) -> tuple[str, bytes | None]:
    """Returns the path and the body of the request.

    Raises:
        UnimplementedError: If REST has no such call.
        InvalidArgumentError: If JSON cannot say it.
    """
    form = FORMS.get(type(ask))
    if form is None:
        raise UnimplementedError(
            "TensorFlow Serving's REST API answers neither multi_inference nor reload_config: ask over gRPC"
        )
    path = f"/v1/models/{_place(ask.spec)}{form.path}"
    if form.write is None:
        return path, None
    try:
        return path, json.dumps(form.write(ask)).encode()
    except TypeError as error:
        raise InvalidArgumentError(f"the inputs cannot be sent as JSON: {error}") from error


def _place(spec: Spec) -> str:
    place = quote(spec.name, safe="")
    if spec.version is not None:
        return f"{place}/versions/{spec.version}"
    return place if spec.label is None else f"{place}/labels/{quote(spec.label, safe='')}"


def read(ask: Any, body: bytes, *, where: str) -> Any:
    """Reads the answer to an ask.

    Raises:
        InternalError: If it makes no sense.
    """
    from google.protobuf.json_format import ParseError

    try:
        # TensorFlow Serving writes strings that are not UTF-8 as they are: so they survive.
        return FORMS[type(ask)].read(json.loads(body.decode(errors="surrogateescape")), ask)
    except (KeyError, TypeError, ValueError, binascii.Error, ParseError) as error:
        raise senseless(where, error) from error
