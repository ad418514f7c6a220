"""Predict, model status and model metadata over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.tensors import describe_info, to_numpy, to_proto

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_METHODS = {
    "Predict": ("PredictionService", protos.PredictResponse),
    "GetModelMetadata": ("PredictionService", protos.GetModelMetadataResponse),
    "GetModelStatus": ("ModelService", protos.GetModelStatusResponse),
}


class Client:
    """A connection to a server. Threads may share one.

    Args:
        target: `"host:port"`.
        timeout: Seconds that a request may take.

    Example:
        >>> with Client("localhost:8500") as client:                         # doctest: +SKIP
        ...     client.predict(text=["what a film"])
        {'label': array([b'positive'], dtype=object), 'scores': array([[0.01, 0.99]], dtype=float32)}
    """

    def __init__(self, target: str, *, timeout: float = 60.0) -> None:
        self.target = target
        self.timeout = timeout
        self._channel = grpc.insecure_channel(target, options=_UNLIMITED)
        self._calls = {
            method: self._channel.unary_unary(
                f"/tensorflow.serving.{service}/{method}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=response.FromString,
            )
            for method, (service, response) in _METHODS.items()
        }

    def predict(
        self,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        model: str = "default",
        signature: str = "serving_default",
        version: int | None = None,
        outputs: Sequence[str] = (),
        timeout: float | None = None,
        **named: Any,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Asks a model.

        Args:
            inputs: The inputs by name, for names that are no keywords or are taken by the options below.
            model: The model's name on the server.
            signature: Which of its signatures to call.
            version: Which version; None takes the newest.
            outputs: Which outputs to answer with; all of them when empty.
            timeout: Seconds, in place of the client's.
            **named: Inputs by name. Arrays keep their type; in plain Python values floats are sent as
                float32, integers as int64, str as UTF-8.

        Returns:
            An array for each output; strings come as object arrays of bytes, numbers as read-only arrays.

        Raises:
            ServingError: If an input cannot be sent, the server cannot be reached, or it refuses the request.
        """
        request = protos.PredictRequest()
        _set_model(request.model_spec, model, version)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, value in {**(inputs or {}), **named}.items():
            try:
                request.inputs[name].CopyFrom(to_proto(value))
            except ValueError as error:
                raise ServingError(
                    f"input {name!r} cannot be sent: {error}", code="INVALID_ARGUMENT"
                ) from error
        response = self._call("Predict", request, timeout)
        return {name: to_numpy(tensor) for name, tensor in sorted(response.outputs.items())}

    def status(self, *, model: str = "default", version: int | None = None) -> dict[int, str]:
        """Returns the state of each version that the server knows, such as `{3: "AVAILABLE"}`."""
        request = protos.GetModelStatusRequest()
        _set_model(request.model_spec, model, version)
        found = self._call("GetModelStatus", request).model_version_status
        states = protos.message("tensorflow.serving.ModelVersionStatus").DESCRIPTOR.enum_types_by_name[
            "State"
        ]
        return {item.version: states.values_by_number[item.state].name for item in found}

    def metadata(
        self, *, model: str = "default", version: int | None = None
    ) -> dict[str, dict[str, dict[str, str]]]:
        """Returns the signatures: name -> `"inputs"`, `"outputs"` -> name -> type, like `"float32[?,3]"`."""
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        _set_model(request.model_spec, model, version)
        packed = self._call("GetModelMetadata", request).metadata["signature_def"].value
        signatures = protos.SignatureDefMap.FromString(packed).signature_def
        return {
            name: {
                side: {key: describe_info(info) for key, info in sorted(getattr(definition, side).items())}
                for side in ("inputs", "outputs")
            }
            for name, definition in sorted(signatures.items())
            if not name.startswith("__")
        }

    def _call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        seconds = self.timeout if timeout is None else timeout
        try:
            return self._calls[method](request, timeout=seconds)
        except grpc.RpcError as error:
            raise self._explained(error, seconds) from error
        except ValueError as error:
            raise ServingError(
                f"the client of {self.target} is closed: make a new one", code="CANCELLED"
            ) from error

    def _explained(self, error: Any, seconds: float) -> ServingError:
        code, details = error.code().name, " ".join((error.details() or "").split())
        if code == "DEADLINE_EXCEEDED":
            message = f"{self.target} did not answer within {seconds:g} s"
        elif code == "UNAVAILABLE":
            message = f"no server answers at {self.target}: start one, or check the address ({details})"
        else:
            message = f"{self.target} refused the request: {details}"
        return ServingError(f"{message} [{code}]", code=code, details=details)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _set_model(spec: Any, name: str, version: int | None) -> None:
    spec.name = name
    if version is None:
        return
    try:
        spec.version.value = version
    except (TypeError, ValueError) as error:
        raise ServingError(
            f"the version {version!r} cannot be sent: give an integer below 2**63", code="INVALID_ARGUMENT"
        ) from error
