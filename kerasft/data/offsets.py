"""Where records lie in a file: twelve bytes of memory a record, and reads that join neighbours."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

BLOCK = 1 << 20
_GAP = 1 << 12
_LONGEST_READ = 1 << 24


class Offsets:
    """Byte positions and sizes of the records of one file, in ascending order."""

    def __init__(self) -> None:
        self._begins = array("q")
        self._sizes = array("i")

    def __len__(self) -> int:
        return len(self._begins)

    def append(self, begin: int, size: int) -> None:
        self._begins.append(begin)
        self._sizes.append(size)

    def begin(self, number: int) -> int:
        return self._begins[number]

    def read(self, file: int, numbers: np.ndarray) -> list[bytes]:
        """Reads records by number, in any order; safe to call from several threads.

        Args:
            file: Descriptor of an open file.
            numbers: Which records, shape `[n]`, int64.
        """
        if not len(numbers):
            return []
        begins = np.frombuffer(self._begins, np.int64)[numbers]
        ends = begins + np.frombuffer(self._sizes, np.int32)[numbers]
        order = np.argsort(begins, kind="stable")
        records = [b""] * len(order)
        for first, last in pairwise(_runs(begins[order], ends[order])):
            base = int(begins[order[first]])
            block = _read_fully(file, base, int(ends[order[last - 1]]) - base)
            for place in order[first:last].tolist():
                records[place] = block[int(begins[place]) - base : int(ends[place]) - base]
        return records


def read_blocks(file: int, begin: int, end: int | None = None) -> Iterator[bytes]:
    """Reads a part of a file, one megabyte at a time."""
    while block := os.pread(file, BLOCK if end is None else min(BLOCK, end - begin), begin):
        yield block
        begin += len(block)


def _runs(begins: np.ndarray, ends: np.ndarray) -> list[int]:
    """Where to cut sorted records so that each run is one read: at gaps, and before a run grows too long."""
    far = begins[1:] - ends[:-1] > _GAP
    long = begins[1:] // _LONGEST_READ != begins[:-1] // _LONGEST_READ
    return [0, *(np.flatnonzero(far | long) + 1).tolist(), len(begins)]


def _read_fully(file: int, at: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(file, size, at)):
        parts.append(part)
        at, size = at + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
