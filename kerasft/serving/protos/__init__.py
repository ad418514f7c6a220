"""TensorFlow Serving's messages and the SavedModel format, without importing TensorFlow.

The descriptors live in a pool of their own, so they never collide with those of an imported TensorFlow, and
they work with every protobuf runtime from 5 to 7 because no generated code is involved.

Example:
    >>> from kerasft.serving import protos
    >>> request = protos.PredictRequest()
    >>> request.model_spec.name = "default"
    >>> protos.PredictRequest.FromString(request.SerializeToString()).model_spec.name
    'default'
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Returns the descriptors of all messages and services."""
    made = descriptor_pool.DescriptorPool()
    descriptors = Path(__file__).with_name("messages.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        made.AddSerializedFile(file.SerializeToString())
    return made


def message(name: str) -> Any:
    """Returns the message class of a full name, such as `"tensorflow.TensorProto"`."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


def methods(service: str) -> dict[str, tuple[Any, Any]]:
    """Returns the request and response classes of each method of a service.

    Args:
        service: A full name, such as `"tensorflow.serving.PredictionService"`.

    Example:
        >>> request, response = methods("grpc.health.v1.Health")["Check"]
        >>> request(service="").DESCRIPTOR.full_name
        'grpc.health.v1.HealthCheckRequest'
    """
    return {
        method.name: (
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )
        for method in pool().FindServiceByName(service).methods
    }


PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
HEALTH_SERVICE = "grpc.health.v1.Health"

ConfigProto: Any = message("tensorflow.ConfigProto")
Example: Any = message("tensorflow.Example")
KernelList: Any = message("tensorflow.KernelList")
MetaGraphDef: Any = message("tensorflow.MetaGraphDef")
OpList: Any = message("tensorflow.OpList")
SavedModel: Any = message("tensorflow.SavedModel")
TensorProto: Any = message("tensorflow.TensorProto")

BatchingParameters: Any = message("tensorflow.serving.BatchingParameters")
ClassificationRequest: Any = message("tensorflow.serving.ClassificationRequest")
ClassificationResponse: Any = message("tensorflow.serving.ClassificationResponse")
GetModelMetadataRequest: Any = message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse: Any = message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest: Any = message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse: Any = message("tensorflow.serving.GetModelStatusResponse")
InferenceResult: Any = message("tensorflow.serving.InferenceResult")
Input: Any = message("tensorflow.serving.Input")
ModelServerConfig: Any = message("tensorflow.serving.ModelServerConfig")
ModelSpec: Any = message("tensorflow.serving.ModelSpec")
MonitoringConfig: Any = message("tensorflow.serving.MonitoringConfig")
MultiInferenceRequest: Any = message("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse: Any = message("tensorflow.serving.MultiInferenceResponse")
PredictionLog: Any = message("tensorflow.serving.PredictionLog")
PredictRequest: Any = message("tensorflow.serving.PredictRequest")
PredictResponse: Any = message("tensorflow.serving.PredictResponse")
RegressionRequest: Any = message("tensorflow.serving.RegressionRequest")
RegressionResponse: Any = message("tensorflow.serving.RegressionResponse")
ReloadConfigRequest: Any = message("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse: Any = message("tensorflow.serving.ReloadConfigResponse")
SSLConfig: Any = message("tensorflow.serving.SSLConfig")
SignatureDefMap: Any = message("tensorflow.serving.SignatureDefMap")

HealthCheckRequest: Any = message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse: Any = message("grpc.health.v1.HealthCheckResponse")
