"""Messages of a gigabyte: an answer or RESOURCE_EXHAUSTED, and the server lives."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kerasft.serving import protos
from kerasft.serving.tensors import to_numpy

PREDICT = f"/{protos.PREDICTION_SERVICE}/Predict"
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
GIGABYTE = 2**30
NEEDED_KB = 9 * 2**20


@pytest.fixture(autouse=True)
def _memory() -> None:
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    if int(facts["MemAvailable"].split()[0]) < NEEDED_KB:
        pytest.skip("needs 9 GB of free memory")


def image_request(pixels: int) -> bytes:
    """Returns a request for the mean of an image of zeros, 12 bytes a pixel."""
    request = protos.PredictRequest(output_filter=["mean"])
    request.model_spec.name, request.model_spec.signature_name = "demo", "mean"
    image = request.inputs["image"]
    image.dtype = 1
    for size in (1, 1, pixels, 3):
        image.tensor_shape.dim.add().size = size
    image.tensor_content = bytes(12 * pixels)
    content: bytes = request.SerializeToString()
    return content


def mean(channel: grpc.Channel, pixels: int) -> float:
    answer: Any = channel.unary_unary(PREDICT)(image_request(pixels), timeout=300)
    outputs = protos.PredictResponse.FromString(answer).outputs
    return float(to_numpy(outputs["mean"])[0])


@pytest.fixture
def serve(model: Path) -> Iterator[Callable[..., grpc.Channel]]:
    """Starts `kerasft serve` with options, and returns a channel to it; it must end well."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> grpc.Channel:
        command = [sys.executable, "-m", "kerasft", "serve", "--model", f"demo={model}", "--grpc-port", "0"]
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split()[0]
        return grpc.insecure_channel(address, options=UNLIMITED)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_a_gigabyte_is_answered_where_the_limit_allows_it(serve: Callable[..., grpc.Channel]) -> None:
    with serve("--max-message-mb", "2047") as channel:
        assert mean(channel, GIGABYTE // 12 + 1) == 0.0
        assert mean(channel, 1) == 0.0


@pytest.mark.slow
def test_a_gigabyte_is_refused_where_the_limit_does_not(serve: Callable[..., grpc.Channel]) -> None:
    with serve() as channel:
        with pytest.raises(grpc.RpcError) as error:
            mean(channel, GIGABYTE // 12 + 1)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert mean(channel, 1) == 0.0
