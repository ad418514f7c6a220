"""The services, whatever carries their messages: requests in, responses out, errors as ServingError."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server import calls, examples, predict
from kerasft.serving.server.caller import Caller
from kerasft.serving.server.manager import ModelManager

_log = logging.getLogger("kerasft.serving")


class Services:
    """Answers the requests of PredictionService and ModelService, each in the thread that calls it.

    Args:
        manager: The models.
    """

    def __init__(self, manager: ModelManager) -> None:
        self.manager = manager
        self._metrics = manager.metrics

    def predict(self, request: Any, *, caller: Caller, entrypoint: str) -> Any:
        """Answers a PredictRequest."""
        return self._infer(predict.prepare, request, "Predict", caller, entrypoint)

    def classify(self, request: Any, *, caller: Caller, entrypoint: str) -> Any:
        """Answers a ClassificationRequest."""
        return self._infer(examples.classify, request, "Classify", caller, entrypoint)

    def regress(self, request: Any, *, caller: Caller, entrypoint: str) -> Any:
        """Answers a RegressionRequest."""
        return self._infer(examples.regress, request, "Regress", caller, entrypoint)

    def multi_inference(self, request: Any, *, caller: Caller, entrypoint: str) -> Any:
        """Answers a MultiInferenceRequest."""
        spec = request.tasks[0].model_spec if request.tasks else protos.ModelSpec()

        def answer() -> Any:
            with self.manager.use(spec) as servable:
                call = servable.prepare(examples.multi_inference, request)
                self._count_examples(spec.name, call)
                return servable.run(call, caller=caller)

        return self._counted(answer, spec.name, "MultiInference", entrypoint)

    def metadata(self, request: Any) -> Any:
        """Answers a GetModelMetadataRequest."""
        _require_spec(request)
        if not request.metadata_field:
            raise calls.invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                # Sic: TensorFlow Serving's own words.
                raise calls.invalid(f"Metadata field %s is not supported{field}")
        response = protos.GetModelMetadataResponse()
        with self.manager.use(request.model_spec) as servable:
            definitions = protos.SignatureDefMap()
            for name, definition in servable.model.meta_graph.signature_def.items():
                definitions.signature_def[name].CopyFrom(definition)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        packed = response.metadata["signature_def"]
        packed.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        packed.value = definitions.SerializeToString()
        return response

    def status(self, request: Any) -> Any:
        """Answers a GetModelStatusRequest."""
        _require_spec(request)
        return self.manager.status(request.model_spec)

    def reload(self, request: Any) -> Any:
        """Answers a ReloadConfigRequest once the models that it adds are available."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise calls.invalid("ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                                "ModelConfigList is currently supported")  # fmt: skip
        _log.info("a client replaces the configuration")
        self.manager.reload(request.config)
        response = protos.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _infer(self, checked: Any, request: Any, api: str, caller: Caller, entrypoint: str) -> Any:
        def answer() -> Any:
            _require_spec(request)
            with self.manager.use(request.model_spec) as servable:
                call = servable.prepare(checked, request)
                self._count_examples(servable.name, call)
                return servable.run(call, caller=caller)

        return self._counted(answer, request.model_spec.name, api, entrypoint)

    def _counted(self, answer: Callable[[], Any], name: str, api: str, entrypoint: str) -> Any:
        began = time.monotonic()
        status = "INTERNAL"
        try:
            response = answer()
            status = "OK"
            return response
        except ServingError as error:
            status = error.code
            raise
        finally:
            # A model that is not there must not add a row: anybody could fill the memory with names.
            if self.manager.knows(name):
                self._metrics.request_count.add(name, status)
                if status == "OK":
                    elapsed = (time.monotonic() - began) * 1e6
                    named = api if entrypoint == "GRPC" else api.lower()
                    self._metrics.request_latency.add(elapsed, name, named, entrypoint)
            if _log.isEnabledFor(logging.DEBUG):
                took = round((time.monotonic() - began) * 1000, 3)
                _log.debug(
                    "%s by %s", api, entrypoint, extra={"model": name, "status": status, "milliseconds": took}
                )

    def _count_examples(self, name: str, call: calls.Call) -> None:
        if call.examples is not None:
            self._metrics.example_counts.add(call.examples, name)
            self._metrics.example_count_total.add(name, by=call.examples)


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise calls.invalid("Missing ModelSpec")
