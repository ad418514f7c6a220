"""GGUF files without llama.cpp: types written out value by value, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers import read_gguf

from .gguf_files import KINDS, floats, gguf

RANDOM = np.random.default_rng(0)


def half(raw: bytes) -> float:
    return struct.unpack("<e", raw)[0]


def q4_0(block: bytes) -> list[float]:
    low = [(byte & 15) - 8 for byte in block[2:]]
    high = [(byte >> 4) - 8 for byte in block[2:]]
    return [q * half(block[:2]) for q in low + high]


def q4_1(block: bytes) -> list[float]:
    low, high = [byte & 15 for byte in block[4:]], [byte >> 4 for byte in block[4:]]
    return [q * half(block[:2]) + half(block[2:4]) for q in low + high]


def q8_0(block: bytes) -> list[float]:
    return [q * half(block[:2]) for q in struct.unpack("<32b", block[2:])]


def q6_k(block: bytes) -> list[float]:
    scales = struct.unpack("<16b", block[192:208])
    values = []
    for at in range(256):
        part, inside = divmod(at, 128)
        quarter, column = divmod(inside, 32)
        byte = block[64 * part + 32 * (quarter % 2) + column]
        low = byte & 15 if quarter < 2 else byte >> 4
        high = (block[128 + 32 * part + column] >> (2 * quarter)) & 3
        values.append(half(block[208:]) * scales[at // 16] * ((low | high << 4) - 32))
    return values


def blocks(kind: str, count: int) -> list[bytes]:
    """Blocks of random bytes with scales that are numbers."""
    size, places = {"Q4_0": (18, [0]), "Q4_1": (20, [0, 2]), "Q8_0": (34, [0]), "Q6_K": (210, [208])}[kind]
    made = []
    for _ in range(count):
        block = bytearray(RANDOM.bytes(size))
        for place in places:
            block[place : place + 2] = struct.pack("<e", RANDOM.normal())
        made.append(bytes(block))
    return made


@pytest.mark.parametrize("by_hand", [q4_0, q4_1, q8_0, q6_k])
def test_values_are_those_of_the_blocks(tmp_path: Path, by_hand) -> None:
    kind = by_hand.__name__.upper()
    made = blocks(kind, 6)
    wanted = np.array([by_hand(block) for block in made], np.float32)
    shape = (3, 2 * wanted.shape[1])
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf({}, {"w": (kind, shape, b"".join(made)), "after": floats(np.ones(5))}))
    file = read_gguf(path)
    np.testing.assert_allclose(file.tensors["w"], wanted.reshape(shape), rtol=1e-6)
    np.testing.assert_array_equal(file.tensors["after"], np.ones(5))
    assert file.tensors["w"].dtype == np.float32


def test_plain_numbers_are_read(tmp_path: Path) -> None:
    numbers = RANDOM.normal(size=(3, 4)).astype(np.float32)
    brain = (numbers.view(np.uint32) >> 16).astype("<u2")
    path = tmp_path / "model.gguf"
    tensors = {
        "a": floats(numbers),
        "b": ("F16", (3, 4), numbers.astype("<f2").tobytes()),
        "c": ("BF16", (3, 4), brain.tobytes()),
    }
    path.write_bytes(gguf({}, tensors, version=2))
    found = read_gguf(path).tensors
    np.testing.assert_array_equal(found["a"], numbers)
    np.testing.assert_allclose(found["b"], numbers, rtol=1e-3)
    np.testing.assert_allclose(found["c"], numbers, rtol=1e-2)
    assert list(found) == ["a", "b", "c"]


def test_settings_are_read(tmp_path: Path) -> None:
    settings = {"n": 3, "x": 0.5, "s": "wörter", "l": ["a", ""], "t": True, "i": [1, 2]}
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(settings, {}))
    assert read_gguf(path).settings == settings


GOOD = gguf({"key": "value", "list": ["a", "b"]}, {"w": floats(np.ones((2, 32)))})


def with_count(at: int, number: int) -> bytes:
    return GOOD[:at] + struct.pack("<Q", number) + GOOD[at + 8 :]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04" + GOOD, "does not begin with GGUF"),
        (GOOD[:4] + struct.pack("<I", 1) + GOOD[8:], "version 1; 2 and 3 are known"),
        (GOOD[:100], "it ends too early"),
        (GOOD[:-64], "the tensor 'w' ends behind the file"),
        (with_count(8, 1 << 60), "it ends too early"),
        (with_count(16, 1 << 60), "it ends too early|unknown type"),
        (with_count(24, 1 << 62), "it ends too early"),
        (gguf({}, {"w": ("Q4_1", (2, 33), bytes(60))}), "rows of the tensor 'w' are no whole blocks"),
        (gguf({}, {"w": ("IQ2", (2, 32), bytes(60))}), "'w' has the type 99; F32, F16"),
        (gguf({"general.alignment": 0}, {}), "an alignment of 0"),
        (gguf({}, {"w": ("F32", (1 << 40, 1 << 40), bytes(60))}), "'w' ends behind the file"),
        (gguf({}, {"w": ("F32", (1, 1, 1, 1, 1), bytes(60))}), "has 5 axes"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(PretrainedError, match=sentence) as caught:
        read_gguf(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_cut_makes_it_fail_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for length in range(1, len(GOOD), 7):
        path.write_bytes(GOOD[:length])
        with pytest.raises(PretrainedError):
            read_gguf(path)


def test_no_changed_byte_makes_it_fail_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    head = len(GOOD) - 256
    for at in range(0, head, 3):
        path.write_bytes(GOOD[:at] + b"\xff" + GOOD[at + 1 :])
        try:
            tensors = read_gguf(path).tensors
            for name in tensors:
                _ = tensors[name]
        except PretrainedError:
            continue


def test_types_have_a_test() -> None:
    assert set(KINDS) == {"F32", "F16", "BF16", *(f.__name__.upper() for f in (q4_0, q4_1, q8_0, q6_k))}
