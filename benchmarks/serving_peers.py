"""The other servers of benchmarks/serving.py, each with the SavedModels of a folder: name/1, name/1 ...

    python serving_peers.py (threads | mlserver | ray) MODELS PORT

`threads` is what one writes first: `tf.saved_model.load` behind tensorflow-serving-api's stubs, on a pool of
threads. `mlserver` and `ray` run in an interpreter that has MLServer or Ray Serve, and TensorFlow.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

THREADS = 16


def load(folder: Path) -> Any:
    """Returns a function from named arrays to named arrays."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["serving_default"]

    def call(**inputs: Any) -> dict[str, Any]:
        outputs = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    call.loaded = loaded  # type: ignore[attr-defined]  # A signature alone does not keep its variables.
    return call


def load_all(models: Path) -> dict[str, Any]:
    return {folder.name: load(folder / "1") for folder in sorted(models.iterdir())}


def answer(functions: dict[str, Any], request: Any) -> Any:
    """Answers a PredictRequest of tensorflow-serving-api."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
    response = predict_pb2.PredictResponse()
    for name, value in functions[request.model_spec.name](**inputs).items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return response


def serve_threads(models: Path, port: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    functions = load_all(models)

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            return answer(functions, request)

    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    wait_for_the_end()
    server.stop(0)


def serve_ray(models: Path, port: int) -> None:
    import ray
    from ray import serve
    from ray.serve.config import gRPCOptions

    stubs = "tensorflow_serving.apis.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server"
    # On a busy core Ray takes its own proxy for dead, and never answers.
    for name in ("READY_CHECK", "HEALTH_CHECK"):
        os.environ.setdefault(f"RAY_SERVE_PROXY_{name}_TIMEOUT_S", "60")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=4, include_dashboard=False, logging_level="warning")
    serve.start(
        http_options={"port": free_port()},
        grpc_options=gRPCOptions(port=port, grpc_servicer_functions=[stubs]),
    )

    @serve.deployment(max_ongoing_requests=100, logging_config={"enable_access_log": False})
    class Service:
        def __init__(self) -> None:
            self.functions = load_all(models)

        def Predict(self, request: Any) -> Any:
            return answer(self.functions, request)

    serve.run(Service.bind())
    wait_for_the_end()
    ray.shutdown()


def serve_mlserver(models: Path, port: int) -> None:
    place = Path(tempfile.mkdtemp())
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": free_port(),
        "metrics_port": free_port(),
        "grpc_max_message_length": -1,
        "parallel_workers": 0,
        "debug": False,
    }
    (place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    for folder in sorted(models.iterdir()):
        (place / folder.name).mkdir()
        described = {
            "name": folder.name,
            "implementation": "serving_mlserver.SavedModel",
            "parameters": {"uri": str(folder / "1")},
        }
        (place / folder.name / "model-settings.json").write_text(json.dumps(described), encoding="utf-8")
    here = str(Path(__file__).parent)
    command = Path(sys.executable).with_name("mlserver")
    os.execve(command, [str(command), "start", str(place)], {**os.environ, "PYTHONPATH": here})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(0.5):
        pass


SERVERS = {"threads": serve_threads, "mlserver": serve_mlserver, "ray": serve_ray}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
