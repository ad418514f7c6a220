"""Tiny modules to export, good ones and ones with a planted defect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

Build = Callable[..., Any]


class Good:
    """`y = x @ w`, a lookup table and an echo: a variable, a resource and strings."""

    def __init__(self, weight: float = 1.0) -> None:
        import tensorflow as tf

        self.module = tf.Module()
        self.module.weight = tf.Variable(tf.fill([3, 2], weight))
        entries = tf.lookup.KeyValueTensorInitializer(["good", "bad"], tf.constant([1, 0], tf.int64))
        self.module.table = tf.lookup.StaticHashTable(entries, -1)

        def call(x: Any, text: Any) -> dict[str, Any]:
            return {
                "y": tf.matmul(x, self.module.weight),
                "id": self.module.table[text],
                "echo": text,
            }

        function = tf.function(call).get_concrete_function(
            x=tf.TensorSpec([None, 3], tf.float32), text=tf.TensorSpec([None], tf.string)
        )
        self.signatures = {"serving_default": function}
        self.examples = [
            ("serving_default", {"x": [[1.0, 2.0, 3.0]], "text": ["good"]}),
            ("serving_default", {"x": [[1, 0, 0], [0, 2, 0]], "text": ["bad", "käse"]}),
        ]

    def export(self, target: Path, **options: Any) -> Any:
        from kerasft.export import export_savedmodel

        return export_savedmodel(self.module, self.signatures, target, examples=self.examples, **options)


@pytest.fixture
def good() -> Callable[..., Good]:
    """Makes a module that exports well."""
    return Good


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good export, made once; do not change it."""
    return Good().export(tmp_path_factory.mktemp("models") / "good").path


def save_function(path: Path, call: Any, specs: dict[str, Any], name: str = "serving_default") -> Path:
    """Saves one function as others would, without kerasft."""
    import tensorflow as tf

    module = tf.Module()
    module.call = tf.function(call) if not hasattr(call, "get_concrete_function") else call
    function = module.call.get_concrete_function(**specs)
    tf.saved_model.save(module, str(path), signatures={name: function})
    return path


@pytest.fixture
def save() -> Build:
    """`save_function`, for tests."""
    return save_function


class Worker:
    """The worker of `verify` in a process that is started once for many folders, to save its start-up."""

    LOOP = """
import sys
from kerasft.export import worker
for line in sys.stdin:
    worker.main(*line.rstrip().split(chr(9)))
    print("done", flush=True)
"""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def failures(self, folder: Path) -> dict[str, str]:
        """Returns the failed checks of a version folder: name -> detail."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        results = folder.with_name("results.jsonl")
        self.process.stdin.write(f"{folder}\t{results}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        checks = [line["check"] for line in lines if "check" in line]
        return {check["name"]: check["detail"] for check in checks if check["ok"] is False}

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="session")
def failures() -> Iterator[Callable[[Path], dict[str, str]]]:
    """What fails when a version folder is checked in a process without TensorFlow's Python."""
    worker = Worker()
    yield worker.failures
    worker.close()
