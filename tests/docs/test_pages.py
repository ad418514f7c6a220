"""Every command and snippet of the README and of docs/ runs, in the order in which it stands there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kerasft.pretrained import cached

from . import pages
from .pages import PAGES, README, ROOT, blocks, commands

NEEDS_MINILM = pytest.mark.skipif(
    cached("minilm") is None, reason="needs the weights of `kerasft fetch minilm`"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.minilm, NEEDS_MINILM] if page == README else ())
        for page in PAGES
    ],
    ids=lambda page: page.name,
)
def test_every_command_and_snippet_runs(page, folder, port):
    done = subprocess.run(
        [sys.executable, pages.__file__, page, str(port)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    if page == README:
        assert (folder / "saved_models/reviews/1/saved_model.pb").is_file()
        assert (folder / "runs/shell/report.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_only_known_kinds_of_blocks(page):
    assert {kind for kind, _ in blocks(page)} <= {"sh", "python", "yaml", "toml", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_make_targets_exist():
    lines = [words for kind, code in blocks(README) if kind == "sh" for words in commands(code)]
    targets = [words[1] for words in lines if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_readme_leads_to_every_page():
    text = README.read_text(encoding="utf-8")
    assert all(f"(docs/{page.name})" in text for page in PAGES if page != README)
