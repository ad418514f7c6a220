"""A tiny wheel, an index that is a folder, and a cache of its own for each test."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kerasft.pretrained import cached, catalogue
from kerasft.pretrained.catalogue import Entry

DIST = "tiny_weights-1.0.dist-info"
FILES = {
    "tiny_weights/__init__.py": b"raise RuntimeError('code of the wheel must never run')\n",
    "tiny_weights/model/config.json": b"{}",
    "tiny_weights/model/deep/weights.bin": bytes(range(256)) * 40,
    f"{DIST}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: absent\n",
    f"{DIST}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{DIST}/RECORD": b"",
    f"{DIST}/licenses/LICENSE": b"Do what you like.\n",
}


@dataclass
class Index:
    """A folder that pip uses as its only index, and the record of the one wheel in it."""

    folder: Path
    home: Path
    entry: Entry
    monkeypatch: pytest.MonkeyPatch

    @property
    def wheel(self) -> Path:
        return self.folder / "tiny_weights-1.0-py3-none-any.whl"

    @property
    def cached(self) -> Path:
        return self.home / "pretrained" / f"tiny-1.0-{self.entry.sha256[:8]}"

    def pin(self, **changes: object) -> None:
        """Changes the record in the catalogue."""
        self.entry = replace(self.entry, **changes)  # type: ignore[arg-type]
        self.monkeypatch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "tiny": self.entry})

    def cut(self) -> None:
        """Makes pip's index unreachable."""
        self.monkeypatch.delenv("PIP_NO_INDEX", raising=False)
        self.monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        self.monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        self.monkeypatch.setenv("no_proxy", "127.0.0.1")

    def leftovers(self) -> list[str]:
        """Names of what lies beside the weights in the cache, locks aside."""
        folder = self.home / "pretrained"
        names = os.listdir(folder) if folder.exists() else []
        return sorted(name for name in names if not name.endswith(".lock") and name != self.cached.name)


def write_wheel(path: Path, files: dict[str, bytes]) -> str:
    """Writes a wheel; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Index]:
    """Returns a function that makes an `Index` whose wheel holds the given files."""

    def make(files: dict[str, bytes] = FILES) -> Index:
        folder, home = tmp_path / "index", tmp_path / "home"
        digest = write_wheel(folder / "tiny_weights-1.0-py3-none-any.whl", files)
        entry = Entry(
            name="tiny",
            distribution="tiny-weights",
            version="1.0",
            sha256=digest,
            member="tiny_weights/model",
            licence="CC0-1.0",
            licence_file=f"{DIST}/licenses/LICENSE",
            megabytes=0.01,
            description="Nothing much.",
        )
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        monkeypatch.setenv("KERASFT_HOME", str(home))
        index = Index(folder, home, entry, monkeypatch)
        index.pin()
        return index

    return make


@pytest.fixture
def index(make_index: Callable[..., Index]) -> Index:
    """An index with the tiny wheel."""
    return make_index()


@pytest.fixture
def weights() -> Callable[[str], Path]:
    """Returns a function from a name of the catalogue to its folder; it skips the test if there is none."""

    def find(name: str) -> Path:
        folder = cached(name)
        if folder is None:
            pytest.skip(f"the {name} weights are not cached; run: kerasft fetch {name}")
        return folder

    return find
