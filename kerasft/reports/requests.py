"""Example requests for a served model."""

from __future__ import annotations

import base64
import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 200  # bytes that an example may spell out; more is the content of a file
# Keywords of Client.predict itself.
_OPTIONS = {"label", "model", "output_filter", "signature", "timeout", "version"}


def python_request(model: str, signature: str, inputs: Mapping[str, Sequence[Any]]) -> str:
    """Returns Python code that asks a model over gRPC.

    Example:
        >>> print(python_request("reviews", "serving_default", {"text": ["what a film"]}))
        from kerasft.serving.client import Client
        <BLANKLINE>
        with Client("localhost:8500") as client:
            answer = client.predict(text=["what a film"], model="reviews")
    """
    options = f"model={_literal(model)}"
    if signature != "serving_default":
        options += f", signature={_literal(signature)}"
    named = {name: _values(values) for name, values in inputs.items()}
    if all(name.isidentifier() and not keyword.iskeyword(name) and name not in _OPTIONS for name in named):
        given = ", ".join(f"{name}={values}" for name, values in named.items())
    else:
        given = "{" + ", ".join(f"{_literal(name)}: {values}" for name, values in named.items()) + "}"
    lines = ["from kerasft.serving.client import Client", ""]
    if any(_is_file(value) for values in inputs.values() for value in values):
        lines.insert(0, "from pathlib import Path\n")
    lines += ['with Client("localhost:8500") as client:', f"    answer = client.predict({given}, {options})"]
    return "\n".join(lines)


def rest_request(signature: str, inputs: Mapping[str, Sequence[Any]]) -> str:
    """Returns the JSON body of a request to TensorFlow Serving's REST API.

    Example:
        >>> print(rest_request("serving_default", {"text": ["what a film"]}))
        {
          "signature_name": "serving_default",
          "inputs": {
            "text": ["what a film"]
          }
        }
    """
    columns = ",\n    ".join(
        f"{json.dumps(name)}: {json.dumps(list(values), ensure_ascii=False, default=_json)}"
        for name, values in inputs.items()
    )
    return f'{{\n  "signature_name": {json.dumps(signature)},\n  "inputs": {{\n    {columns}\n  }}\n}}'


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) > _LONGEST


def _values(values: Sequence[Any]) -> str:
    return f"[{', '.join(_literal(value) for value in values)}]"


def _literal(value: Any) -> str:
    if _is_file(value):
        return 'Path("FILE").read_bytes()'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    if isinstance(value, (list, tuple)):
        return _values(value)
    return repr(_json(value)) if hasattr(value, "tolist") else repr(value)


def _json(value: Any) -> Any:
    """Turns arrays and bytes into what JSON knows, as TensorFlow Serving reads it."""
    if isinstance(value, bytes):
        return {"b64": "BASE64 OF A FILE" if _is_file(value) else base64.b64encode(value).decode()}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
