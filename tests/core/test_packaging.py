"""What `pip install .` brings along."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kerasft

ROOT = Path(__file__).parents[2]
SOURCES = {"kerasft": ROOT / "kerasft"} | {path.name: path for path in (ROOT / "plugins").glob("kerasft_*")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel, built from a copy: building writes into the source tree."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("kerasft", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = folder.glob("kerasft-*.whl")
    return set(zipfile.ZipFile(file).namelist())


@pytest.mark.parametrize("package", SOURCES)
def test_all_files_of_a_package_are_installed(wheel: set[str], package: str) -> None:
    folder = SOURCES[package]
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= wheel, sorted(wanted - wheel)


def test_nothing_else_is_installed(wheel: set[str]) -> None:
    metadata = f"kerasft-{kerasft.__version__}.dist-info"
    assert {name.partition("/")[0] for name in wheel} == {*SOURCES, metadata}
