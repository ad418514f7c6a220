"""Writes GGUF files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 8, "Q6_K": 14, "BF16": 30}


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(found: Any) -> bytes:
    """The type of a value, and the value."""
    if isinstance(found, bool):
        return struct.pack("<IB", 7, found)
    if isinstance(found, int):
        return struct.pack("<II", 4, found)
    if isinstance(found, float):
        return struct.pack("<If", 6, found)
    if isinstance(found, str):
        return struct.pack("<I", 8) + string(found)
    parts = [value(item) for item in found]
    return (
        struct.pack("<I", 9) + parts[0][:4] + struct.pack("<Q", len(parts)) + b"".join(p[4:] for p in parts)
    )


def gguf(
    settings: Mapping[str, Any],
    tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]],
    *,
    version: int = 3,
) -> bytes:
    """A file.

    Args:
        settings: Its keys and values.
        tensors: Name to type, shape as numpy has it, and bytes.
        version: Of the format.
    """
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    for key, found in settings.items():
        head += string(key) + value(found)
    data = b""
    for name, (kind, shape, raw) in tensors.items():
        head += string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += struct.pack("<IQ", KINDS.get(kind, 99), len(data))
        data += raw + bytes(-len(raw) % 32)
    return head + bytes(-len(head) % 32) + data


def floats(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """A tensor in float32."""
    return "F32", array.shape, array.astype("<f4").tobytes()
