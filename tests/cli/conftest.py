"""A scaffolded plugin as the task, and the command line called in this process."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kerasft.cli import main
from kerasft.cli.scaffold import write_plugin

WORDS = {"good": ("great", "lovely", "superb"), "bad": ("awful", "poor", "dull")}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only thing on standard output, which must be one line of JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Calls `kerasft ARGUMENTS`; by default it must succeed."""

    def call(*arguments: object, code: int = 0) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["kerasft", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        found = int(stopped.value.code or 0)
        assert found == code, err
        return Answer(found, out, err)

    return call


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a plugin as `kerasft new tinymood` writes it, registered in this process."""
    folder = write_plugin("tinymood", tmp_path_factory.mktemp("plugin") / "kerasft_tinymood")
    sys.path.insert(0, str(folder))
    importlib.import_module("kerasft_tinymood.task")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.jsonl (60 rows) and test.jsonl (20 rows)."""
    folder = tmp_path_factory.mktemp("data")
    shuffled = random.Random(0)
    for name, rows in (("train", 60), ("test", 20)):
        with (folder / f"{name}.jsonl").open("w") as stream:
            for row in range(rows):
                label = ("good", "bad")[row % 2]
                text = f"{shuffled.choice(WORDS[label])} film number {row}"
                stream.write(json.dumps({"text": text, "label": label}) + "\n")
    return folder


@pytest.fixture(scope="session")
def run(plugin: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    import kerasft

    task = kerasft.create("tinymood", training={"epochs": 2, "learning_rate": 0.05, "batch_size": 8})
    task.finetune(data / "train.jsonl", validation_data=0.2, run_dir=folder, verbose="quiet")
    return folder


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model with version 1."""
    import kerasft

    target = tmp_path_factory.mktemp("models") / "tinymood"
    kerasft.load(run).export(target)
    return target


@pytest.fixture
def spawn(plugin: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `kerasft ARGUMENTS` in a process of its own, with the plugin registered."""
    code = "import kerasft_tinymood.task\nfrom kerasft.cli import main\nmain()"

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(plugin), "PYTHONUNBUFFERED": "1"},
        )

    return start
