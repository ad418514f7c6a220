"""What the clients put on the wire, against servers made of tensorflow-serving-api, and what failures do."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from kerasft.serving import client as clients
from kerasft.serving import errors
from kerasft.serving.client import TLS, AsyncClient, Client, RestClient

X = np.array([[1, 2, 3]], np.float32)


class Official(
    prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer
):
    """Answers with the official messages, keeps what it was asked, and fails as often as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.states: list[list[tuple[int, int, int]]] = []
        self.input_type = tf.float32
        self.context: Any = None
        self.refusal = (0, "")

    def _take(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        self.context = context
        if self.failures:
            context.abort(*self.failures.pop(0))

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.asked)

    def Predict(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        x = tf.make_ndarray(request.inputs["x"])
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        response.outputs["y"].CopyFrom(tf.make_tensor_proto(2 * x))
        response.outputs["name"].CopyFrom(tf.make_tensor_proto([b"a"]))
        response.outputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"text"]))
        return response

    def Classify(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        response = classification_pb2.ClassificationResponse()
        self._classify(request, response.result)
        return response

    def Regress(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        response = regression_pb2.RegressionResponse()
        self._regress(request, response.result)
        return response

    def MultiInference(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            result = response.results.add(model_spec=task.model_spec)
            if task.method_name == "tensorflow/serving/classify":
                self._classify(request, result.classification_result)
            else:
                self._regress(request, result.regression_result)
        return response

    def _classify(self, request: Any, result: Any) -> None:
        for example in request.input.example_list.examples:
            (x,) = example.features.feature["x"].float_list.value
            result.classifications.add().classes.add(label="some", score=x)

    def _regress(self, request: Any, result: Any) -> None:
        for example in request.input.example_list.examples:
            result.regressions.add(value=2 * example.features.feature["x"].float_list.value[0])

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, method in (("serving_default", "predict"), ("judge", "classify"), ("double", "regress")):
            definition = definitions.signature_def[name]
            definition.method_name = f"tensorflow/serving/{method}"
            definition.inputs["x"].dtype = self.input_type.as_datatype_enum
            definition.inputs["x"].tensor_shape.CopyFrom(tf.TensorShape([None, 3]).as_proto())
            definition.outputs["y"].dtype = tf.float32.as_datatype_enum
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(definitions)
        return response

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, code in self.states.pop(0) if self.states else [(1, 30, 0)]:
            item = response.model_version_status.add(version=version, state=state)
            item.status.error_code = code
            item.status.error_message = "it is broken" if code else ""
        return response

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code, response.status.error_message = self.refusal
        return response


def started(servicer: Official, credentials: Any = None) -> tuple[grpc.Server, str]:
    """Starts a server on a free port."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def official() -> Iterator[Official]:
    servicer = Official()
    server, servicer.address = started(servicer)  # type: ignore[attr-defined]
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def client(official: Any) -> Iterator[Client]:
    with Client(official.address, model="m", backoff=0.01) as client:
        yield client


def asked(official: Official, kind: type) -> Any:
    """The only request of a kind."""
    (request,) = (one for one in official.asked if isinstance(one, kind))
    return request


class TestMessages:
    def test_predict(self, official: Official, client: Client) -> None:
        answer = client.predict(x=X, version=7, output_filter=["y"])
        assert answer["y"].tolist() == [[2, 4, 6]]
        assert not answer["y"].flags.writeable
        assert answer["name"].tolist() == ["a"]
        assert answer["image_bytes"].tolist() == [b"text"]
        request = asked(official, predict_pb2.PredictRequest)
        assert (request.model_spec.name, request.model_spec.version.value) == ("m", 7)
        assert request.model_spec.signature_name == "serving_default"
        assert list(request.output_filter) == ["y"]
        assert request.inputs["x"].tensor_content == X.tobytes()

    def test_labels(self, official: Official, client: Client) -> None:
        client.predict(x=X, label="stable")
        assert asked(official, predict_pb2.PredictRequest).model_spec.version_label == "stable"

    def test_examples(self, official: Official, client: Client) -> None:
        answer = client.classify([{"x": 1.5, "tags": ["a", b"b"], "n": 3}], signature="judge")
        assert (answer.labels.tolist(), answer.scores.tolist()) == ([["some"]], [[1.5]])
        assert client.regress([{"x": 1.5}], signature="double").tolist() == [3]
        (example,) = asked(official, classification_pb2.ClassificationRequest).input.example_list.examples
        assert list(example.features.feature["tags"].bytes_list.value) == [b"a", b"b"]
        assert list(example.features.feature["n"].int64_list.value) == [3]

    def test_multi_inference(self, official: Official, client: Client) -> None:
        answer = client.multi_inference([{"x": 1.5}], signatures=["double", "judge"])
        assert answer["double"].tolist() == [3]  # type: ignore[union-attr]
        assert answer["judge"].scores.tolist() == [[1.5]]  # type: ignore[union-attr]

    def test_reload_config(self, official: Official, client: Client, tmp_path: Path) -> None:
        wanted = model_server_config_pb2.ModelServerConfig()
        wanted.model_config_list.config.add(name="m", base_path="/m", model_platform="tensorflow")
        file = tmp_path / "models.config"
        file.write_text(str(wanted))
        for config in ({"m": "/m"}, wanted, file, str(file)):
            official.asked.clear()
            client.reload_config(config)
            assert asked(official, model_management_pb2.ReloadConfigRequest).config == wanted
        file.write_text("nonsense {")
        with pytest.raises(clients.InvalidArgumentError, match=r"models\.config is not a ModelServerConfig"):
            client.reload_config(file)
        with pytest.raises(clients.InvalidArgumentError, match="a configuration cannot be a int"):
            client.reload_config(3)
        official.refusal = (3, "no such folder")
        with pytest.raises(clients.InvalidArgumentError, match="refused the configuration: no such folder"):
            client.reload_config({"m": "/m"})


class TestChecks:
    def test_nothing_is_sent_that_does_not_fit(self, official: Official, client: Client) -> None:
        for inputs in ({"z": X}, {"x": X.astype(int)}, {"x": X[:, :2]}, {"x": X[0]}):
            with pytest.raises(clients.InvalidArgumentError):
                client.predict(inputs)
        assert official.count(predict_pb2.PredictRequest) == 0

    def test_signatures_are_asked_for_once(self, official: Official, client: Client) -> None:
        for _ in range(3):
            client.predict(x=X)
        assert official.count(get_model_metadata_pb2.GetModelMetadataRequest) == 1

    def test_a_new_version_may_take_something_else(self, official: Official, client: Client) -> None:
        client.predict(x=X)
        official.input_type = tf.float64
        assert client.predict(x=X.astype(np.float64))["y"].dtype == np.float64
        with pytest.raises(clients.InvalidArgumentError, match="x' is float32"):
            client.predict(x=X)

    def test_signatures_of_a_pinned_version_never_change(self, official: Official, client: Client) -> None:
        client.predict(x=X, version=1)
        official.input_type = tf.float64
        with pytest.raises(clients.InvalidArgumentError, match="x' is float64"):
            client.predict(x=X.astype(np.float64), version=1)
        assert official.count(get_model_metadata_pb2.GetModelMetadataRequest) == 1

    def test_what_is_known_is_forgotten_when_the_server_objects(
        self, official: Official, client: Client
    ) -> None:
        client.predict(x=X)
        official.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")]
        with pytest.raises(clients.InvalidArgumentError, match="no"):
            client.predict(x=X)
        client.predict(x=X)
        assert official.count(get_model_metadata_pb2.GetModelMetadataRequest) == 2

    def test_checks_can_be_left_to_the_server(self, official: Any) -> None:
        with Client(official.address, model="m", check=False) as client:
            assert client.predict(x=[[1.5]])["y"].tolist() == [[3]]
            with pytest.raises(clients.InvalidArgumentError, match="input 'x' cannot be sent"):
                client.predict(x=[object()])
        assert official.count(get_model_metadata_pb2.GetModelMetadataRequest) == 0

    def test_integers_must_fit(self, official: Official, client: Client) -> None:
        official.input_type = tf.uint8
        assert client.predict(x=[[1, 2, 255]])["y"].dtype == np.uint8
        with pytest.raises(clients.InvalidArgumentError, match=r"as uint8\[\?,3\].*256 does not fit uint8"):
            client.predict(x=[[1, 2, 256]])
        with pytest.raises(clients.InvalidArgumentError, match=r"x' is float32\[1,3\]"):
            client.predict(x=[[1, 2, 3.0]])

    def test_float64_keeps_its_digits(self, official: Official, client: Client) -> None:
        official.input_type = tf.float64
        assert client.predict(x=[[0.1, 1, 2]])["y"][0, 0] == 0.2


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_code_has_its_exception(official: Any, code: grpc.StatusCode) -> None:
    kind = errors.error_of(code.name)
    assert kind.__name__ == code.name.title().replace("_", "") + "Error"
    with Client(official.address, model="m", attempts=1) as client:
        official.failures = [(code, "for a\nreason")]
        with pytest.raises(kind) as caught:
            client.status()
    assert caught.value.code == code.name
    assert str(caught.value).endswith(f"[{code.name}]")
    assert "\n" not in str(caught.value)
    if code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        assert "for a reason" in str(caught.value)

    async def ask() -> None:
        async with AsyncClient(official.address, model="m", attempts=1) as client:
            await client.status()

    official.failures = [(code, "for a\nreason")]
    with pytest.raises(kind):
        asyncio.run(ask())


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "the queue is full")


class TestFailures:
    def test_calls_are_tried_again_while_a_server_is_unavailable(self, official: Any, client: Client) -> None:
        official.failures = [UNAVAILABLE] * 3
        assert client.predict(x=X)["y"].tolist() == [[2, 4, 6]]

        async def ask() -> Any:
            async with AsyncClient(official.address, model="m", backoff=0.01) as client:
                return await client.predict(x=X)

        official.failures = [UNAVAILABLE] * 3
        assert asyncio.run(ask())["y"].tolist() == [[2, 4, 6]]

    def test_large_requests_are_tried_again_too(self, official: Official, client: Client) -> None:
        client.signature()
        official.failures = [UNAVAILABLE]
        assert client.predict(x=np.ones((1 << 18, 3), np.float32))["y"].shape == (1 << 18, 3)

    def test_they_are_given_up_after_some_attempts(self, official: Official, client: Client) -> None:
        official.failures = [UNAVAILABLE] * 4
        with pytest.raises(clients.UnavailableError, match="the queue is full"):
            client.status()
        assert official.count(get_model_status_pb2.GetModelStatusRequest) == 4

    def test_other_failures_are_not_tried_again(self, official: Official, client: Client) -> None:
        official.failures = [(grpc.StatusCode.INTERNAL, "broken")]
        with pytest.raises(clients.InternalError, match="broken"):
            client.status()
        assert len(official.asked) == 1

    def test_a_deadline_is_always_set(self, official: Official, client: Client) -> None:
        client.status()
        assert 25 < official.context.time_remaining() < 31
        client.status(timeout=5)
        assert official.context.time_remaining() < 25

    def test_answers_that_make_no_sense_are_internal_errors(self, official: Any) -> None:
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x0a\xff")
        server = grpc.server(ThreadPoolExecutor(1))
        generic = grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService", {"Predict": handler, "GetModelMetadata": handler}
        )
        server.add_generic_rpc_handlers((generic,))
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        with Client(address, check=False) as client:
            for ask in (lambda: client.predict(x=X), client.metadata):
                with pytest.raises(clients.InternalError, match="cannot be read"):
                    ask()
        server.stop(None).wait()

    @pytest.mark.parametrize("attempts", [0, 6])
    def test_attempts_have_limits(self, attempts: int) -> None:
        with pytest.raises(clients.InvalidArgumentError, match=f"attempts is {attempts}"):
            Client("localhost:1", attempts=attempts)


class TestReadiness:
    def test_waits_for_a_version(self, official: Official, client: Client) -> None:
        official.failures = [(grpc.StatusCode.NOT_FOUND, "no such model")]
        official.states = [[], [(3, 20, 0)], [(3, 40, 0), (4, 20, 0)], [(3, 50, 0), (4, 30, 0)]]
        assert client.wait_ready(10) == 4
        assert len(official.asked) == 5

    def test_says_why_a_version_failed(self, official: Official, client: Client) -> None:
        official.states = [[(3, 50, 13)], [(3, 50, 13)]]
        state = client.status()[3]
        assert (state, state.error) == ("END", "it is broken")
        with pytest.raises(
            clients.FailedPreconditionError, match=r"'m' will not become ready: version 3 is END \(it is bro"
        ):
            client.wait_ready(10)

    def test_says_what_was_seen_last(self, official: Official, client: Client) -> None:
        official.states = [[(3, 20, 0)]] * 9
        with pytest.raises(
            clients.DeadlineExceededError, match="'m' was not ready in time: version 3 is LOADING"
        ):
            client.wait_ready(0.15)

    def test_waits_for_a_server(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with Client(f"127.0.0.1:{port}") as client:
            with pytest.raises(clients.DeadlineExceededError, match="not ready in time"):
                client.wait_ready(0.1)
            server = grpc.server(ThreadPoolExecutor(1))
            model_service_pb2_grpc.add_ModelServiceServicer_to_server(Official(), server)
            server.add_insecure_port(f"127.0.0.1:{port}")
            server.start()
            assert client.wait_ready(30) == 1
        server.stop(None).wait()


class TestAddresses:
    def test_calls_go_round(self) -> None:
        servicers = [Official(), Official()]
        servers = [started(servicer) for servicer in servicers]
        with Client([address for _, address in servers], model="m") as client:
            client.wait_ready(10)
            # The second connection may take a moment.
            for _ in range(1000):
                client.predict(x=X)
                if all(servicer.count(predict_pb2.PredictRequest) for servicer in servicers):
                    break
            for servicer in servicers:
                servicer.asked.clear()
            for _ in range(10):
                client.predict(x=X)
            assert [len(servicer.asked) for servicer in servicers] == [5, 5]
            servers[0][0].stop(None).wait()
            for _ in range(10):
                client.predict(x=X)
        servers[1][0].stop(None).wait()

    def test_several_names_are_resolved(self, official: Any) -> None:
        port = official.address.rpartition(":")[2]
        with Client([f"localhost:{port}", f"127.0.0.1:{port}"], model="m") as client:
            assert client.wait_ready(10) == 1

    @pytest.mark.parametrize(
        ("addresses", "message"),
        [
            ([], "a client needs an address"),
            (["a:1", "b"], "'b' is not an address: write it as HOST:PORT"),
            (["localhost:1", "no.such.host.invalid:1"], "cannot be found: check the names"),
        ],
    )
    def test_wrong_ones_are_named(self, addresses: list[str], message: str) -> None:
        with pytest.raises(clients.ServingError, match=message):
            Client(addresses)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and keys and certificates that it signed: of a server, and of a client."""
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "names").write_text("subjectAltName=DNS:models.test\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


class TestEncryption:
    @pytest.fixture
    def secure(self, keys: Path) -> Iterator[str]:
        pair = [((keys / "server.key").read_bytes(), (keys / "server.pem").read_bytes())]
        credentials = grpc.ssl_server_credentials(pair, (keys / "ca.pem").read_bytes(), True)
        server, address = started(Official(), credentials)
        yield address
        server.stop(None).wait()

    def tls(self, keys: Path, **changes: Any) -> TLS:
        files: dict[str, Any] = {
            "ca": keys / "ca.pem",
            "cert": keys / "client.pem",
            "key": keys / "client.key",
            "server_name": "models.test",
        }
        return TLS(**{**files, **changes})

    def test_both_sides_show_certificates(self, secure: str, keys: Path) -> None:
        with Client(secure, model="m", tls=self.tls(keys)) as client:
            assert client.predict(x=X)["y"].tolist() == [[2, 4, 6]]

        async def ask() -> Any:
            async with AsyncClient(secure, model="m", tls=self.tls(keys)) as client:
                return await client.predict(x=X)

        assert asyncio.run(ask())["y"].tolist() == [[2, 4, 6]]

    @pytest.mark.parametrize(
        "changes", [{"cert": None, "key": None}, {"server_name": "others.test"}, {"ca": None}]
    )
    def test_nothing_is_said_to_strangers(self, secure: str, keys: Path, changes: dict[str, Any]) -> None:
        with (
            Client(secure, model="m", tls=self.tls(keys, **changes), attempts=1) as client,
            pytest.raises(clients.UnavailableError),
        ):
            client.status()

    def test_files_must_be_there(self, keys: Path) -> None:
        with pytest.raises(clients.InvalidArgumentError, match="nothing cannot be read"):
            Client("localhost:1", tls=TLS(ca=keys / "nothing"))
        with pytest.raises(clients.InvalidArgumentError, match="needs its key"):
            TLS(cert=keys / "client.pem")

    def test_rest_encrypts_too(self, keys: Path) -> None:
        import ssl

        with web(lambda path, body: (200, STATUS)) as server:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(keys / "ca.pem"))
            context.load_cert_chain(keys / "server.pem", keys / "server.key")
            context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True)
            with RestClient(server.address, tls=self.tls(keys)) as client:
                assert client.status() == {1: "AVAILABLE"}
            with (
                RestClient(server.address, tls=self.tls(keys, server_name=None), attempts=1) as client,
                pytest.raises(clients.UnavailableError, match="certificate"),
            ):
                client.status()


STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}]}


class Web(http.server.ThreadingHTTPServer):
    """Answers as it is told; used as a context it serves."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str, Any], tuple[int, Any]]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.connections: set[Any] = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(handler) -> None:
                body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
                self.asked.append((handler.path, json.loads(body) if body else None))
                self.connections.add(handler.client_address)
                status, content = answer(*self.asked[-1])
                encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
                handler.send_response(status)
                handler.send_header("Content-Length", str(len(encoded)))
                handler.end_headers()
                handler.wfile.write(encoded)

            do_POST = do_GET

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def __enter__(self) -> Web:
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


web = Web


class TestRest:
    SIGNATURE: ClassVar[dict] = {
        "inputs": {
            "image": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}], "unknown_rank": False}},
            "x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}], "unknown_rank": False}},
        },
        "outputs": {"image_bytes": {"dtype": "DT_STRING"}, "label": {"dtype": "DT_STRING"}},
        "method_name": "tensorflow/serving/predict",
    }

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/metadata"):
            return 200, {
                "metadata": {"signature_def": {"signature_def": {"serving_default": self.SIGNATURE}}}
            }
        return 200, {"outputs": {"image_bytes": [{"b64": "/w=="}], "label": ["käse"]}}

    def test_bytes_travel_as_base64(self) -> None:
        with web(self.answer) as server, RestClient(server.address, model="a b/c") as client:
            answer = client.predict(image=[b"\xff", b"ok"], x=[1, float("nan")], label="new")
        assert answer["image_bytes"].tolist() == [b"\xff"]
        assert answer["label"].tolist() == ["käse"]
        path, body = server.asked[-1]
        assert path == "/v1/models/a%20b%2Fc/labels/new:predict"
        assert body["signature_name"] == "serving_default"
        assert body["inputs"]["image"] == [{"b64": "/w=="}, "ok"]
        assert body["inputs"]["x"][0] == 1.0
        assert np.isnan(body["inputs"]["x"][1])

    def test_connections_are_kept(self) -> None:
        with web(lambda path, body: (200, STATUS)) as server:
            with RestClient(f"http://{server.address}/proxy/") as client:
                for _ in range(5):
                    client.status()
            assert len(server.connections) == 1
            assert server.asked[0][0] == "/proxy/v1/models/default"

    def test_unavailable_servers_are_tried_again_and_in_turn(self) -> None:
        answers = [(503, {"error": "busy"})] * 2
        with (
            web(lambda path, body: answers.pop() if answers else (200, STATUS)) as first,
            web(lambda path, body: (200, STATUS)) as second,
            RestClient([first.address, second.address], backoff=0.01) as client,
        ):
            for _ in range(4):
                client.status()
            assert (len(first.asked), len(second.asked)) == (3, 3)

    @pytest.mark.parametrize(
        ("status", "content", "kind", "message"),
        [
            (400, {"error": "bad input"}, clients.InvalidArgumentError, "bad input"),
            (404, {"error": "nothing"}, clients.NotFoundError, "nothing"),
            (413, b"too large", clients.ResourceExhaustedError, "HTTP status 413: too large"),
            (418, b"[]", clients.UnknownError, "HTTP status 418"),
            (500, {"error": "broken"}, clients.InternalError, "broken"),
            (503, {"error": "busy"}, clients.UnavailableError, "busy"),
            (504, {"error": "slow"}, clients.DeadlineExceededError, "did not answer within 30 s"),
            (200, b"{", clients.InternalError, "cannot be read"),
            (200, {"no": "versions"}, None, ""),
        ],
    )
    def test_status_codes(self, status: int, content: Any, kind: Any, message: str) -> None:
        with (
            web(lambda path, body: (status, content)) as server,
            RestClient(server.address, attempts=1) as client,
        ):
            if kind is None:
                assert client.status() == {}
                return
            with pytest.raises(kind, match=message):
                client.status()

    def test_a_silent_server_is_left(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            with (
                RestClient(address, timeout=0.2) as client,
                pytest.raises(clients.DeadlineExceededError, match=r"did not answer within 0\.2 s"),
            ):
                client.status()

    def test_no_server_is_named(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
            with (
                RestClient(address, backoff=0.01) as client,
                pytest.raises(clients.UnavailableError, match=f"no server answers at {address}"),
            ):
                client.status()

    @pytest.mark.parametrize("address", ["ftp://a", "http://", ""])
    def test_wrong_addresses_are_named(self, address: str) -> None:
        with pytest.raises(clients.InvalidArgumentError, match="address"):
            RestClient(address)
        with pytest.raises(clients.InvalidArgumentError, match="does not encrypt"):
            RestClient("http://a:1", tls=TLS())
