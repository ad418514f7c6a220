"""The gRPC form of what a client asks: which method, the request, and how to read the response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from kerasft.serving import protos
from kerasft.serving.client import asks, wire
from kerasft.serving.client.asks import Spec
from kerasft.serving.client.channel import senseless
from kerasft.serving.errors import error_of


class Form(NamedTuple):
    """How one kind of ask travels.

    Args:
        path: Of the method.
        write: Turns an ask into the bytes of the request.
        read: Turns the bytes of the response and the ask into the answer.
    """

    path: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes, Any], Any]


def _spec(message: Any, spec: Spec, signature: str = "") -> None:
    message.name = spec.name
    if spec.version is not None:
        message.version.value = spec.version
    if spec.label is not None:
        message.version_label = spec.label
    message.signature_name = signature


def _write_predict(ask: asks.Predict) -> bytes:
    request = protos.PredictRequest(output_filter=ask.output_filter)
    _spec(request.model_spec, ask.spec, ask.signature)
    return wire.write_tensors(request.SerializeToString(), wire.INPUTS, ask.inputs)


def _read_predict(response: bytes, _: asks.Predict) -> Any:
    return wire.read_tensors(response, wire.OUTPUTS)


def _write_classify(ask: asks.Classify) -> bytes:
    request = protos.ClassificationRequest(input=ask.input)
    _spec(request.model_spec, ask.spec, ask.signature)
    return _bytes(request)


def _read_classify(response: bytes, _: asks.Classify) -> Any:
    return asks.classification(protos.ClassificationResponse.FromString(response).result)


def _write_regress(ask: asks.Regress) -> bytes:
    request = protos.RegressionRequest(input=ask.input)
    _spec(request.model_spec, ask.spec, ask.signature)
    return _bytes(request)


def _read_regress(response: bytes, _: asks.Regress) -> Any:
    return _numbers(protos.RegressionResponse.FromString(response).result)


def _write_multi(ask: asks.MultiInference) -> bytes:
    request = protos.MultiInferenceRequest(input=ask.input)
    for name, method in ask.methods.items():
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        _spec(task.model_spec, ask.spec, name)
    return _bytes(request)


def _read_multi(response: bytes, ask: asks.MultiInference) -> Any:
    results = protos.MultiInferenceResponse.FromString(response).results
    if len(results) != len(ask.methods):
        raise ValueError(f"it has {len(results)} results for {len(ask.methods)} signatures")
    return {
        name: asks.classification(result.classification_result)
        if method == "classify"
        else _numbers(result.regression_result)
        for (name, method), result in zip(ask.methods.items(), results, strict=True)
    }


def _numbers(result: Any) -> Any:
    return np.array([one.value for one in result.regressions], dtype=np.float32)


def _write_metadata(ask: asks.Metadata) -> bytes:
    request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
    _spec(request.model_spec, ask.spec)
    return _bytes(request)


def _read_metadata(response: bytes, _: asks.Metadata) -> Any:
    packed = protos.GetModelMetadataResponse.FromString(response).metadata["signature_def"].value
    return protos.SignatureDefMap.FromString(packed).signature_def


def _write_status(ask: asks.Status) -> bytes:
    request = protos.GetModelStatusRequest()
    _spec(request.model_spec, ask.spec)
    return _bytes(request)


def _read_status(response: bytes, _: asks.Status) -> Any:
    return asks.states(protos.GetModelStatusResponse.FromString(response))


def _write_reload(ask: asks.Reload) -> bytes:
    return _bytes(protos.ReloadConfigRequest(config=ask.config))


def _read_reload(response: bytes, _: asks.Reload) -> None:
    status = protos.ReloadConfigResponse.FromString(response).status
    if status.error_code:
        codes = status.DESCRIPTOR.fields_by_name["error_code"].enum_type.values_by_number
        code = codes[status.error_code].name if status.error_code in codes else "UNKNOWN"
        message = " ".join(status.error_message.split())
        raise error_of(code)(
            f"the server refused the configuration: {message} [{code}]", code=code, details=message
        )


def _bytes(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


_PREDICTION = f"/{protos.PREDICTION_SERVICE}"
_MODEL = f"/{protos.MODEL_SERVICE}"
FORMS: dict[type, Form] = {
    asks.Predict: Form(f"{_PREDICTION}/Predict", _write_predict, _read_predict),
    asks.Classify: Form(f"{_PREDICTION}/Classify", _write_classify, _read_classify),
    asks.Regress: Form(f"{_PREDICTION}/Regress", _write_regress, _read_regress),
    asks.MultiInference: Form(f"{_PREDICTION}/MultiInference", _write_multi, _read_multi),
    asks.Metadata: Form(f"{_PREDICTION}/GetModelMetadata", _write_metadata, _read_metadata),
    asks.Status: Form(f"{_MODEL}/GetModelStatus", _write_status, _read_status),
    asks.Reload: Form(f"{_MODEL}/HandleReloadConfigRequest", _write_reload, _read_reload),
}


def read(ask: Any, response: bytes, *, where: str) -> Any:
    """Reads the answer to an ask.

    Raises:
        ServingError: If it makes no sense, or says that the server refused.
    """
    try:
        return FORMS[type(ask)].read(response, ask)
    except (ValueError, DecodeError) as error:
        raise senseless(where, error) from error
