"""A server at full load while its model is replaced again and again: nothing may fail, memory must not grow.

    python benchmarks/serving_soak.py [--minutes 10] [--every 20] [--clients 8] [--out FILE.md]

`kerasft serve` serves a small model that adds its version's number to what it is sent. Every few seconds the
next version is published and the oldest of three goes away, while clients call without a pause. Every answer
must be the sum with the number of the version that it names, and the versions must never go back; the next
one is published once the last has been met. The exit code is 1 when one of these fails, or when the server
holds more memory in the last third than in the middle one, by more than a share (--growth) of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from serving_load import Load, ServerUnderLoad, free_ports, put_load

PREDICT = "/tensorflow.serving.PredictionService/Predict"
KEPT = 3
WIDTH = 256


def export(target: Path, versions: int) -> None:
    """Exports versions 1, 2 ... of the model; each has 4 MB of weights, which a leak would show."""
    import tensorflow as tf

    from kerasft.export import export_savedmodel

    for version in range(1, versions + 1):
        module = tf.Module()
        module.number = tf.Variable(float(version))
        module.table = tf.Variable(tf.zeros([1024, 1024]))

        @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], name="x")])
        def add(x: Any, module: Any = module) -> dict[str, Any]:
            return {"y": x + module.number + module.table[0, 0]}

        example = ("serving_default", {"x": np.zeros((1, WIDTH), np.float32)})
        signatures = {"serving_default": add.get_concrete_function()}
        export_savedmodel(module, signatures, target, examples=[example], verify=False)


class Publisher(threading.Thread):
    """Publishes the next version every few seconds, if the last one has been met, until it is stopped.

    Args:
        made: Folder of the versions 1, 2 ...
        target: The model's folder.
        every: Seconds.
        met: Returns whether a client has met a version.
    """

    def __init__(self, made: Path, target: Path, *, every: float, met: Callable[[int], bool]) -> None:
        super().__init__(daemon=True)
        self.version = 0
        self._made, self._target, self._every, self._met = made, target, every, met
        self._stopped = threading.Event()
        self.publish()

    def publish(self) -> None:
        version = self.version + 1
        hidden = self._target / f".{version}"
        shutil.copytree(self._made / str(version), hidden)
        hidden.rename(self._target / str(version))
        self.version = version
        if version > KEPT:
            shutil.rmtree(self._target / str(version - KEPT))

    def run(self) -> None:
        while not self._stopped.wait(self._every):
            if self._met(self.version):
                self.publish()

    def stop(self) -> None:
        self._stopped.set()
        self.join()


class Memory(threading.Thread):
    """Samples what a server holds in memory, twice a second, until it is stopped."""

    def __init__(self, server: ServerUnderLoad) -> None:
        super().__init__(daemon=True)
        self.samples: list[int] = []
        self._server, self._stopped = server, threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.5):
            self.samples.append(self._server.memory())

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def thirds(self) -> tuple[float, float, float]:
        """Returns the medians of the thirds of the time, in MB."""
        third = len(self.samples) // 3
        parts = self.samples[:third], self.samples[third : 2 * third], self.samples[2 * third :]
        first, middle, last = (statistics.median(part) / 1e6 for part in parts)
        return first, middle, last


class Answers:
    """Checks every answer to `request`."""

    def __init__(self) -> None:
        from kerasft.serving import protos
        from kerasft.serving.tensors import to_numpy, to_proto

        self._response, self._to_numpy = protos.PredictResponse, to_numpy
        self._sent = np.random.default_rng(0).random((1, WIDTH), np.float32)
        request = protos.PredictRequest()
        request.model_spec.name = "default"
        request.inputs["x"].CopyFrom(to_proto(self._sent))
        self.request = request.SerializeToString()
        self.versions: list[int] = []
        self.wrong = 0

    def see(self, content: bytes) -> None:
        response = self._response.FromString(content)
        version = response.model_spec.version.value
        if not np.allclose(self._to_numpy(response.outputs["y"]), self._sent + version):
            self.wrong += 1
        if not self.versions or version != self.versions[-1]:
            self.versions.append(version)


def soak(*, seconds: float, every: float, clients: int, growth: float) -> tuple[list[str], list[str]]:
    """Runs it; returns the lines of the table, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made, target = place / "made", place / "served"
        target.mkdir()
        command = [
            sys.executable,
            __file__,
            "--export",
            str(made),
            "--versions",
            str(int(seconds / every) + 2),
        ]
        subprocess.run(command, check=True)
        answers = Answers()
        publisher = Publisher(made, target, every=every, met=lambda version: version in answers.versions)
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "kerasft", "serve", str(target), "--grpc-port", str(port)]
        server = ServerUnderLoad([*command, "--poll", "0.2"], log=place / "log")
        address = f"127.0.0.1:{port}"
        try:
            server.wait(address, PREDICT, answers.request)
            memory = Memory(server)
            publisher.start()
            memory.start()
            load = put_load(
                address,
                PREDICT,
                [answers.request],
                clients=clients,
                seconds=seconds,
                cpu=server.cpu,
                seen=answers.see,
            )
            memory.stop()
            publisher.stop()
        finally:
            code = server.stop()
        log = (place / "log").read_text(encoding="utf-8")
    thirds = memory.thirds()
    problems = judge(load, answers, thirds, growth)
    if code:
        problems.append(f"the server ended with code {code}: {log[-2000:]}")
    return table(load, answers, thirds, clients), problems


def judge(load: Load, answers: Answers, thirds: tuple[float, float, float], growth: float) -> list[str]:
    problems = [f"{count} calls failed with {name}" for name, count in load.failures.items()]
    if answers.wrong:
        problems.append(f"{answers.wrong} answers were wrong")
    # Answers of calls under way during a swap may come in either order.
    seen = list(dict.fromkeys(answers.versions))
    if seen != sorted(seen):
        problems.append(f"versions went back: {seen}")
    if len(seen) < 2:
        problems.append("no reload was seen")
    if thirds[2] > thirds[1] * (1 + growth):
        problems.append(f"memory grew from {thirds[1]:.0f} to {thirds[2]:.0f} MB")
    return problems


def table(load: Load, answers: Answers, thirds: tuple[float, float, float], clients: int) -> list[str]:
    figures = {
        "clients": f"{clients}",
        "seconds": f"{load.seconds:.0f}",
        "requests answered": f"{len(load.latencies)}",
        "requests failed": f"{sum(load.failures.values())}",
        "wrong answers": f"{answers.wrong}",
        "hot reloads": f"{len(set(answers.versions)) - 1}",
        "requests/s": f"{load.rate:.0f}",
        "server CPU a request, ms": f"{1e3 * load.cpu_each:.2f}",
        "p50, ms": f"{1e3 * load.percentile(50):.2f}",
        "p99, ms": f"{1e3 * load.percentile(99):.2f}",
        "longest, ms": f"{1e3 * max(load.latencies):.1f}",
        "memory in the first, second, last third, MB": ", ".join(f"{value:.0f}" for value in thirds),
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items())]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between reloads")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--growth", type=float, default=0.05, help="share by which memory may grow")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--versions", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        export(options.export, options.versions)
        return
    lines, problems = soak(
        seconds=60 * options.minutes, every=options.every, clients=options.clients, growth=options.growth
    )
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
