"""Every defect that verification promises to catch is planted and caught."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, ExportError
from kerasft.export import _capi, layout, runtimes, verify, warmup
from kerasft.export.report import CHECKS
from kerasft.serving import protos

ROWS = {"x": tf.TensorSpec([None, 2], tf.float32)}


Failures = Callable[[Path], dict[str, str]]


def rewrite_graph(folder: Path, change: Callable[[Any], None]) -> None:
    saved = protos.SavedModel.FromString((folder / layout.GRAPH).read_bytes())
    change(saved.meta_graphs[0])
    (folder / layout.GRAPH).write_bytes(saved.SerializeToString())


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the good export, to damage."""
    return Path(shutil.copytree(exported, tmp_path / "model" / "1"))


def test_a_good_export_passes_every_check(exported: Path) -> None:
    report = verify(exported)
    assert report.ok
    assert [check.name for check in report.checks] == list(CHECKS)
    assert all(check.ok is True for check in report.checks), str(report)
    assert json.loads(report.to_json())["ok"] is True


def test_a_model_folder_stands_for_its_newest_version(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "9")
    shutil.copytree(exported, tmp_path / "10")
    (tmp_path / ".tmp-11-1-host-0").mkdir()
    assert verify(tmp_path).path == tmp_path / "10"


def test_an_export_made_elsewhere_skips_what_needs_a_manifest(save: Any, tmp_path: Path) -> None:
    report = verify(save(tmp_path / "1", lambda x: {"y": x * 2}, ROWS))
    assert report.ok
    skipped = {check.name for check in report.checks if check.ok is None}
    assert skipped == {"checksums", "warmup", "agreement", "finite"}
    assert "not exported by kerasft" in report["checksums"].detail


def keras_model() -> Any:
    import keras

    inputs = keras.Input((2,), name="x")
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs))
    return keras.Model(inputs, {"y": hidden})


def test_what_keras_exports_passes(failures: Failures, tmp_path: Path) -> None:
    keras_model().export(tmp_path / "1", verbose=False)
    assert failures(tmp_path / "1") == {}


def test_weights_that_come_back_in_python_only_are_caught(failures: Failures, tmp_path: Path) -> None:
    tf.saved_model.save(keras_model(), str(tmp_path / "1"))
    found = failures(tmp_path / "1")
    assert set(found) == {"load"}
    assert "have no value once loaded" in found["load"]
    assert "model.export" in found["load"]


def test_python_functions_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    def call(x: Any) -> dict[str, Any]:
        return {"y": tf.ensure_shape(tf.py_function(lambda v: v * 2, [x], tf.float32), [None, 2])}

    found = failures(save(tmp_path / "1", call, ROWS))
    assert "EagerPyFunc" in found["python"]
    assert "TensorFlow ops" in found["python"]


def test_functions_that_demand_xla_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    @tf.function(jit_compile=True)
    def fast(x: Any) -> Any:
        return tf.tanh(x)

    found = failures(save(tmp_path / "1", lambda x: {"y": fast(x)}, ROWS))
    assert set(found) == {"xla"}
    assert "jit_compile" in found["xla"]


def test_ops_outside_the_stock_set_are_caught(failures: Failures, copied: Path) -> None:
    def rename(meta_graph: Any) -> None:
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                node.op = "MyFancyMatMul" if node.op == "MatMul" else node.op

    rewrite_graph(copied, rename)
    found = failures(copied)
    assert "MyFancyMatMul" in found["ops"]
    assert "MyFancyMatMul" in found["load"]
    assert "saved_model.pb has changed" in found["checksums"]


def test_ops_without_a_cpu_kernel_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    def call(x: Any) -> dict[str, Any]:
        small = tf.cast(x, tf.uint16)
        return {"y": tf.raw_ops.MatMul(a=small, b=small, transpose_b=True)}

    found = failures(save(tmp_path / "1", call, ROWS))
    assert set(found) == {"kernels"}
    assert "MatMul [T=uint16]" in found["kernels"]


def test_unnamed_outputs_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    found = failures(save(tmp_path / "1", lambda x: x * 2, ROWS))
    assert set(found) == {"signatures"}
    assert "'output_0'" in found["signatures"]
    assert "dict of named tensors" in found["signatures"]


def test_unnamed_inputs_are_caught(failures: Failures, tmp_path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(lambda *args: {"y": args[0] * 2})
    function = module.call.get_concrete_function(tf.TensorSpec([None], tf.float32))
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=function)
    assert "input 'args_0'" in failures(tmp_path / "1")["signatures"]


def test_unknown_ranks_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    found = failures(save(tmp_path / "1", lambda x: {"y": x * 2}, {"x": tf.TensorSpec(None, tf.float32)}))
    assert set(found) == {"signatures"}
    assert "unknown rank" in found["signatures"]


def test_a_missing_default_signature_is_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    found = failures(save(tmp_path / "1", lambda x: {"y": x * 2}, ROWS, name="classify"))
    assert set(found) == {"signatures"}
    assert "serving_default" in found["signatures"]
    assert "classify" in found["signatures"]


def test_damaged_variables_are_caught_even_without_a_manifest(failures: Failures, copied: Path) -> None:
    (copied / layout.MANIFEST).unlink()
    data = copied / "variables/variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[:24] = bytes(24)
    data.write_bytes(content)
    assert "load" in failures(copied)


def test_missing_variables_are_caught(failures: Failures, copied: Path) -> None:
    shutil.rmtree(copied / "variables")
    found = failures(copied)
    assert "variables/variables.index" in found["files"]
    assert "is missing" in found["checksums"]


def test_changed_files_are_caught(failures: Failures, copied: Path) -> None:
    (copied / "fingerprint.pb").write_bytes(b"other")
    found = failures(copied)
    assert set(found) == {"checksums"}
    assert "fingerprint.pb has changed" in found["checksums"]


def test_a_damaged_manifest_is_caught(failures: Failures, copied: Path) -> None:
    (copied / layout.MANIFEST).write_text("{")
    assert "checksums" in failures(copied)


@pytest.mark.parametrize("tolerance", [None, 1e-3, {"rtol": 0.1}, {"rtol": "0.1", "atol": 0.1}])
def test_a_manifest_with_a_wrong_tolerance_is_caught(
    failures: Failures, copied: Path, tolerance: Any
) -> None:
    path = copied / layout.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "tolerance": tolerance}))
    found = failures(copied)
    assert set(found) == {"checksums", "agreement"}
    assert "tolerance" in found["agreement"]


def test_a_warmup_request_that_fails_is_caught(failures: Failures, copied: Path) -> None:
    logs = [
        *warmup.read_logs(copied / layout.WARMUP),
        warmup.predict_log("serving_default", {"x": [[1.0]], "text": ["a"]}),
    ]
    warmup.write_logs(copied / layout.WARMUP, logs)
    found = failures(copied)
    assert found["warmup"].startswith("warm-up request 2 failed")


def test_a_damaged_warmup_file_is_caught(failures: Failures, copied: Path) -> None:
    path = copied / layout.WARMUP
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    assert "record 1" in failures(copied)["warmup"]


def test_too_many_warmup_requests_are_caught(failures: Failures, save: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "1", lambda x: {"y": x * 2}, ROWS)
    log = warmup.predict_log("serving_default", {"x": [[1.0, 2.0]]})
    warmup.write_logs(folder / layout.WARMUP, [log] * 1001)
    assert "1001" in failures(folder)["warmup"]


def test_other_weights_than_in_memory_are_caught(
    failures: Failures, copied: Path, good: Any, tmp_path: Path
) -> None:
    other = good(weight=1.01).export(tmp_path / "other", verify=False).path
    shutil.rmtree(copied / "variables")
    shutil.copytree(other / "variables", copied / "variables")
    found = failures(copied)
    assert set(found) == {"checksums", "agreement"}
    assert "output 'y'" in found["agreement"]


def test_other_strings_than_in_memory_are_caught(failures: Failures, copied: Path) -> None:
    logs = list(warmup.read_logs(copied / layout.EXPECTED))
    logs[1].predict_log.response.outputs["echo"].string_val[1] = b"Kuchen"
    warmup.write_logs(copied / layout.EXPECTED, logs)
    detail = failures(copied)["agreement"]
    assert "request 1" in detail
    assert "Kuchen" in detail


def test_a_truncated_graph_is_caught(failures: Failures, copied: Path) -> None:
    path = copied / layout.GRAPH
    path.write_bytes(path.read_bytes()[:1000])
    found = failures(copied)
    assert "cut short" in found["graph"]
    assert set(found) == {"graph", "checksums"}


def test_a_version_folder_without_a_graph_is_caught(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert "saved_model.pb" in verify(tmp_path)["graph"].detail


def test_an_empty_folder_is_caught(tmp_path: Path) -> None:
    assert "numbered version" in verify(tmp_path)["graph"].detail


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not exist"):
        verify(tmp_path / "nothing")


def test_a_file_is_led_to_its_folder(exported: Path) -> None:
    with pytest.raises(ExportError, match="is a file; give the folder that holds it"):
        verify(exported / layout.GRAPH)


def test_a_graph_for_training_only_is_caught(failures: Failures, copied: Path) -> None:
    def retag(meta_graph: Any) -> None:
        meta_graph.meta_info_def.tags[:] = ["train"]

    rewrite_graph(copied, retag)
    assert "'train'" in failures(copied)["graph"]


def test_a_crash_of_the_runtime_is_a_failed_check(save: Any, tmp_path: Path) -> None:
    def call(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="planted", exit_without_error=False)]):
            return {"y": tf.identity(x)}

    folder = save(tmp_path / "1", call, ROWS)
    log = warmup.predict_log("serving_default", {"x": [[1.0, 2.0]]})
    warmup.write_logs(folder / layout.WARMUP, [log])
    report = verify(folder)
    assert [check.name for check in report.failed] == ["warmup"]
    assert "SIGABRT" in report["warmup"].detail
    assert report["load"].ok is True
    assert report["agreement"].ok is None


def test_a_hang_is_a_failed_check(save: Any, tmp_path: Path) -> None:
    def call(x: Any) -> dict[str, Any]:
        return {"y": tf.while_loop(lambda v: tf.reduce_all(v < 9.0), lambda v: [v * 1.0], [x])[0]}

    folder = save(tmp_path / "1", call, ROWS)
    log = warmup.predict_log("serving_default", {"x": [[1.0, 2.0]]})
    warmup.write_logs(folder / layout.WARMUP, [log])
    report = verify(folder, timeout=3)
    assert len(report.failed) == 1
    assert "did not end within 3 s" in report.failed[0].detail


def test_the_worker_imports_neither_tensorflow_nor_keras(exported: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from kerasft.export import worker; worker.main(sys.argv[1], sys.argv[2]); "
        "sys.exit(bool({'tensorflow', 'keras', 'tensorflow_text'} & set(sys.modules)))"
    )
    results = tmp_path / "results"
    subprocess.run([sys.executable, "-c", code, str(exported), str(results)], check=True)
    checks = [line["check"] for line in map(json.loads, results.read_text().splitlines()) if "check" in line]
    assert [check["name"] for check in checks] == list(CHECKS)
    assert all(check["ok"] for check in checks)


def test_tensorflow_text_is_part_of_the_stock_set(save: Any, tmp_path: Path) -> None:
    text = pytest.importorskip("tensorflow_text")

    def call(text_in: Any) -> dict[str, Any]:
        return {"folded": text.case_fold_utf8(text_in)}

    folder = save(tmp_path / "1", call, {"text_in": tf.TensorSpec([None], tf.string)})
    log = warmup.predict_log("serving_default", {"text_in": ["ABC"]}, {"folded": ["abc"]})
    warmup.write_logs(folder / layout.EXPECTED, [log])
    report = verify(folder)
    assert report.ok, str(report)
    assert "CaseFoldUTF8" in report["ops"].detail
    assert report["agreement"].ok is True


def test_reports_print_as_text_and_as_a_table(copied: Path) -> None:
    from rich.console import Console

    (copied / "fingerprint.pb").unlink()
    report = verify(copied)
    assert "NOT fit to serve" in str(report)
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report)
    text = console.export_text()
    assert "FAILED" in text
    assert "fingerprint.pb is missing" in text


def test_a_release_that_cannot_be_had_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no TensorFlow '2\.19' to fetch; take 2\.20"):
        verify(exported, runtime="2.19")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ConfigError, match=r"for x86-64 Linux only, and this is riscv64 linux"):
        verify(exported, runtime="2.20")


def test_another_release_is_taken_from_its_folder(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: dict[str, str] = {}
    for package, entry in runtimes.RELEASES["2.20"].items():
        folders[entry] = str(_capi.package_folder(package))
    asked: list[str] = []

    def fetch(entry: str, *, progress: bool) -> Path:
        asked.append(entry)
        return Path(folders[entry])

    monkeypatch.setattr(runtimes, "fetch", fetch)
    assert verify(exported, runtime="2.20").ok
    assert asked == ["tensorflow-2.20", "tensorflow-text-2.20"]
    folders["tensorflow-2.20"] = str(exported)
    load = {check.name: check for check in verify(exported, runtime="2.20").checks}["ops"]
    assert load.ok is False
    assert f"no libtensorflow_cc in {exported}" in load.detail


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="fetched for x86-64 only")
def test_exports_load_in_the_release_that_tensorflow_serving_runs(exported: Path, tmp_path: Path) -> None:
    report = verify(exported, runtime="2.20")
    assert report.ok, str(report)
    assert "TensorFlow 2.20.0 took it" in report["load"].detail
    task = kerasft.create("text", encoder="transformer", labels=["bad", "good"])
    rows = {"text": ["what a film", "what a bore"], "label": ["good", "bad"]}
    task.finetune(rows, epochs=1, verbose="quiet")
    report = verify(task.export(tmp_path / "text").path, runtime="2.20")
    assert report.ok, str(report)
