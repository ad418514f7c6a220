"""Exporting: what is written, what is refused, and what a crash leaves."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import ExportError
from kerasft.export import export_savedmodel, layout, verify, warmup
from kerasft.serving.tensors import to_numpy


def concrete(call: Any, **specs: Any) -> Any:
    return tf.function(call).get_concrete_function(**specs)


VECTOR = tf.TensorSpec([None], tf.float32)


def test_an_export_holds_warmup_expected_outputs_and_a_manifest(good: Any, tmp_path: Path) -> None:
    report = good().export(tmp_path / "reviews", manifest={"task": "text", "metrics": {"accuracy": 0.9}})
    assert (report.path, report.version) == (tmp_path / "reviews" / "1", 1)
    assert report.size == sum(path.stat().st_size for path in report.path.rglob("*") if path.is_file())
    assert all(check.ok for check in report.checks)
    assert report.verification.path == report.path
    assert "12 checks passed" in str(report)
    assert json.loads(report.to_json())["version"] == 1

    manifest = json.loads((report.path / layout.MANIFEST).read_text())
    assert (manifest["task"], manifest["metrics"]) == ("text", {"accuracy": 0.9})
    assert manifest["versions"]["tensorflow"] == tf.__version__
    assert set(manifest["signatures"]) == {"serving_default"}
    files = {str(path.relative_to(report.path)) for path in report.path.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {layout.MANIFEST}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((report.path / name).read_bytes()).hexdigest() == digest

    requests = [log.predict_log for log in warmup.read_logs(report.path / layout.WARMUP)]
    assert [to_numpy(log.request.inputs["text"]).tolist() for log in requests] == [
        [b"good"],
        [b"bad", "käse".encode()],
    ]
    assert all(log.request.inputs["x"].dtype == 1 and not log.HasField("response") for log in requests)
    expected = [log.predict_log.response.outputs for log in warmup.read_logs(report.path / layout.EXPECTED)]
    np.testing.assert_array_equal(to_numpy(expected[1]["y"]), [[1, 1], [2, 2]])
    assert to_numpy(expected[1]["id"]).tolist() == [0, -1]


def test_the_next_export_gets_the_next_version(good: Any, tmp_path: Path) -> None:
    model = good()
    assert model.export(tmp_path, verify=False).version == 1
    report = model.export(tmp_path, verify=False)
    assert report.version == 2
    assert report.checks == ()
    assert "not verified" in str(report)
    with pytest.raises(ExportError, match="version 2 of"):
        model.export(tmp_path, version=2)
    assert verify(tmp_path).path == tmp_path / "2"


def test_keras_models_export_with_their_variables(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    function = concrete(lambda x: {"y": network(x, training=False)}, x=tf.TensorSpec([None, 4], tf.float32))
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    report = export_savedmodel(
        module, {"serving_default": function}, tmp_path, examples=[("serving_default", {"x": x})]
    )
    assert report.verification is not None
    assert report.verification["agreement"].ok is True


def test_keras_variables_that_only_python_restores_are_not_published(tmp_path: Path) -> None:
    import keras

    module = tf.Module()
    module.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    function = concrete(lambda x: {"y": module.network(x)}, x=tf.TensorSpec([None, 2], tf.float32))
    examples = [("serving_default", {"x": [[1.0, 2.0]]})]
    with pytest.raises(ExportError, match=r"load: .*sequential.* no value.*weight\.value"):
        export_savedmodel(module, {"serving_default": function}, tmp_path, examples=examples)


def test_warmup_takes_the_first_thousand_examples(tmp_path: Path) -> None:
    function = concrete(lambda x: {"y": x * 2}, x=VECTOR)
    examples = [("serving_default", {"x": [float(i)]}) for i in range(1001)]
    signatures = {"serving_default": function}
    report = export_savedmodel(tf.Module(), signatures, tmp_path, examples=examples, verify=False)
    assert len(list(warmup.read_logs(report.path / layout.WARMUP))) == 1000
    assert len(list(warmup.read_logs(report.path / layout.EXPECTED))) == 1001


def failing(
    tmp_path: Path, call: Any, examples: Any = ((("serving_default", {"x": [1.0, 2.0]})),), **options: Any
) -> str:
    module = options.pop("module", tf.Module())
    with pytest.raises(ExportError) as caught:
        export_savedmodel(
            module,
            {"serving_default": concrete(call, x=VECTOR)},
            tmp_path,
            examples=list(examples),
            **options,
        )
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


def test_a_random_output_is_not_published(tmp_path: Path) -> None:
    message = failing(tmp_path, lambda x: {"y": x + tf.random.uniform([2])})
    assert "agreement" in message
    assert "deterministic" in message


def test_a_function_that_differs_once_saved_is_not_published(tmp_path: Path) -> None:
    module = tf.Module()
    module.calls = tf.Variable(0.0)

    def call(x: Any) -> dict[str, Any]:
        return {"y": x + module.calls.assign_add(1.0)}

    assert "agreement" in failing(tmp_path, call, module=module)


def test_not_a_number_is_not_published(tmp_path: Path) -> None:
    message = failing(tmp_path, lambda x: {"y": tf.math.log(-x)})
    assert "finite" in message
    assert "'y' (" in message


def test_an_example_must_fit_its_signature(tmp_path: Path) -> None:
    call = lambda x: {"y": x}  # noqa: E731
    assert "signature 'rank'" in failing(tmp_path, call, [("rank", {})])
    assert "has the inputs ['z']" in failing(tmp_path, call, [("serving_default", {"z": [1.0]})])
    assert "fails on its own example" in failing(tmp_path, call, [("serving_default", {"x": [[1.0]]})])


def test_the_manifest_must_be_json_and_leave_the_exports_entries_alone(tmp_path: Path) -> None:
    call = lambda x: {"y": x}  # noqa: E731
    assert "JSON" in failing(tmp_path, call, manifest={"task": object()})
    assert "'signatures'" in failing(tmp_path, call, manifest={"signatures": {}})


def test_untracked_variables_are_an_error(tmp_path: Path) -> None:
    hidden = tf.Variable(2.0)
    assert "cannot be saved" in failing(tmp_path, lambda x: {"y": x * hidden})


def test_the_tolerance_decides_what_agrees(tmp_path: Path) -> None:
    module = tf.Module()
    module.calls = tf.Variable(0.0)
    function = concrete(lambda x: {"y": x + module.calls.assign_add(0.001)}, x=VECTOR)
    signatures, examples = {"serving_default": function}, [("serving_default", {"x": [1.0]})]
    loose = {"rtol": 0.0, "atol": 0.1}
    report = export_savedmodel(module, signatures, tmp_path, examples=examples, tolerance=loose)
    assert report.verification is not None
    assert report.verification["agreement"].ok


CRASHES = """
import os, resource, signal, sys
from pathlib import Path
import tensorflow as tf
from kerasft.export import savedmodel

module = tf.Module()
module.weight = tf.Variable(tf.zeros([100_000]))
call = tf.function(lambda x: {"y": x + module.weight[:1]})
function = call.get_concrete_function(x=tf.TensorSpec([1], tf.float32))

def export(target):
    examples = [("serving_default", {"x": [1.0]})]
    return savedmodel.export_savedmodel(module, {"serving_default": function}, target, examples=examples)

full, killed = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    export(full)
except savedmodel.ExportError as error:
    print(error, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
savedmodel.verify_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
export(killed)
"""


def test_a_full_disk_or_a_kill_shows_no_version(good: Any, tmp_path: Path) -> None:
    full, killed = tmp_path / "full", tmp_path / "killed"
    command = [sys.executable, "-c", CRASHES, str(full), str(killed)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert str(full) in result.stdout
    assert list(full.iterdir()) == []
    assert layout.versions(killed) == {}
    (leftover,) = killed.iterdir()
    assert (leftover / layout.GRAPH).is_file()

    assert good().export(killed).version == 1
    assert [path.name for path in killed.iterdir()] == ["1"]
