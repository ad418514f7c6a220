"""Every command and snippet of the README runs, in the order in which it stands there."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kerasft.pretrained import cached

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
KERASFT = [sys.executable, "-m", "kerasft"]

GOOD = ("a warm and funny film", "what a film", "superb acting", "a joy from start to end", "I loved it")
BAD = ("a dull and empty film", "what a bore", "wooden acting", "a waste of an evening", "I hated it")


def commands() -> list[str]:
    shell = [text for kind, text in BLOCKS if kind == "sh"]
    lines = [line.partition("#")[0].strip() for text in shell for line in text.splitlines()]
    return [line for line in lines if line]


def test_only_known_kinds_of_blocks():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}


def test_make_targets_exist():
    targets = [line.split()[1] for line in commands() if line.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_links_and_pictures_exist():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A user's folder with two files of reviews."""
    path = tmp_path_factory.mktemp("user")
    rows = [f"{text}\t{label}" for texts, label in ((GOOD, "positive"), (BAD, "negative")) for text in texts]
    (path / "reviews.tsv").write_text("\n".join(["text\tlabel", *rows * 4]) + "\n", encoding="utf-8")
    (path / "test.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(arguments: list[str], folder: Path) -> Iterator[None]:
    command = [*KERASFT, *arguments]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "127.0.0.1:" in line or "localhost:" in line:
                break
        assert process.poll() is None, "".join(seen)
        yield
    finally:
        process.terminate()
        process.communicate()


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.minilm
@pytest.mark.skipif(cached("minilm") is None, reason="needs the weights of `kerasft fetch minilm`")
def test_every_command_and_snippet_runs(folder):
    port = free_port()
    serving = None
    with contextlib.ExitStack() as stack:
        for kind, text in BLOCKS:
            text = text.replace("8500", str(port))
            if kind == "python":
                run([sys.executable, "-c", text], folder)
            elif kind == "sh":
                for line in text.splitlines():
                    words = shlex.split(line, comments=True)
                    if words and words[0] == "kerasft" and words[1] == "serve":
                        stack.enter_context(server(words[1:], folder))
                        serving = words
                    elif words and words[0] == "kerasft":
                        run([*KERASFT, *words[1:]], folder)
    assert serving is not None
    assert (folder / "saved_models/reviews/1/saved_model.pb").is_file()
    assert (folder / "runs/shell/report.html").is_file()
