"""A served model: a real process and a real socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kerasft.export import layout
from kerasft.serving import protos
from kerasft.serving.server import Server
from kerasft.serving.server.config import from_folders

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class ServerProcess:
    """`python -m kerasft.serving.server` on a free port."""

    def __init__(self, target: Path, *options: str) -> None:
        command = [sys.executable, "-m", "kerasft.serving.server", str(target), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.banner = self.process.stdout.readline()
        assert " at " in self.banner, self.process.communicate()[1]
        self.address = self.banner.split(" at ")[1].split()[0]

    def stop(self, signal: int) -> tuple[int, str]:
        """Sends a signal and returns the exit code and what was printed on stderr."""
        self.process.send_signal(signal)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def export(target: Path) -> Any:
    """Exports a model with floats, strings, an image-sized input, and a second signature."""
    import tensorflow as tf

    from kerasft.export import export_savedmodel

    module = tf.Module()
    module.weight = tf.Variable(tf.ones([3, 2]))

    def main(x: Any, text: Any) -> dict[str, Any]:
        return {"y": tf.matmul(x, module.weight), "echo": text, "length": tf.strings.length(text)}

    def mean(image: Any) -> dict[str, Any]:
        return {"mean": tf.reduce_mean(image, [1, 2, 3]), "image": image}

    signatures = {
        "serving_default": tf.function(main).get_concrete_function(
            x=tf.TensorSpec([None, 3], tf.float32), text=tf.TensorSpec([None], tf.string)
        ),
        "mean": tf.function(mean).get_concrete_function(
            image=tf.TensorSpec([None, None, None, 3], tf.float32)
        ),
    }
    examples = [("serving_default", {"x": [[1.0, 2.0, 3.0]], "text": ["a"]})]
    return export_savedmodel(module, signatures, target, examples=examples, verify=False)


def export_examples(target: Path) -> Path:
    """Saves version 1 of a model that takes tf.Examples with a number `x`, for all three methods."""
    import tensorflow as tf

    module = tf.Module()

    def numbers(inputs: Any) -> Any:
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        return tf.io.parse_example(inputs, spec)["x"]

    def judge(inputs: Any) -> dict[str, Any]:
        x = numbers(inputs)
        names = tf.tile(tf.constant([["small", "large"]]), [tf.shape(x)[0], 1])
        return {"classes": names, "scores": tf.concat([-x, x], 1)}

    def double(inputs: Any) -> dict[str, Any]:
        return {"outputs": 2.0 * numbers(inputs)}

    def scores(inputs: Any) -> dict[str, Any]:
        return {"scores": numbers(inputs)}

    def total(inputs: Any) -> dict[str, Any]:
        return {"outputs": tf.reduce_sum(numbers(inputs))}

    def half(x: Any) -> dict[str, Any]:
        return {"y": x / 2.0}

    text = tf.TensorSpec([None], tf.string)
    methods = {"judge": judge, "double": double, "scores": scores, "total": total}
    signatures = {
        name: tf.function(body).get_concrete_function(inputs=text) for name, body in methods.items()
    }
    signatures["serving_default"] = tf.function(half).get_concrete_function(
        x=tf.TensorSpec([None], tf.float32)
    )
    folder = target / "1"
    tf.saved_model.save(module, str(folder), signatures=signatures)
    path = folder / layout.GRAPH
    saved = protos.SavedModel.FromString(path.read_bytes())
    for name in methods:
        kind = "classify" if name in ("judge", "scores") else "regress"
        saved.meta_graphs[0].signature_def[name].method_name = f"tensorflow/serving/{kind}"
    path.write_bytes(saved.SerializeToString())
    return target


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with version 1 of a model that takes tf.Examples; do not change it."""
    return export_examples(tmp_path_factory.mktemp("models") / "judge")


@pytest.fixture(scope="session")
def both(model: Path, judge: Path) -> Iterator[Server]:
    """A server in this process with the models `demo` (labels: stable = 3, next = 20) and `judge`."""
    config = from_folders({"demo": model, "judge": judge})
    demo = config.model_config_list.config[0]
    demo.model_version_policy.all.SetInParent()
    demo.version_labels.update({"stable": 3, "next": 20})
    with Server(config=config, grpc_port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the versions 3 and 20; do not change it."""
    target = tmp_path_factory.mktemp("models") / "demo"
    first = export(target).path
    shutil.copytree(first, target / "20")
    first.rename(target / "3")
    return target


@pytest.fixture(scope="session")
def server(model: Path) -> Iterator[str]:
    """The address of a server of `model`, under the name `demo`."""
    running = ServerProcess(model, "--name", "demo")
    yield running.address
    running.stop(signal.SIGTERM)


@pytest.fixture
def start_server() -> type[ServerProcess]:
    """Starts a server in a process of its own."""
    return ServerProcess
