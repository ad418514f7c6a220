"""PyTorch files without PyTorch: both formats, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers import read_torch

BASE = np.arange(12, dtype=np.float32)


class Reduced:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.state = function, arguments

    def __reduce__(self) -> Any:
        return self.state


class Storage:
    def __init__(self, kind: Any, values: np.ndarray) -> None:
        self.kind, self.values = kind, values


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """PyTorch's names, for pickle to write; whoever calls the real function fails the test."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    kind = type("FloatStorage", (), {"__module__": "torch"})
    torch.FloatStorage = kind  # type: ignore[attr-defined]

    def rebuild(*arguments: Any) -> None:
        raise AssertionError("the real function must not run")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return types.SimpleNamespace(kind=kind, rebuild=rebuild)


def dump(value: Any, stream: Any) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            return ("storage", item.kind, "0", "cpu", len(item.values)) if isinstance(item, Storage) else None

    Pickler(stream, 2).dump(value)


def write(path: Path, value: Any, legacy: bool) -> Path:
    stream = io.BytesIO()
    if legacy:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, stream, 2)
    dump(value, stream)
    if legacy:
        pickle.dump(["0"], stream, 2)
        stream.write(len(BASE).to_bytes(8, "little") + BASE.tobytes())
        path.write_bytes(stream.getvalue())
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", stream.getvalue())
        archive.writestr("weights/data/0", BASE.tobytes())
    return path


def state(names: Any, offset: int = 0) -> Any:
    storage = Storage(names.kind, BASE)
    whole = Reduced(names.rebuild, storage, offset, (3, 4), (4, 1), False, OrderedDict())
    turned = Reduced(names.rebuild, storage, 1, (2, 3), (1, 4), False, OrderedDict())
    return {"net": OrderedDict(a=whole, b=turned), "epoch": 3}


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path: Path, names: Any, legacy: bool) -> None:
    found = read_torch(write(tmp_path / "w.pth", state(names), legacy))
    assert set(found) == {"net.a", "net.b"}
    np.testing.assert_array_equal(found["net.a"], BASE.reshape(3, 4))
    np.testing.assert_array_equal(found["net.b"], BASE.reshape(3, 4)[:, 1:3].T)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, names: Any, legacy: bool) -> None:
    ran = tmp_path / "ran"
    bad = {**state(names), "x": Reduced(os.system, f"touch {ran}")}
    with pytest.raises(PretrainedError, match=r"asks for (posix|nt)\.system.* not run"):
        read_torch(write(tmp_path / "w.pth", bad, legacy))
    assert not ran.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_damage_is_one_sentence(tmp_path: Path, names: Any, legacy: bool) -> None:
    path = write(tmp_path / "w.pth", state(names), legacy)
    content = path.read_bytes()
    for length in range(1, len(content), 17):
        path.write_bytes(content[:length])
        with pytest.raises(PretrainedError, match=str(path)):
            read_torch(path)
    with pytest.raises(PretrainedError, match="larger than its storage"):
        read_torch(write(path, state(names, offset=1), legacy))


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(PretrainedError, match="does not exist"):
        read_torch(path)
    path.write_bytes(b"GGUF")
    with pytest.raises(PretrainedError, match="no PyTorch file"):
        read_torch(path)
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(PretrainedError, match=r"a pickle, but not one that torch\.save wrote"):
        read_torch(path)


@pytest.mark.fetched
def test_a_fetched_file(weights: Callable[[str], Path]) -> None:
    (path,) = weights("efficientnet_lite0").glob("*.pth")
    found = read_torch(path)
    assert found["_fc.weight"].shape == (1000, 1280)
    assert sum(v.size for k, v in found.items() if k.endswith((".weight", ".bias"))) == 4_652_008
