"""What those who run a server care about: limits, TLS, metrics, logs, health, and how it stops."""

from __future__ import annotations

import http.client
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kerasft.export.runtime import Model
from kerasft.serving import Client, Server, ServingError, protos
from kerasft.serving.server import BatchingOptions, Tls, logs
from kerasft.serving.server.batching import Batcher
from kerasft.serving.server.metrics import PATH, Histogram
from kerasft.serving.tensors import to_proto

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def request_of(*values: float) -> bytes:
    request = protos.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["x"].CopyFrom(to_proto(np.array(values, np.float32)))
    content: bytes = request.SerializeToString()
    return content


def answer_of(content: bytes) -> list[float]:
    return list(protos.PredictResponse.FromString(content).outputs["y"].float_val)


class Gate:
    """Holds every run of a model until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self.opened = threading.Event()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, run = Gate(), Model.run

    def held(model: Model, feeds: Mapping[str, Any], fetches: Sequence[str]) -> Any:
        gate.reached.release()
        gate.opened.wait()
        return run(model, feeds, fetches)

    monkeypatch.setattr(Model, "run", held)
    yield gate
    gate.opened.set()


def code_of(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call.result(timeout=60)
    error: Any = caught.value
    return str(error.code().name)


def test_no_tensorflow_in_the_process(judge: Path) -> None:
    code = f"""
import sys, http.client, json
from kerasft.serving import Server
with Server({str(judge)!r}, grpc_port=0, rest_port=0) as server:
    connection = http.client.HTTPConnection(server.rest_address)
    connection.request("POST", "/v1/models/default:predict", json.dumps({{"instances": [3]}}))
    print(connection.getresponse().read().decode(), {{"tensorflow", "keras"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == '{"predictions": [1.5]} set()\n'


def test_requests_larger_than_the_limit_are_refused(judge: Path) -> None:
    with Server(judge, grpc_port=0, rest_port=0, max_message_bytes=1000) as server:
        with grpc.insecure_channel(server.address) as channel:
            predict = channel.unary_unary(PREDICT)
            assert answer_of(predict(request_of(1.0))) == [0.5]
            assert code_of(predict.future(request_of(*range(1000)))) == "RESOURCE_EXHAUSTED"
            assert answer_of(predict(request_of(1.0))) == [0.5]
        assert server.rest_address is not None
        rest = http.client.HTTPConnection(server.rest_address, timeout=60)
        rest.request("POST", "/v1/models/default:predict", json.dumps({"instances": [1] * 1000}))
        answer = rest.getresponse()
        assert answer.status == 413
        assert "1000" in json.loads(answer.read())["error"]


def test_more_requests_than_allowed_at_a_time_are_refused(judge: Path, gate: Gate) -> None:
    with (
        Server(judge, grpc_port=0, max_concurrent=1) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        predict = channel.unary_unary(PREDICT)
        first = predict.future(request_of(1.0))
        gate.reached.acquire()
        assert code_of(predict.future(request_of(2.0))) == "RESOURCE_EXHAUSTED"
        gate.opened.set()
        assert answer_of(first.result(timeout=60)) == [0.5]


def test_a_full_queue_is_unavailable(judge: Path, gate: Gate) -> None:
    batching = BatchingOptions(max_batch_size=1, max_enqueued_batches=1)
    with (
        Server(judge, grpc_port=0, batching=batching) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        predict = channel.unary_unary(PREDICT)
        running = []
        for _ in range(os.cpu_count() or 1):
            running.append(predict.future(request_of(1.0)))
            gate.reached.acquire()
        refused = threading.Semaphore(0)
        others = [predict.future(request_of(float(i))) for i in range(10)]
        for call in others:
            call.add_done_callback(lambda _: refused.release())
        for _ in others[1:]:
            refused.acquire()
        gate.opened.set()
        errors = [error for call in others if (error := call.exception(timeout=60))]
        assert [error.code().name for error in errors] == ["UNAVAILABLE"] * 9
        assert errors[0].details() == (
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
            "enqueued and max_enqueued_batches is 1"
        )
        assert [answer_of(call.result(timeout=60)) for call in running] == [[0.5]] * len(running)


def test_a_deadline_passes_for_the_client_and_in_the_queue(judge: Path, gate: Gate) -> None:
    with Server(judge, grpc_port=0) as server, grpc.insecure_channel(server.address) as channel:
        predict = channel.unary_unary(PREDICT)
        first = predict.future(request_of(1.0))
        gate.reached.acquire()
        late = predict.future(request_of(2.0), timeout=0.05)
        assert code_of(late) == "DEADLINE_EXCEEDED"
        last = predict.future(request_of(3.0))
        gate.opened.set()
        assert answer_of(first.result(timeout=60)) == [0.5]
        assert answer_of(last.result(timeout=60)) == [1.5]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each run of a model had."""
    sizes: list[int] = []
    run = Model.run

    def counted(model: Model, feeds: Mapping[str, Any], fetches: Sequence[str]) -> Any:
        sizes.append(len(next(iter(feeds.values()))))
        return run(model, feeds, fetches)

    monkeypatch.setattr(Model, "run", counted)
    return sizes


def test_requests_from_both_ports_run_together(judge: Path, sizes: list[int]) -> None:
    batching = BatchingOptions(max_batch_size=7, timeout=1e6)
    with (
        Server(judge, grpc_port=0, rest_port=0, batching=batching) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        predict = channel.unary_unary(PREDICT)
        calls = [predict.future(request_of(*[float(i)] * i)) for i in (1, 2, 3)]
        assert server.rest_address is not None
        rest = http.client.HTTPConnection(server.rest_address, timeout=60)
        rest.request("POST", "/v1/models/default:predict", json.dumps({"instances": [8]}))
        assert json.loads(rest.getresponse().read()) == {"predictions": [4.0]}
        assert [answer_of(call.result(timeout=60)) for call in calls] == [[0.5], [1.0] * 2, [1.5] * 3]
    assert sizes == [7]


def test_a_client_that_leaves_makes_room(
    judge: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    queued, dropped = threading.Semaphore(0), threading.Semaphore(0)
    queue, drop = Batcher._queue, Batcher._drop_if_gone

    def told_queue(batcher: Batcher, job: Any) -> None:
        queue(batcher, job)
        queued.release()

    def told_drop(batcher: Batcher, job: Any) -> None:
        drop(batcher, job)
        if job.done:
            dropped.release()

    monkeypatch.setattr(Batcher, "_queue", told_queue)
    monkeypatch.setattr(Batcher, "_drop_if_gone", told_drop)
    batching = BatchingOptions(max_batch_size=2, timeout=1e6)
    with (
        Server(judge, grpc_port=0, batching=batching) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        predict = channel.unary_unary(PREDICT)
        gone = predict.future(request_of(1.0))
        queued.acquire()
        gone.cancel()
        dropped.acquire()
        calls = [predict.future(request_of(float(i))) for i in (2, 3)]
        assert [answer_of(call.result(timeout=60)) for call in calls] == [[1.0], [1.5]]
    page = server.manager.metrics.page()
    assert sizes == [2]
    assert 'request_count{model_name="default",status="CANCELLED"} 1' in page


def test_a_rest_request_that_takes_too_long_is_told_so(judge: Path, gate: Gate) -> None:
    with Server(judge, grpc_port=0, rest_port=0, rest_timeout=0.05) as server:
        assert server.rest_address is not None
        rest = http.client.HTTPConnection(server.rest_address, timeout=60)
        rest.request("POST", "/v1/models/default:predict", json.dumps({"instances": [1]}))
        answer = rest.getresponse()
        assert (answer.status, json.loads(answer.read())) == (
            504,
            {"error": "the request took longer than 0.05 s"},
        )
        gate.opened.set()


def ask(rest: http.client.HTTPConnection) -> http.client.HTTPResponse:
    rest.request("GET", "/v1/models/default")
    return rest.getresponse()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


def test_tls_on_both_ports(judge: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> None:
    config = protos.SSLConfig(
        server_key=certificate.private_key_pem.bytes().decode(),
        server_cert=certificate.cert_chain_pems[0].bytes().decode(),
    )
    root = authority.cert_pem.bytes()
    with Server(judge, grpc_port=0, rest_port=0, tls=Tls.from_config(config)) as server:
        credentials = grpc.ssl_channel_credentials(root)
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert answer_of(channel.unary_unary(PREDICT)(request_of(1.0), timeout=60)) == [0.5]
        with grpc.insecure_channel(server.address) as channel:
            assert code_of(channel.unary_unary(PREDICT).future(request_of(1.0), timeout=10)) == "UNAVAILABLE"
        context = ssl.create_default_context(cadata=root.decode())
        rest = http.client.HTTPSConnection("localhost", server.rest_port, context=context, timeout=60)
        assert ask(rest).status == 200


def test_clients_must_show_a_certificate_if_asked(
    judge: Path, authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    files = {
        "key": certificate.private_key_pem,
        "cert": certificate.cert_chain_pems[0],
        "ca": authority.cert_pem,
    }
    for name, blob in files.items():
        blob.write_to_path(str(tmp_path / name))
    tls = Tls.from_files(key=tmp_path / "key", certificate=tmp_path / "cert", client_ca=tmp_path / "ca")
    root = authority.cert_pem.bytes()
    client = authority.issue_cert("client.example")
    with Server(judge, grpc_port=0, rest_port=0, tls=tls) as server:
        shown = grpc.ssl_channel_credentials(
            root, client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
        )
        with grpc.secure_channel(f"localhost:{server.port}", shown) as channel:
            assert answer_of(channel.unary_unary(PREDICT)(request_of(1.0), timeout=60)) == [0.5]
        with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials(root)) as channel:
            assert code_of(channel.unary_unary(PREDICT).future(request_of(1.0), timeout=10)) == "UNAVAILABLE"
        context = ssl.create_default_context(cadata=root.decode())
        client.configure_cert(context)
        rest = http.client.HTTPSConnection("localhost", server.rest_port, context=context, timeout=60)
        assert ask(rest).status == 200
        anonymous = ssl.create_default_context(cadata=root.decode())
        rest = http.client.HTTPSConnection("localhost", server.rest_port, context=anonymous, timeout=60)
        with pytest.raises(OSError, match=r"certificate required|closed connection|reset"):
            ask(rest)


def test_wrong_keys_and_certificates_are_one_sentence(
    judge: Path, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    with pytest.raises(ServingError, match="needs a server_key and a server_cert"):
        Tls.from_config(protos.SSLConfig(server_key="x"))
    with pytest.raises(ServingError, match="client_verify, which needs a custom_ca"):
        Tls.from_config(protos.SSLConfig(server_key="x", server_cert="y", client_verify=True))
    with pytest.raises(ServingError, match=f"{tmp_path / 'key'} cannot be read"):
        Tls.from_files(key=tmp_path / "key", certificate=tmp_path / "cert")
    wrong = Tls(key=b"x", certificate=certificate.cert_chain_pems[0].bytes())
    with pytest.raises(ServingError, match="are not PEM or do not fit each other"):
        Server(judge, grpc_port=0, tls=wrong)


def test_beyond_loopback_without_tls_it_warns(judge: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kerasft.serving"):
        with Server(judge, grpc_port=0):
            assert not caplog.messages
        with Server(judge, grpc_port=0, host="0.0.0.0"):
            (message,) = caplog.messages
    assert message.startswith("the server listens on 0.0.0.0 without TLS")


def page_of(server: Server, path: str = PATH) -> dict[str, float]:
    assert server.rest_address is not None
    rest = http.client.HTTPConnection(server.rest_address, timeout=60)
    rest.request("GET", path)
    answer = rest.getresponse()
    assert answer.status == 200
    lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def wrong_request(address: str) -> None:
    """Sends an input that the model does not have, which the client would refuse by itself."""
    request = protos.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["z"].CopyFrom(to_proto([1.0]))
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(request.SerializeToString())


def test_metrics_have_tensorflow_servings_names(judge: Path) -> None:
    with Server(judge, grpc_port=0, rest_port=0) as server:
        with Client(server.address) as client:
            client.predict(x=[1.0])
            with pytest.raises(grpc.RpcError):
                wrong_request(server.address)
            with pytest.raises(ServingError):
                client.predict(model="elsewhere", x=[1.0])
        assert server.rest_address is not None
        rest = http.client.HTTPConnection(server.rest_address, timeout=60)
        body = {"signature_name": "double", "examples": [{"x": 1.0}, {"x": 2.0}]}
        rest.request("POST", "/v1/models/default:regress", json.dumps(body))
        assert rest.getresponse().status == 200
        page = page_of(server)
    prefix = ":tensorflow:serving:"
    assert page[f'{prefix}request_count{{model_name="default",status="OK"}}'] == 2
    assert page[f'{prefix}request_count{{model_name="default",status="INVALID_ARGUMENT"}}'] == 1
    labels = 'model_name="default",API="Predict",entrypoint="GRPC"'
    assert page[f"{prefix}request_latency_count{{{labels}}}"] == 1
    assert page[f'{prefix}request_latency_bucket{{{labels},le="+Inf"}}'] == 1
    labels = 'model_name="default",API="regress",entrypoint="REST"'
    assert page[f"{prefix}request_latency_count{{{labels}}}"] == 1
    labels = 'model_name="default",API="Predict",runtime="TF1"'
    assert page[f"{prefix}runtime_latency_count{{{labels}}}"] == 2
    assert page[f'{prefix}request_example_count_total{{model="default"}}'] == 2
    assert page[f'{prefix}request_example_counts_bucket{{model="default",le="2"}}'] == 0
    assert page[f'{prefix}request_example_counts_bucket{{model="default",le="4"}}'] == 1
    assert page[f'{prefix}batching_session:queuing_latency_count{{thread_pool_name="default"}}'] == 2
    assert not any("elsewhere" in name for name in page)


def test_the_page_can_be_elsewhere_or_nowhere(judge: Path) -> None:
    with Server(judge, grpc_port=0, rest_port=0, metrics_path="/metrics") as server:
        assert page_of(server, "/metrics") == {}
    with Server(judge, grpc_port=0, rest_port=0, metrics_path=None) as server:
        assert server.rest_address is not None
        rest = http.client.HTTPConnection(server.rest_address, timeout=60)
        rest.request("GET", PATH)
        assert rest.getresponse().status == 404


def test_a_histogram_counts_what_is_below_its_limits() -> None:
    histogram = Histogram(":h", labels=("a",), start=10, factor=2, buckets=3)
    for value in (1, 10, 15, 99):
        histogram.add(value, 'x"\n')
    assert histogram.lines() == [
        "# TYPE :h histogram",
        ':h_bucket{a="x\\"\\n",le="10"} 1',
        ':h_bucket{a="x\\"\\n",le="20"} 3',
        ':h_bucket{a="x\\"\\n",le="+Inf"} 4',
        ':h_sum{a="x\\"\\n"} 125',
        ':h_count{a="x\\"\\n"} 4',
    ]


def test_health_follows_the_life_of_the_server(judge: Path, gate: Gate) -> None:
    server = Server(judge, grpc_port=0)
    server.start()
    stopping = threading.Thread(target=server.stop)
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "tensorflow.serving.PredictionService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
        assert code_of(health.Check.future(health_pb2.HealthCheckRequest(service="x"))) == "NOT_FOUND"
        request, response = protos.methods(protos.HEALTH_SERVICE)["List"]
        listed = channel.unary_unary(f"/{protos.HEALTH_SERVICE}/List")(request().SerializeToString())
        assert set(response.FromString(listed).statuses) >= {""}
        seen = health.Watch(health_pb2.HealthCheckRequest())
        assert next(seen).status == health_pb2.HealthCheckResponse.SERVING

        under_way = channel.unary_unary(PREDICT).future(request_of(1.0))
        gate.reached.acquire()
        stopping.start()
        assert next(seen).status == health_pb2.HealthCheckResponse.NOT_SERVING
        seen.cancel()
        gate.opened.set()
        assert answer_of(under_way.result(timeout=60)) == [0.5]
        stopping.join()
        assert code_of(channel.unary_unary(PREDICT).future(request_of(1.0), timeout=10)) == "UNAVAILABLE"


def test_those_who_watch_the_health_do_not_take_all_threads(judge: Path) -> None:
    server = Server(judge, grpc_port=0, max_concurrent=3)
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        seen = health.Watch(health_pb2.HealthCheckRequest())
        assert next(seen).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError, match="more than 1 clients watch") as caught:
            next(health.Watch(health_pb2.HealthCheckRequest()))
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert answer_of(channel.unary_unary(PREDICT)(request_of(1.0), timeout=60)) == [0.5]
        server.stop()
        assert [answer.status for answer in seen] == [health_pb2.HealthCheckResponse.NOT_SERVING]


def test_it_stops_under_load(judge: Path) -> None:
    codes: set[str] = set()
    answered = threading.Semaphore(0)

    def work() -> None:
        with grpc.insecure_channel(server.address) as channel:
            predict = channel.unary_unary(PREDICT)
            while not codes & {"UNAVAILABLE", "CANCELLED"}:
                error: Any = predict.future(request_of(1.0), timeout=60).exception()
                codes.add("OK" if error is None else error.code().name)
                answered.release()

    with Server(judge, grpc_port=0, rest_port=0) as server:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            answered.acquire()
    for thread in threads:
        thread.join()
    assert codes <= {"OK", "UNAVAILABLE", "CANCELLED"}


def test_a_port_that_is_taken_frees_the_other(judge: Path) -> None:
    with Server(judge, grpc_port=0, rest_port=0) as first:
        with pytest.raises(ServingError, match="cannot listen on"):
            Server(judge, grpc_port=0, rest_port=first.rest_port)
        with pytest.raises(ServingError, match="cannot listen on"):
            Server(judge, grpc_port=first.port)


def test_what_to_serve_is_said_once(judge: Path) -> None:
    with pytest.raises(ServingError, match="either a folder or a configuration"):
        Server()


def test_the_log_is_for_people_or_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(logs.LOGGER)
    before = (logger.handlers, logger.level, logger.propagate)
    try:
        logs.configure(style="json")
        logger.info("version %d is available", 3, extra={"model": "m"})
        logger.debug("not written")
        (line,) = capsys.readouterr().err.splitlines()
        written = json.loads(line)
        assert written.pop("time").endswith("+00:00")
        assert written == {"severity": "INFO", "message": "version 3 is available", "model": "m"}
        logs.configure(style="text", level="debug")
        logger.debug("Predict by GRPC", extra={"model": "m", "status": "OK"})
        assert capsys.readouterr().err == "debug: Predict by GRPC (model=m, status=OK)\n"
    finally:
        logger.handlers, logger.level, logger.propagate = before


def test_reflection_names_the_services_and_describes_their_messages(model: Path) -> None:
    pytest.importorskip("grpc_reflection")
    from google.protobuf import descriptor_pb2
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictRequest"),
    ]
    with (
        Server(model, grpc_port=0, poll_seconds=0, reflection=True) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        asked = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(questions))
        listed, described = asked
    names = {service.name for service in listed.list_services_response.service}
    assert {protos.PREDICTION_SERVICE, protos.MODEL_SERVICE, protos.HEALTH_SERVICE} < names
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(content)
        for content in described.file_descriptor_response.file_descriptor_proto
    ]
    assert "PredictRequest" in {message.name for file in files for message in file.message_type}


def test_without_its_package_reflection_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServingError, match=r"pip install 'kerasft\[reflection\]'"):
        Server(model, grpc_port=0, reflection=True)
