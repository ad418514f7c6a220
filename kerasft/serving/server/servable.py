"""Answers requests about one loaded model with TensorFlow Serving's checks, status codes and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from kerasft.errors import ExportError
from kerasft.export import layout
from kerasft.export.runtime import Model, RuntimeFailure
from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.tensors import to_numpy, to_proto

_AVAILABLE = 30
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}  # TensorFlow numbers them alike.


def _invalid(message: str) -> ServingError:
    return ServingError(message, code="INVALID_ARGUMENT")


class Servable:
    """One version of one model.

    Args:
        name: What clients call the model.
        version: The version's number.
        model: The loaded model.
    """

    def __init__(self, *, name: str, version: int, model: Model) -> None:
        self.name = name
        self.version = version
        self.model = model

    def predict(self, request: Any) -> Any:
        """Answers a PredictRequest.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        self._find(request)
        name = request.model_spec.signature_name or layout.DEFAULT_SIGNATURE
        signature = self.model.signatures.get(name)
        if signature is None:
            raise ServingError(f'Serving signature key "{name}" not found.', code="FAILED_PRECONDITION")
        feeds = _feeds(signature, request.inputs)
        wanted = _wanted(signature, request.output_filter)
        try:
            values = self.model.run(feeds, [signature.outputs[alias].name for alias in wanted])
        except RuntimeFailure as failure:
            raise ServingError(str(failure), code=_CODES.get(failure.code, "UNKNOWN")) from failure
        except ExportError as error:
            raise ServingError(str(error), code="INTERNAL") from error
        response = protos.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = name
        for alias, value in zip(wanted, values, strict=True):
            response.outputs[alias].CopyFrom(to_proto(value, fields=True))
        return response

    def metadata(self, request: Any) -> Any:
        """Answers a GetModelMetadataRequest.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        if not request.HasField("model_spec"):
            raise _invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise _invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise _invalid(
                    f"Metadata field %s is not supported{field}"
                )  # Sic: TensorFlow Serving's own words.
        self._find(request)
        definitions = protos.SignatureDefMap()
        for name, definition in self.model.meta_graph.signature_def.items():
            definitions.signature_def[name].CopyFrom(definition)
        response = protos.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        packed = response.metadata["signature_def"]
        packed.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        packed.value = definitions.SerializeToString()
        return response

    def status(self, request: Any) -> Any:
        """Answers a GetModelStatusRequest.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        if not request.HasField("model_spec"):
            raise _invalid("Missing ModelSpec")
        spec = request.model_spec
        if spec.HasField("version") and (spec.name, spec.version.value) != (self.name, self.version):
            message = f"Could not find version {spec.version.value} of model {spec.name}"
            raise ServingError(message, code="NOT_FOUND")
        if spec.name != self.name:
            raise ServingError(f"Could not find any versions of model {spec.name}", code="NOT_FOUND")
        response = protos.GetModelStatusResponse()
        state = response.model_version_status.add()
        state.version, state.state = self.version, _AVAILABLE
        state.status.SetInParent()
        return response

    def _find(self, request: Any) -> None:
        if not request.HasField("model_spec"):
            raise _invalid("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise _invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise _invalid(f"Unrecognized servable version label: {spec.version_label}")
        if spec.name != self.name or (choice == "version" and spec.version.value != self.version):
            wanted = f"Specific({spec.name}, {spec.version.value})" if choice else f"Latest({spec.name})"
            raise ServingError(f"Servable not found for request: {wanted}", code="NOT_FOUND")


def _feeds(signature: Any, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    sent, known, defaults = set(inputs), set(signature.inputs), signature.defaults
    if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
        extra, missing = sent - known, known - sent
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_set(sent)}) != "
            f"len({_set(known)}). Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
        )
    feeds = {}
    for alias, info in sorted(signature.inputs.items()):
        if alias not in inputs and alias not in defaults:
            raise _invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {_set(sent)}, or default input alias "
                f"set: {','.join(sorted(defaults))}"
            )
        try:
            feeds[info.name] = to_numpy(inputs[alias] if alias in inputs else defaults[alias])
        except (ValueError, OverflowError, MemoryError) as error:
            raise _invalid(f"tensor parsing error: {alias}") from error
    if sent - known:
        used, all_sent = ",".join(sorted(sent & known)), ",".join(sorted(sent))
        raise _invalid(
            f"Inputs contains invalid name. Used request inputs: {used}, request input: {all_sent}"
        )
    return feeds


def _wanted(signature: Any, output_filter: Any) -> list[str]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise _invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_set(set(signature.outputs))}."
            )
        if alias in seen:
            raise _invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def _set(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
