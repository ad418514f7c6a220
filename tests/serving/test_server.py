"""Client and server over real sockets in real processes."""

from __future__ import annotations

import gc
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from kerasft.errors import KerasftError
from kerasft.export import layout, warmup
from kerasft.serving import Client, Server, ServingError, protos
from kerasft.serving.server import serve
from kerasft.serving.tensors import to_proto

X = np.array([[1, 2, 3]], np.float32)


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    with Client(server, timeout=60) as client:
        yield client


def test_predict_answers_with_numpy(client: Client) -> None:
    answer = client.predict(model="demo", x=[[1, 2, 3.0], [0, 0, 1]], text=["a", "käse"])
    assert answer.keys() == {"y", "echo", "length"}
    np.testing.assert_array_equal(answer["y"], np.array([[6, 6], [1, 1]], np.float32))
    assert answer["echo"].tolist() == ["a", "käse"]
    assert (answer["length"].dtype, answer["length"].tolist()) == (np.int32, [1, 5])


def test_options_choose_signature_version_and_outputs(client: Client) -> None:
    answer = client.predict({"image": np.ones((2, 4, 4, 3), np.float32)}, model="demo", signature="mean")
    assert answer["mean"].tolist() == [1.0, 1.0]
    chosen = client.predict({"x": X, "text": ["a"]}, model="demo", version=20, output_filter=["length"])
    assert chosen.keys() == {"length"}


def test_messages_may_be_larger_than_grpcs_four_megabytes(client: Client) -> None:
    image = np.random.default_rng(0).random((1, 700, 700, 3), np.float32)
    answer = client.predict(model="demo", signature="mean", image=image)
    np.testing.assert_array_equal(answer["image"], image)


def test_the_newest_version_is_served(client: Client) -> None:
    assert client.status(model="demo") == {20: "AVAILABLE"}
    assert client.status(model="demo", version=20) == {20: "AVAILABLE"}


def test_metadata_lists_the_signatures(client: Client) -> None:
    assert client.metadata(model="demo") == {
        "mean": {
            "inputs": {"image": "float32[?,?,?,3]"},
            "outputs": {"image": "float32[?,?,?,3]", "mean": "float32[?]"},
        },
        "serving_default": {
            "inputs": {"text": "string[?]", "x": "float32[?,3]"},
            "outputs": {"echo": "string[?]", "length": "int32[?]", "y": "float32[?,2]"},
        },
    }


def predict_request(**inputs: Any) -> Any:
    request = protos.PredictRequest()
    request.model_spec.name = "demo"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(to_proto(value))
    return request


def without_spec(request: Any) -> None:
    request.ClearField("model_spec")


def corrupt(request: Any) -> None:
    request.inputs["x"].tensor_content = b"123"


def swell(request: Any) -> None:
    request.inputs["text"].tensor_shape.dim[0].size = 10**13


def rename(request: Any) -> None:
    request.inputs["z"].CopyFrom(request.inputs["x"])
    del request.inputs["x"]


def set_spec(**fields: Any) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        for name, value in fields.items():
            if name == "version":
                request.model_spec.version.value = value
            else:
                setattr(request.model_spec, name, value)

    return change


CASES: list[tuple[Callable[[Any], Any], str, str]] = [
    (without_spec, "INVALID_ARGUMENT", "Missing ModelSpec"),
    (set_spec(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (set_spec(name="m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
    (set_spec(name="m", version=9), "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
    (set_spec(version=3), "NOT_FOUND", "Servable not found for request: Specific(demo, 3)"),
    (set_spec(version_label="L"), "INVALID_ARGUMENT", "Unrecognized servable version label: L"),
    (set_spec(signature_name="s"), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
    (
        lambda request: request.inputs.clear(),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=2 len({}) != len({text,x}). "
        "Sent extra: {}. Missing but required: {text,x}.",
    ),
    (
        lambda request: request.inputs["z"].CopyFrom(to_proto(1)),
        "INVALID_ARGUMENT",
        "input size does not match signature: 3!=2 len({text,x,z}) != len({text,x}). "
        "Sent extra: {z}. Missing but required: {}.",
    ),
    (
        rename,
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value "
        "provided. Inputs expected to be in the request {text,z}, or default input alias set: ",
    ),
    (corrupt, "INVALID_ARGUMENT", "tensor parsing error: x"),
    (swell, "INVALID_ARGUMENT", "tensor parsing error: text"),
    (
        lambda request: request.inputs["x"].CopyFrom(to_proto(X.astype(np.int64))),
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but int64 is provided",
    ),
    (
        lambda request: request.output_filter.append("a"),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: a Outputs expected to be in the set {echo,length,y}.",
    ),
    (
        lambda request: request.output_filter.extend(["y", "y"]),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
]


def refusal(address: str, path: str, request: Any) -> tuple[str, str]:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/tensorflow.serving.{path}")(request.SerializeToString(), timeout=60)
    error: Any = caught.value
    return error.code().name, error.details()


@pytest.mark.parametrize(("change", "code", "message"), CASES, ids=[case[2][:40] for case in CASES])
def test_refusals_are_those_of_tensorflow_serving(
    server: str, change: Callable[[Any], Any], code: str, message: str
) -> None:
    request = predict_request(x=X, text=["a"])
    change(request)
    assert refusal(server, "PredictionService/Predict", request) == (code, message)


def test_long_messages_are_cut(server: str) -> None:
    request = predict_request(x=X, text=["a"], **{"long" * 300: 1})
    code, message = refusal(server, "PredictionService/Predict", request)
    assert code == "INVALID_ARGUMENT"
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("...TRUNCATED")


def test_other_methods_refuse_as_tensorflow_serving_does(server: str) -> None:
    metadata = protos.GetModelMetadataRequest()
    path = "PredictionService/GetModelMetadata"
    assert refusal(server, path, metadata) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    metadata.model_spec.name = "demo"
    message = "GetModelMetadataRequest must specify at least one metadata_field"
    assert refusal(server, path, metadata) == ("INVALID_ARGUMENT", message)

    status = protos.GetModelStatusRequest()
    path = "ModelService/GetModelStatus"
    assert refusal(server, path, status) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    status.model_spec.name = "m"
    assert refusal(server, path, status) == ("NOT_FOUND", "Could not find any versions of model m")
    status.model_spec.version.value = 7
    assert refusal(server, path, status) == ("NOT_FOUND", "Could not find version 7 of model m")


def test_defaults_of_a_signature_fill_in(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model / "20", tmp_path / "1"))
    saved = protos.SavedModel.FromString((folder / layout.GRAPH).read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    signature.defaults["text"].CopyFrom(to_proto(["default"]))
    (folder / layout.GRAPH).write_bytes(saved.SerializeToString())
    with Server(folder, grpc_port=0) as server, Client(server.address, check=False) as client:
        assert client.predict(x=X)["echo"].tolist() == ["default"]
        with pytest.raises(ServingError, match="Signature input alias: x"):
            client.predict(text=["a"])


def test_many_clients_at_once_get_their_own_answers(server: str) -> None:
    problems: list[Any] = []

    def work(seed: int) -> None:
        try:
            with Client(server) as client:
                for i in range(20):
                    answer = client.predict(model="demo", x=[[seed, i, 0.0]], text=[f"{seed} {i}"])
                    assert answer["y"].tolist() == [[seed + i] * 2]
                    assert answer["echo"].tolist() == [f"{seed} {i}"]
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_client_errors_are_one_sentence_with_the_code(server: str) -> None:
    with Client(server, check=False) as client, pytest.raises(ServingError) as caught:
        client.predict(model="demo", x=[[1.0]], text=["a"])
    assert isinstance(caught.value, KerasftError)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.details.startswith("Matrix size-incompatible")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("[INVALID_ARGUMENT]")


def test_what_cannot_be_sent_is_named(client: Client) -> None:
    with pytest.raises(
        ServingError, match=r"input 'x' cannot be sent as float32.*: the nested lists have unequal"
    ):
        client.predict(model="demo", x=[[1], [2, 3]], text=["a"])
    with pytest.raises(ServingError, match=f"version {2**70} cannot be sent: give an integer below"):
        client.predict(model="demo", version=2**70, x=X, text=["a"])
    with pytest.raises(ServingError, match="version '3' cannot be sent"):
        client.status(model="demo", version="3")  # type: ignore[arg-type]


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with Client(address) as client, pytest.raises(ServingError, match="no server answers at") as caught:
            client.status()
    assert caught.value.code == "UNAVAILABLE"


def test_a_server_that_does_not_answer_in_time_is_named() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout=0.3) as client, pytest.raises(ServingError) as caught:
            client.status()
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert "did not answer within 0.3 s" in str(caught.value)


def test_a_closed_client_says_so(server: str) -> None:
    client = Client(server)
    client.close()
    with pytest.raises(ServingError, match="closed"):
        client.status(model="demo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_server_cleanly(model: Path, start_server: Any, number: int) -> None:
    running = start_server(model)
    assert running.banner.startswith(f"serving version 20 of {model} as 'default' at 127.0.0.1:")
    with Client(running.address) as client:
        assert client.status() == {20: "AVAILABLE"}
    code, errors = running.stop(number)
    assert code == 0
    assert "Traceback" not in errors


def test_the_collector_is_as_before_when_the_server_has_stopped(model: Path) -> None:
    before = gc.get_threshold()
    during = []

    def stop(_: str) -> None:
        during.extend([gc.get_threshold(), gc.get_freeze_count()])
        signal.raise_signal(signal.SIGTERM)

    serve(model, grpc_port=0, on_ready=stop)
    assert during[0][0] > before[0]
    assert during[1] > 10_000
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def run_server(target: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "kerasft.serving.server", str(target), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr.splitlines()[-1]


def test_a_busy_port_is_one_clear_sentence(model: Path, server: str) -> None:
    port = server.rpartition(":")[2]
    code, message = run_server(model, "--port", port)
    assert code == 2
    assert message.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")


def test_a_missing_model_is_one_clear_sentence(tmp_path: Path) -> None:
    code, message = run_server(tmp_path / "nothing", "--port", "0")
    assert code == 2
    assert message == f"error: no exported model at {tmp_path / 'nothing'}: the folder does not exist"


def test_a_model_whose_warmup_fails_is_not_served(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model / "20", tmp_path / "1"))
    warmup.write_logs(
        folder / layout.WARMUP, [warmup.predict_log("serving_default", {"x": [[1.0]], "text": ["a"]})]
    )
    with pytest.raises(
        ServingError, match="cannot be served: warm-up request 0 failed: Matrix size-incompatible"
    ):
        Server(folder, grpc_port=0)


def test_a_model_that_does_not_load_is_not_served(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model / "20", tmp_path / "1"))
    shutil.rmtree(folder / "variables")
    with pytest.raises(ServingError, match="cannot be served"):
        Server(folder, grpc_port=0)
