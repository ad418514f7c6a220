"""Whatever is sent, whatever lies in the folders: the right code, no crash, and the next request works."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerasft.export import layout
from kerasft.serving import Server, protos
from kerasft.serving.tensors import dtype_of, to_proto

CHAOS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What TensorFlow Serving answers to a wrong request; INTERNAL and UNKNOWN would be faults of the server.
REFUSALS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE"}


@pytest.fixture(scope="module")
def channel(both: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(both.address) as channel:
        yield channel


def outcome(channel: grpc.Channel, path: str, content: bytes) -> str:
    call = channel.unary_unary(path).future(content, timeout=60)
    error: Any = call.exception()
    return "OK" if error is None else str(error.code().name)


def assert_alive(channel: grpc.Channel) -> None:
    request = protos.PredictRequest()
    request.model_spec.name = "judge"
    request.inputs["x"].CopyFrom(to_proto([1.0]))
    assert (
        outcome(channel, "/tensorflow.serving.PredictionService/Predict", request.SerializeToString()) == "OK"
    )


METHODS = [
    *(f"/{protos.PREDICTION_SERVICE}/{name}" for name in protos.methods(protos.PREDICTION_SERVICE)),
    f"/{protos.MODEL_SERVICE}/GetModelStatus",
]


@CHAOS
@given(path=st.sampled_from(METHODS), content=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel, path: str, content: bytes) -> None:
    # gRPC itself answers UNKNOWN or INTERNAL to what cannot be parsed, in TensorFlow Serving too.
    assert outcome(channel, path, content) in REFUSALS | {"OK", "INTERNAL", "UNKNOWN"}
    assert_alive(channel)


@st.composite
def tensors(draw: st.DrawFn) -> Any:
    """TensorProtos, most of which contradict themselves."""
    proto = protos.TensorProto(dtype=draw(st.integers(0, 24)))
    for size in draw(st.lists(st.integers(-1, 3) | st.just(2**62), max_size=3)):
        proto.tensor_shape.dim.add().size = size
    proto.tensor_shape.unknown_rank = draw(st.booleans()) and draw(st.booleans())
    proto.tensor_content = draw(st.binary(max_size=16))
    proto.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    proto.int64_val.extend(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)))
    proto.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=4)))
    proto.half_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2)))
    return proto


@CHAOS
@given(
    name=st.sampled_from(["demo", "judge", ""]),
    signature=st.sampled_from(["", "mean", "judge", "x" * 3000]),
    inputs=st.dictionaries(st.sampled_from(["x", "text", "image", "inputs", "\0"]), tensors(), max_size=3),
    outputs=st.lists(st.sampled_from(["y", "echo", "", "z"]), max_size=2),
)
def test_tensors_that_contradict_themselves_are_refused(
    channel: grpc.Channel, name: str, signature: str, inputs: dict[str, Any], outputs: list[str]
) -> None:
    request = protos.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for alias, tensor in inputs.items():
        request.inputs[alias].CopyFrom(tensor)
    content = request.SerializeToString()
    assert outcome(channel, METHODS[2], content) in REFUSALS | {"OK"}
    assert_alive(channel)


@CHAOS
@given(
    number=st.integers(0, 24),
    shape=st.lists(st.integers(0, 3), max_size=4),
    signature=st.sampled_from(["serving_default", "judge", "double"]),
)
def test_tensors_of_the_wrong_type_or_rank_are_refused(
    channel: grpc.Channel, number: int, shape: list[int], signature: str
) -> None:
    dtype = dtype_of(number)
    if dtype is None:
        return
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "judge", signature
    array = np.full(shape, b"\xff\0", object) if dtype.hasobject else np.ones(shape, dtype)
    request.inputs["x" if signature == "serving_default" else "inputs"].CopyFrom(to_proto(array))
    assert outcome(channel, METHODS[2], request.SerializeToString()) in REFUSALS | {"OK"}
    assert_alive(channel)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"b64": "AA=="}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "text", "b64"]), inner),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"]), JSON
    ).map(lambda value: json.dumps(value).encode())
)


@CHAOS
@given(
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS"]),
    path=st.sampled_from(["/v1/models/demo", "/v1/models/judge", "/v1/models/%00", "/v1/%ff", "/v1/models"]),
    verb=st.sampled_from([":predict", ":classify", ":regress", "", "/metadata", "/versions/" + "9" * 30]),
    body=BODIES,
)
def test_any_http_request_gets_a_json_answer(
    both: Server, channel: grpc.Channel, method: str, path: str, verb: str, body: bytes
) -> None:
    assert both.rest_address is not None
    connection = http.client.HTTPConnection(both.rest_address, timeout=60)
    connection.request(method, path + verb, body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status in (200, 400, 404, 501), content
    assert answer.status == 200 or list(json.loads(content)) == ["error"]
    assert_alive(channel)


@settings(CHAOS, max_examples=30)
@given(
    content=st.binary(max_size=200) | st.just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\xff\4"),
    rest=st.booleans(),
)
def test_garbage_on_the_ports_harms_nobody(
    both: Server, channel: grpc.Channel, content: bytes, rest: bool
) -> None:
    port = both.rest_port if rest else both.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(content)
    assert_alive(channel)


def test_slow_clients_keep_nobody_waiting(both: Server, channel: grpc.Channel) -> None:
    assert both.rest_port is not None
    slow = [socket.create_connection(("127.0.0.1", both.rest_port)) for _ in range(20)]
    for connection in slow:
        connection.sendall(b"POST /v1/models/judge:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert_alive(channel)
    fast = http.client.HTTPConnection("127.0.0.1", both.rest_port, timeout=60)
    fast.request("POST", "/v1/models/judge:predict", json.dumps({"instances": [1]}))
    assert fast.getresponse().status == 200
    for connection in slow:
        connection.close()


def test_clients_that_leave_are_forgotten(both: Server, channel: grpc.Channel) -> None:
    request = protos.PredictRequest()
    request.model_spec.name = "judge"
    request.inputs["x"].CopyFrom(to_proto([1.0]))
    calls = [channel.unary_unary(METHODS[2]).future(request.SerializeToString()) for _ in range(50)]
    for call in calls:
        call.cancel()
    assert_alive(channel)


def _shorten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


def _scramble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[::7] = os.urandom(len(content[::7]))
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [_shorten, _scramble, Path.unlink], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize(
    "file", [layout.GRAPH, "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_damaged_version_is_never_served(
    model: Path, tmp_path: Path, file: str, harm: Callable[[Path], None]
) -> None:
    base = tmp_path / "demo"
    shutil.copytree(model / "3", base / "3")
    with Server(base, grpc_port=0, poll_seconds=0, threads=1) as server:
        broken = Path(shutil.copytree(model / "3", base / ".4"))
        harm(broken / file)
        broken.rename(base / "4")
        server.manager.poll()
        assert list(server.manager.served()["default"]) == [3]
        (status,) = [
            status
            for status in server.manager.status(protos.ModelSpec(name="default")).model_version_status
            if status.version == 4
        ]
        assert status.status.error_code != 0


def test_many_reloads_under_load_fail_no_request(judge: Path, tmp_path: Path) -> None:
    base = tmp_path / "judge"
    shutil.copytree(judge / "1", base / "1")
    request = protos.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["x"].CopyFrom(to_proto([2.0]))
    content = request.SerializeToString()
    with Server(base, grpc_port=0, poll_seconds=0, threads=1) as server:
        done = threading.Event()
        outcomes: set[str] = set()

        def work() -> None:
            with grpc.insecure_channel(server.address) as channel:
                call = channel.unary_unary(METHODS[2])
                while not done.is_set():
                    future = call.future(content, timeout=60)
                    error: Any = future.exception()
                    outcomes.add("OK" if error is None else error.details())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            shutil.copytree(judge / "1", base / f".{number}")
            (base / f".{number}").rename(base / str(number))
            server.manager.poll()
            shutil.rmtree(base / str(number - 1))
        done.set()
        for thread in threads:
            thread.join()
        with grpc.insecure_channel(server.address) as channel:
            last = protos.PredictResponse.FromString(channel.unary_unary(METHODS[2])(content, timeout=60))
    assert outcomes == {"OK"}
    assert last.model_spec.version.value == 7
