"""The JSON of TensorFlow Serving's REST API: requests from it, responses to it."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from google.protobuf import json_format

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server.calls import invalid
from kerasft.serving.tensors import STRING, dtype_of, to_numpy, to_proto

# DataType number -> TensorFlow's name; what JSON can bring or carry.
_NAMES = {
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "half",
    22: "uint32",
    23: "uint64",
}
_FLOATS = (1, 2)
_INT32, _INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
_RANGES = {
    **dict.fromkeys((3, 4, 5, 6), _INT32),
    9: _INT64,
    22: (0, 2**32 - 1),
    23: (0, 2**64 - 1),
}
_FLOAT_INTEGERS = {1: 2**24 - 1, 2: 2**53 - 1}  # The largest integers that they surely hold exactly.
_LARGEST = {1: float(np.finfo(np.float32).max), 2: float(np.finfo(np.float64).max)}
_QUOTED = 500  # Characters of a value that a message quotes.


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
        raise invalid(f"JSON Value: {_quoted(document)} Is not object")
    return document


def signature_of(document: Mapping[str, Any]) -> str:
    """Returns the signature that a request names, or an empty string.

    Raises:
        ServingError: If the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"JSON Value: {_quoted(document)} not formatted correctly. "
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
            raise invalid(f"JSON Value: {_quoted(document)} Not formatted correctly expecting only one of "
                          "'inputs' or 'instances' keys to exist ")  # fmt: skip
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {_quoted(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {_quoted(document)} No values in 'instances' array")
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
    objects = _is_object(rows[0])
    columns: dict[str, _Column] = {}
    for index, row in enumerate(rows):
        if objects != _is_object(row):
            raise invalid(
                f"Expecting object but got list at item {index} of input list"
                if objects
                else f"Expecting value/list but got object at item {index} of input list"
            )
        for name, value in row.items() if objects else [(next(iter(infos)), row)]:
            try:
                if name not in infos:
                    raise invalid(f"JSON object: does not have named input: {name}")
                columns.setdefault(name, _Column(infos[name].dtype)).add(value)
            except ServingError as error:
                key = f" key: {name}" if objects else ""
                message = f"Failed to process element: {index}{key} of 'instances' list. Error: "
                raise invalid(f"{message}{error.code}: {error}") from error
        if objects and row.keys() != set(infos):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_quoted(row)} keys "
                f"must be equal to: {','.join(sorted(infos))}"
            )
    for name, column in columns.items():
        inputs[name].CopyFrom(column.tensor())


def _fill_columns(value: Any, infos: Mapping[str, Any], inputs: Any) -> None:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors "
                          "required as per tensorinfo_map")  # fmt: skip
        value = {next(iter(infos)): value}
    for name, info in infos.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        column = _Column(info.dtype)
        column.add(value[name])
        inputs[name].CopyFrom(column.tensor(rows=False))


class _Column:
    """One tensor, made of values of one shape."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._values: list[Any] = []
        self._count = 0
        self._shape: list[int] | None = None

    def add(self, value: Any) -> None:
        shape: list[int] = []
        inner = value
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        before = len(self._values)
        self._fill(value, 0, shape)
        if self._shape is None:
            self._shape = shape
        elif shape != self._shape:
            wanted = len(self._values) - before, before // self._count
            if wanted[0] != wanted[1]:
                raise invalid(f"Expecting tensor size: {wanted[1]} but got: {wanted[0]}")
            raise invalid(f"Expecting shape {_listed(self._shape)} but got: {_listed(shape)}")
        self._count += 1

    def tensor(self, *, rows: bool = True) -> Any:
        """Returns a TensorProto of the values that were added, stacked unless there is only one."""
        shape = [*([self._count] if rows else []), *(self._shape or [])]
        if self._dtype == STRING:
            array: np.ndarray = np.empty(len(self._values), dtype=object)
            array[:] = self._values
        else:
            array = np.array(self._values, dtype=_wide(self._dtype)).astype(dtype_of(self._dtype))
        return to_proto(array.reshape(shape))

    def _fill(self, value: Any, level: int, shape: list[int]) -> None:
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(f"JSON Value: {_quoted(value)} found at incorrect level: {level + 1} in the "
                              f"JSON DOM. Expected at level: {len(shape)}")  # fmt: skip
            self._values.append(_checked(value, self._dtype))
            return
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(f"Encountered list at unexpected size: {len(value)} at level: {level} "
                          f"expected size: {shape[level]}")  # fmt: skip
        if level == len(shape) - 1 and self._dtype in _FLOATS and {*map(type, value)} == {float}:
            self._values.extend(value)
            _check_floats(self._values[len(self._values) - len(value) :], self._dtype)
        else:
            for inner in value:
                self._fill(inner, level + 1, shape)


def _wide(dtype: int) -> Any:
    if dtype in _FLOATS:
        return np.float64
    return {10: np.bool_, 23: np.uint64}.get(dtype, np.int64)


def _check_floats(values: list[float], dtype: int) -> None:
    if dtype == 1:
        wide = np.abs(np.array(values))
        lossy = np.isfinite(wide) & (wide > _LARGEST[dtype])
        if lossy.any():
            _lossy(values[int(np.argmax(lossy))], dtype)


def _checked(value: Any, dtype: int) -> Any:
    """Returns a JSON value as what a tensor of a type holds."""
    if isinstance(value, dict):
        if dtype != STRING:
            _wrong_type(value, dtype)
        return _decoded(value)
    if dtype == STRING:
        if not isinstance(value, str):
            _wrong_type(value, dtype)
        return value.encode("utf-8", "surrogatepass")
    if dtype == 10:
        if not isinstance(value, bool):
            _wrong_type(value, dtype)
    elif dtype in _FLOATS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _wrong_type(value, dtype)
        if isinstance(value, int):
            if -(2**63) <= value < 2**64:
                if abs(value) > _FLOAT_INTEGERS[dtype]:
                    _lossy(value, dtype)
            elif abs(value) > _LARGEST[dtype]:
                _lossy(value, dtype)
        else:
            _check_floats([value], dtype)
    elif dtype in _RANGES:
        low, high = _RANGES[dtype]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            _wrong_type(value, dtype)
    else:
        raise ServingError(
            f"Conversion of JSON Value: {_quoted(value)} to type: {_name(dtype)}", code="UNIMPLEMENTED"
        )
    return value


def _name(dtype: int) -> str:
    return _NAMES.get(dtype, f"DataType {dtype}")


def _wrong_type(value: Any, dtype: int) -> NoReturn:
    raise invalid(
        f"JSON Value: {_quoted(value)} Type: {_kind(value)} is not of expected type: {_name(dtype)}"
    )


def _lossy(value: Any, dtype: int) -> NoReturn:
    raise invalid(f"Cannot convert JSON value: {_quoted(value)} to {_name(dtype)} without loss of precision.")


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    kinds: dict[type, str] = {str: "String", list: "Array", dict: "Object"}
    return kinds.get(type(value), "Number")


def _quoted(value: Any) -> str:
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "...TRUNCATED"


def _listed(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _decoded(value: Any) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_quoted(value)} not formatted correctly for base64 data")
    text = value["b64"].translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


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
        raise invalid(f"JSON Value: {_quoted(document)} When method is classify, key 'examples' is expected "
                      "and was not found")  # fmt: skip
    rows = document["examples"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_quoted(document)} Expecting 'examples' value to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {_quoted(document)} 'examples' value is an empty array")
    for row in rows:
        _fill_example(row, target.add())


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_kind(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(item, name, feature)


_FEATURES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def _add_to_feature(value: Any, name: str, feature: Any) -> None:
    if value is None or isinstance(value, list) or _is_object(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_kind(value)}")
    if isinstance(value, str | dict):
        kind = "bytes_list"
        value = _checked(value, STRING)
    elif isinstance(value, float):
        kind = "float_list"
        _check_floats([value], 1)
    else:
        kind = "int64_list"
        if not _INT64[0] <= value <= _INT64[1]:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {_FEATURES[found]}")
    getattr(feature, kind).value.append(int(value) if kind == "int64_list" else value)


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
    if tensor.dtype != 2 and tensor.dtype != 10 and tensor.dtype not in _RANGES:
        raise invalid(f"Failed to write JSON value for tensor type: {_name(tensor.dtype)}")
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
