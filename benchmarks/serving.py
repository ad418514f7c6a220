"""What a request costs: `kerasft serve` against other servers in Python, and against the call in process.

    python benchmarks/serving.py [--mlserver-python PYTHON] [--ray-python PYTHON] [--out FILE.md]

PYTHON is an interpreter that has MLServer, or Ray Serve, beside TensorFlow and tensorflow-serving-api: they
are peers, not dependencies. Servers run on one core, one server at a time, and the clients, in one process,
on another; requests go over loopback. In every round each server meets every model and number of clients,
so that a slow minute of the machine hits all alike. The median of the rounds is shown.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from serving_load import Load, ServerUnderLoad, free_ports, put_load

CLIENTS = (1, 8, 32)
PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
OURS, THREADS, MLSERVER, RAY = "kerasft serve", "tf.saved_model.load, threads", "MLServer", "Ray Serve"
ALONE, JOINED = "in process, a row a call", "in process, as many rows a call"
MODELS = {"mlp": "x", "minilm": "text", "image": "image"}
TITLES = {
    "mlp": "MLP (16 numbers in, two hidden layers of 64)",
    "minilm": "MiniLM text export (a string in)",
    "image": "Image model (224x224x3 float32 in `tensor_content`, 602 kB)",
}


def export_models(place: Path) -> None:
    """Exports the three models, each as version 1."""
    import keras
    import tensorflow as tf

    import kerasft
    from kerasft.export import export_savedmodel
    from kerasft_text import snips

    keras.utils.set_random_seed(0)
    layers = keras.layers
    mlp = keras.Sequential(
        [keras.Input((16,)), layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(4)]
    )
    image = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            layers.Conv2D(8, 7, 4, "same", activation="relu"),
            layers.Conv2D(16, 3, 2, "same", activation="relu"),
            layers.Conv2D(32, 3, 2, "same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    for name, model, shape in (("mlp", mlp, (16,)), ("image", image, (224, 224, 3))):
        module = tf.Module()
        module.weights = [weight.value for weight in model.weights]
        function = tf.function(lambda model=model, **inputs: {"y": model(*inputs.values())})
        signature = function.get_concrete_function(**{MODELS[name]: tf.TensorSpec([None, *shape])})
        example = {MODELS[name]: np.zeros((1, *shape), np.float32)}
        export_savedmodel(
            module, {"serving_default": signature}, place / name, examples=[("serving_default", example)]
        )
    labels = sorted({json.loads(line)["label"] for line in snips().train.open(encoding="utf-8")})
    text = kerasft.create("text", encoder="minilm", labels=labels, seed=0)
    text.build()
    text.export(place / "minilm")


def make_rows(model: str) -> list[np.ndarray]:
    """Returns inputs, one row each."""
    from kerasft_text import snips

    random = np.random.default_rng(0)
    if model == "minilm":
        lines = snips().test.read_text(encoding="utf-8").splitlines()[::11]
        return [np.array([json.loads(line)["text"].encode()]) for line in lines]
    shape, count = ((1, 16), 64) if model == "mlp" else ((1, 224, 224, 3), 8)
    return [random.random(shape, np.float32) for _ in range(count)]


def predict_requests(model: str, rows: list[np.ndarray]) -> list[bytes]:
    from kerasft.serving import protos
    from kerasft.serving.tensors import to_proto

    messages = []
    for row in rows:
        request = protos.PredictRequest()
        request.model_spec.name = model
        request.inputs[MODELS[model]].CopyFrom(to_proto(row))
        messages.append(request.SerializeToString())
    return messages


def mlserver_requests(python: str, model: str, rows: list[np.ndarray]) -> list[bytes]:
    content = io.BytesIO()
    np.savez(content, *rows)
    command = [python, str(_beside("serving_mlserver.py")), model, MODELS[model]]
    output = subprocess.run(command, input=content.getvalue(), stdout=subprocess.PIPE, check=True).stdout
    return [base64.b64decode(line) for line in output.split()]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A server: how it is started on a port, and how it is asked."""

    command: Callable[[Path, int], list[str]]
    method: str
    requests: dict[str, list[bytes]]


def contenders(options: argparse.Namespace) -> dict[str, Contender]:
    rows = {model: make_rows(model) for model in MODELS}
    predict = {model: predict_requests(model, rows[model]) for model in MODELS}

    def ours(models: Path, port: int) -> list[str]:
        named = [part for model in MODELS for part in ("--model", f"{model}={models / model}")]
        command = [sys.executable, "-m", "kerasft", "serve", *named, "--grpc-port", str(port)]
        return [*command, "--poll", "0"]

    def peer(python: str, kind: str) -> Callable[[Path, int], list[str]]:
        return lambda models, port: [python, str(_beside("serving_peers.py")), kind, str(models), str(port)]

    found = {
        OURS: Contender(ours, PREDICT, predict),
        THREADS: Contender(peer(sys.executable, "threads"), PREDICT, predict),
    }
    if options.mlserver_python:
        messages = {model: mlserver_requests(options.mlserver_python, model, rows[model]) for model in MODELS}
        found[MLSERVER] = Contender(peer(options.mlserver_python, "mlserver"), INFER, messages)
    if options.ray_python:
        found[RAY] = Contender(peer(options.ray_python, "ray"), PREDICT, predict)
    return found


def measure(
    contender: Contender, models: Path, seconds: float, core: int, log: Path
) -> dict[tuple[str, int], Load]:
    """Starts a server, asks it for every model by every number of clients, and stops it."""
    (port,) = free_ports(1)
    address, loads = f"127.0.0.1:{port}", {}
    server = ServerUnderLoad(contender.command(models, port), log=log, cores={core})
    try:
        for model, requests in contender.requests.items():
            server.wait(address, contender.method, requests[0])
            for clients in CLIENTS:
                for length in (min(1.0, seconds), seconds):  # The first warms up.
                    load = put_load(
                        address,
                        contender.method,
                        requests,
                        clients=clients,
                        seconds=length,
                        cpu=server.cpu,
                    )
                if load.failures:
                    raise RuntimeError(f"{model}, {clients} clients: {dict(load.failures)}; see {log}")
                loads[model, clients] = load
    finally:
        server.stop()
    return loads


def call_in_process(models: Path, seconds: float) -> dict[str, dict[tuple[str, int], Load]]:
    """Calls the models without a server: the rows of one request a call, then those of all clients."""
    from serving_peers import load as load_model

    loads: dict[str, dict[tuple[str, int], Load]] = {ALONE: {}, JOINED: {}}
    for model, alias in MODELS.items():
        call, rows = load_model(models / model / "1"), make_rows(model)
        for clients in CLIENTS:
            turns = {
                JOINED: [
                    np.concatenate([rows[(start + i) % len(rows)] for i in range(clients)])
                    for start in range(0, len(rows), clients)
                ]
            }
            if clients == 1:
                turns[ALONE] = turns[JOINED]
            for kind, inputs in turns.items():
                for value in inputs:
                    call(**{alias: value})
                began, spent, latencies = time.perf_counter(), time.process_time(), []
                while (sent := time.perf_counter()) < began + seconds:
                    call(**{alias: inputs[len(latencies) % len(inputs)]})
                    latencies.append(time.perf_counter() - sent)
                answered = [latency for latency in latencies for _ in range(clients)]
                ended = time.perf_counter() - began
                loads[kind][model, clients] = Load(ended, answered, {}, time.process_time() - spent)
    return loads


def call_in_a_process(models: Path, seconds: float, core: int) -> dict[str, dict[tuple[str, int], Load]]:
    """Runs `call_in_process` on the servers' core, in a process of its own."""
    command = [sys.executable, __file__, "--in-process", str(models), "--seconds", str(seconds)]
    output = subprocess.run(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, check=True).stdout
    return {
        kind: {(model, clients): Load(*load) for model, clients, load in cells}
        for kind, cells in json.loads(output.splitlines()[-1]).items()
    }


Results = dict[str, dict[tuple[str, int], list[Load]]]


def median(loads: list[Load], of: Callable[[Load], float]) -> float:
    return statistics.median(map(of, loads))


def tables(results: Results, options: argparse.Namespace) -> list[str]:
    lines = []
    for model in MODELS:
        lines += [f"## {TITLES[model]}", ""]
        lines += [
            "| | clients | requests/s | server CPU a request, ms | p50, ms | p99, ms |",
            "|---|---|---|---|---|---|",
        ]
        for clients in CLIENTS:
            for name, cells in results.items():
                if loads := cells.get((model, clients)):
                    figures = [
                        f"{median(loads, lambda load: load.rate):.0f}",
                        f"{median(loads, lambda load: 1e3 * load.cpu_each):.2f}",
                        f"{median(loads, lambda load: 1e3 * load.percentile(50)):.2f}",
                        f"{median(loads, lambda load: 1e3 * load.percentile(99)):.2f}",
                    ]
                    lines.append(f"| {name} | {clients} | {' | '.join(figures)} |")
        lines.append("")
    absent = [name for name in (MLSERVER, RAY) if name not in results]
    if absent:
        lines += [f"Absent from this run: {', '.join(absent)}.", ""]
    return [*lines, "## Goals, at 8 clients", "", *goals(results)]


def goals(results: Results) -> list[str]:
    peers = {name: results[name]["mlp", 8] for name in (THREADS, MLSERVER, RAY) if name in results}
    best = max(peers, key=lambda name: median(peers[name], lambda load: load.rate))
    ratio = statistics.median(
        ours.rate / theirs.rate for ours, theirs in zip(results[OURS]["mlp", 8], peers[best], strict=True)
    )

    def cost(name: str, clients: int) -> float:
        return median(results[name]["minilm", clients], lambda load: load.cpu_each)

    joined, alone = cost(OURS, 8) / cost(JOINED, 8), cost(OURS, 8) / cost(ALONE, 1)

    def verdict(reached: bool) -> str:
        return "reached" if reached else "missed"

    return [
        f"- MLP, throughput against the best peer ({best}): {ratio:.2f}x; the goal of 2x is "
        f"{verdict(ratio >= 2)}.",
        f"- MiniLM, CPU a row against the call in process: {joined:.2f}x that of 8 rows a call, {alone:.2f}x "
        f"that of one row a call; the goal of 1.15x is {verdict(joined <= 1.15)} by the first, "
        f"{verdict(alone <= 1.15)} by the second.",
    ]


def run(options: argparse.Namespace) -> list[str]:
    os.sched_setaffinity(0, {options.client_core})
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        models = place / "models"
        subprocess.run([sys.executable, __file__, "--export", str(models)], check=True)
        servers = contenders(options)
        for turn in range(options.rounds):
            for name, contender in servers.items():
                _gather(
                    results,
                    name,
                    measure(contender, models, options.seconds, options.server_core, place / f"{name}.log"),
                )
                print(f"round {turn + 1}: {name}", file=sys.stderr)
            for name, loads in call_in_a_process(models, options.seconds, options.server_core).items():
                _gather(results, name, loads)
    return tables(results, options)


def _gather(results: Results, name: str, loads: dict[tuple[str, int], Load]) -> None:
    for cell, load in loads.items():
        results.setdefault(name, {}).setdefault(cell, []).append(load)


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mlserver-python")
    parser.add_argument("--ray-python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export_models(options.export)
    elif options.in_process:
        loads = call_in_process(options.in_process, options.seconds)
        print(
            json.dumps(
                {
                    kind: [(*cell, dataclasses.astuple(load)) for cell, load in cells.items()]
                    for kind, cells in loads.items()
                }
            )
        )
    else:
        lines = run(options)
        print("\n".join(lines))
        if options.out:
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
