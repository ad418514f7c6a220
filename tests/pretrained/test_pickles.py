"""Pickles of whole objects: what becomes of arrays and records, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers import read_pickle

from .torch_files import Call, stand_ins


class Layer:
    """Has a state that pickle takes from `__dict__`."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    with stand_ins(classes={"some.library.Layer": Layer}):
        path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_records(tmp_path: Path, protocol: int) -> None:
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    inner = Layer(kernel=shared, turned=np.asfortranarray(shared), empty=np.zeros((0, 3), np.int64))
    value = [
        Layer(inner=inner, names=("a", np.float64(0.5)), again=shared, known={3, 4}),
        np.arange(3, dtype=">i2"),
        b"\xff\x00",
    ]
    record, big, content = read_pickle(
        write(tmp_path / "x.pkl", value, protocol), records=["some.library.Layer"]
    )
    np.testing.assert_array_equal(record["inner"]["kernel"], shared)
    np.testing.assert_array_equal(record["inner"]["turned"], shared)
    assert record["inner"]["turned"].dtype == np.float32
    assert record["inner"]["empty"].shape == (0, 3)
    assert record["again"] is record["inner"]["kernel"]
    assert record["names"] == ("a", 0.5)
    assert record["known"] == {3, 4}
    assert big.tolist() == [0, 1, 2]
    assert content == b"\xff\x00"


def test_what_is_not_named_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with pytest.raises(PretrainedError, match=r"asks for some.library.Layer, which weights do not need"):
        read_pickle(write(tmp_path / "x.pkl", Layer(a=1)))
    path = write(tmp_path / "x.pkl", Layer(a=Call(os.system, f"touch {ran}")))
    with pytest.raises(PretrainedError, match=r"asks for (posix|nt)\.system.* not run"):
        read_pickle(path, records=["some.library.Layer"])
    assert not ran.exists()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"numbers of type O8"):
        read_pickle(write(tmp_path / "x.pkl", np.array([{}], dtype=object)))


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pkl", {"a": np.arange(5.0), "b": Layer(c=[1])})
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(PretrainedError, match=str(path)):
            read_pickle(path, records=["some.library.Layer"])
    with pytest.raises(PretrainedError, match=r"absent.pkl does not exist"):
        read_pickle(tmp_path / "absent.pkl")
