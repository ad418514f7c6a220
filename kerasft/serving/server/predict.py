"""Predict: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server import calls
from kerasft.serving.server.calls import Array, Call, Signature, braced, invalid
from kerasft.serving.tensors import to_numpy, to_proto

_METHODS = (calls.PREDICT, calls.CLASSIFY, calls.REGRESS)


def prepare(request: Any, *, version: int, signatures: Mapping[str, Signature]) -> Call:
    """Checks a PredictRequest.

    Raises:
        ServingError: With the code and message of TensorFlow Serving.
    """
    name = calls.signature_name(request.model_spec)
    signature = signatures.get(name)
    if signature is None:
        raise ServingError(f'Serving signature key "{name}" not found.', code="FAILED_PRECONDITION")
    if signature.method_name not in _METHODS:
        message = f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. "
        raise ServingError(message + f"Was: {signature.method_name}", code="INTERNAL")
    feeds = _feeds(signature, request.inputs)
    wanted = _wanted(signature, request.output_filter)

    def finish(values: list[Array]) -> Any:
        response = protos.PredictResponse()
        calls.set_spec(response.model_spec, name=request.model_spec.name, version=version, signature=name)
        for alias, value in zip(wanted, values, strict=True):
            to_proto(value, fields=True, into=response.outputs[alias])
        return response

    return Call(feeds=feeds, fetches=[signature.outputs[alias].name for alias in wanted], finish=finish)


def _feeds(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Array]:
    sent, known, defaults = set(inputs), signature.inputs.keys(), signature.defaults
    if len(sent) > len(known) or (len(sent) < len(known) and not defaults):
        extra, missing = sent - known, known - sent
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({braced(sent)}) != "
            f"len({braced(known)}). Sent extra: {braced(extra)}. Missing but required: {braced(missing)}."
        )
    feeds = {}
    for alias, info in signature.inputs.items():
        if alias not in sent and alias not in defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {braced(sent)}, or default input "
                f"alias set: {','.join(defaults)}"
            )
        try:
            feeds[info.name] = to_numpy(inputs[alias] if alias in sent else defaults[alias])
        except (ValueError, OverflowError, MemoryError) as error:
            raise invalid(f"tensor parsing error: {alias}") from error
    if sent - known:
        used, all_sent = ",".join(sorted(sent & known)), ",".join(sorted(sent))
        raise invalid(f"Inputs contains invalid name. Used request inputs: {used}, request input: {all_sent}")
    return feeds


def _wanted(signature: Signature, output_filter: Any) -> list[str]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{braced(signature.outputs)}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or list(signature.outputs)
