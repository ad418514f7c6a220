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
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    descriptors = Path(__file__).with_name("messages.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def message(name: str) -> Any:
    """Returns the message class of a full name, such as `"tensorflow.TensorProto"`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


ConfigProto: Any = message("tensorflow.ConfigProto")
KernelList: Any = message("tensorflow.KernelList")
MetaGraphDef: Any = message("tensorflow.MetaGraphDef")
OpList: Any = message("tensorflow.OpList")
SavedModel: Any = message("tensorflow.SavedModel")
TensorProto: Any = message("tensorflow.TensorProto")

GetModelMetadataRequest: Any = message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse: Any = message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest: Any = message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse: Any = message("tensorflow.serving.GetModelStatusResponse")
PredictionLog: Any = message("tensorflow.serving.PredictionLog")
PredictRequest: Any = message("tensorflow.serving.PredictRequest")
PredictResponse: Any = message("tensorflow.serving.PredictResponse")
SignatureDefMap: Any = message("tensorflow.serving.SignatureDefMap")
