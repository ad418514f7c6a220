"""A SavedModel in MLServer, for benchmarks/serving.py.

    python serving_mlserver.py MODEL INPUT < REQUESTS.npz

writes MLServer's messages for arrays to its standard output, in base64, one a line.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.grpc import dataplane_pb2
from mlserver.types import InferenceRequest, InferenceResponse
from serving_peers import load


class SavedModel(MLModel):
    """Answers with the signature `serving_default`."""

    async def load(self) -> bool:
        self._call = load(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {
            item.name: StringCodec.decode_input(item)
            if item.datatype == "BYTES"
            else NumpyCodec.decode_input(item)
            for item in payload.inputs
        }
        outputs = [
            StringCodec.encode_output(name, [text.decode() for text in value])
            if value.dtype == object
            else NumpyCodec.encode_output(name, value)
            for name, value in self._call(**inputs).items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def message(model: str, name: str, array: np.ndarray) -> bytes:
    """Returns a ModelInferRequest; numbers go as raw bytes, the fastest form."""
    request = dataplane_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name=name, shape=array.shape)
    if array.dtype.kind == "S":
        tensor.datatype = "BYTES"
        tensor.contents.bytes_contents.extend(array.tolist())
    else:
        tensor.datatype = "FP32"
        request.raw_input_contents.append(array.astype(np.float32).tobytes())
    return request.SerializeToString()


if __name__ == "__main__":
    arrays = np.load(io.BytesIO(sys.stdin.buffer.read()))
    for key in arrays.files:
        print(base64.b64encode(message(sys.argv[1], sys.argv[2], arrays[key])).decode())
