"""What every request to a model comes down to: tensors to feed, tensors to fetch, an answer made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from kerasft.export import layout
from kerasft.serving import protos
from kerasft.serving.errors import ServingError

Array = np.ndarray[Any, Any]

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """A SignatureDef, read once: its maps, in the order of their keys, as dicts of their messages."""

    method_name: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    defaults: dict[str, Any]
    definition: Any

    @classmethod
    def of(cls, definition: Any) -> Signature:
        """Reads a SignatureDef."""
        return cls(
            method_name=definition.method_name,
            inputs=dict(sorted(definition.inputs.items())),
            outputs=dict(sorted(definition.outputs.items())),
            defaults=dict(sorted(definition.defaults.items())),
            definition=definition,
        )

    def __str__(self) -> str:
        return str(self.definition)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A checked request.

    Attributes:
        feeds: An array for each tensor to feed.
        fetches: The tensors to compute.
        finish: Turns their arrays into the response.
        examples: How many examples the request brought, for those that bring examples.
    """

    feeds: dict[str, Array]
    fetches: list[str]
    finish: Callable[[list[Array]], Any]
    examples: int | None = None


def invalid(message: str) -> ServingError:
    """Returns an INVALID_ARGUMENT to raise."""
    return ServingError(message, code="INVALID_ARGUMENT")


def braced(names: Iterable[str]) -> str:
    """Writes names as TensorFlow Serving does in its messages: `{a,b}`."""
    return "{" + ",".join(sorted(names)) + "}"


def signature_name(spec: Any) -> str:
    """Returns the signature that a ModelSpec asks for."""
    return spec.signature_name or layout.DEFAULT_SIGNATURE


def set_spec(spec: Any, *, name: str, version: int, signature: str) -> None:
    """Fills in the ModelSpec of a response."""
    spec.name = name
    spec.version.value = version
    spec.signature_name = signature


_DATA_TYPES = protos.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number


def data_type(number: int) -> str:
    """Returns a DataType's name, such as `"DT_FLOAT"`."""
    return str(_DATA_TYPES[number].name) if number in _DATA_TYPES else f"DataType {number}"
