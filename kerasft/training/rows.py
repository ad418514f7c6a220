"""Random access to many rows of tensors, in memory up to a limit and on disk beyond it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kerasft.errors import TrainingError


class _Growing:
    """Appends arrays along the first axis; spills to a file once told to."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._path: Path | None = None
        self._rows = 0
        self.nbytes = 0

    def append(self, part: np.ndarray) -> None:
        self._rows += len(part)
        self.nbytes += part.nbytes
        self._shape, self._dtype = part.shape[1:], part.dtype
        if self._path is None:
            self._parts.append(part)
        else:
            with self._path.open("ab") as file:
                file.write(part.tobytes())

    def spill(self, path: Path) -> None:
        parts, self._parts, self._path = self._parts, [], path
        path.touch()
        self._rows = self.nbytes = 0
        for part in parts:
            self.append(part)

    def finish(self) -> np.ndarray:
        if self._path is None:
            return np.concatenate(self._parts)
        if self.nbytes == 0:
            return np.zeros((self._rows, *self._shape), self._dtype)
        return np.memmap(self._path, dtype=self._dtype, mode="r", shape=(self._rows, *self._shape))


class _Fixed:
    """Rows of one shape."""

    variable = False

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.row_shape: tuple[int | None, ...] = values.shape[1:]
        self.dtype = values.dtype

    def take(self, indices: np.ndarray, multiple: int) -> np.ndarray:
        return np.asarray(self.values[indices])


class _Variable:
    """Rows whose first axis differs in length; `take` pads them with zeros to one length."""

    variable = True

    def __init__(self, values: np.ndarray, lengths: np.ndarray) -> None:
        self.values = values
        self.lengths = lengths
        self.longest = int(lengths.max(initial=0))
        self.starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self.row_shape: tuple[int | None, ...] = (None, *values.shape[1:])
        self.dtype = values.dtype

    def take(self, indices: np.ndarray, multiple: int) -> np.ndarray:
        lengths = self.lengths[indices]
        # Never beyond the longest row of all, which a model of limited length may just take.
        longest = min(-(-int(lengths.max(initial=0)) // multiple) * multiple, self.longest)
        padded = np.zeros((len(indices), longest, *self.values.shape[1:]), self.dtype)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        padded[np.repeat(np.arange(len(indices)), lengths), within] = self.values[
            np.repeat(self.starts[indices], lengths) + within
        ]
        return padded


class RowStore:
    """Named columns of rows with random access.

    Args:
        memory_limit: Bytes held in memory; more goes to a temporary folder, deleted with the store.

    Example:
        >>> store = RowStore(memory_limit=1 << 20)
        >>> store.append({"x": np.arange(3, dtype=np.int32)}, {"x": np.array([1, 2])})
        >>> store.finish()
        >>> store.take(np.array([1, 0]))["x"].tolist()
        [[1, 2], [0, 0]]
    """

    def __init__(self, *, memory_limit: int) -> None:
        self._limit = memory_limit
        self._growing: dict[str, _Growing] = {}
        self._lengths: dict[str, list[np.ndarray]] = {}
        self._columns: dict[str, _Fixed | _Variable] = {}
        self._folder: Path | None = None
        self.nbytes = 0

    def append(self, values: Mapping[str, np.ndarray], lengths: Mapping[str, np.ndarray]) -> None:
        """Adds rows.

        Args:
            values: Column to array; `[rows, ...]`, or the rows laid end to end for a column in `lengths`.
            lengths: Column to the length of each row, int64 `[rows]`.

        Raises:
            TrainingError: the disk is full or cannot be written.
        """
        try:
            for name, array in values.items():
                if name not in self._growing:
                    self._growing[name] = _Growing()
                    if self._folder is not None:
                        self._growing[name].spill(self._folder / f"{len(self._growing)}.bin")
                self._growing[name].append(array)
            self.nbytes = sum(column.nbytes for column in self._growing.values())
            if self._folder is None and self.nbytes > self._limit:
                self._spill()
        except OSError as error:
            raise TrainingError(
                f"{self._folder or tempfile.gettempdir()} cannot take the encoded rows "
                f"({error.strerror or error}): free some space, let TMPDIR name a folder on a larger disk, "
                "or raise cache_memory_mb to keep more in memory."
            ) from error
        for name, array in lengths.items():
            self._lengths.setdefault(name, []).append(np.asarray(array, np.int64))

    def _spill(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kerasft-rows-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for i, column in enumerate(self._growing.values()):
            column.spill(self._folder / f"{i}.bin")

    def finish(self) -> None:
        """Ends appending; rows can be read from now on."""
        for name, growing in self._growing.items():
            if name in self._lengths:
                self._columns[name] = _Variable(growing.finish(), np.concatenate(self._lengths[name]))
            else:
                self._columns[name] = _Fixed(growing.finish())
        self._growing = {}

    @property
    def on_disk(self) -> bool:
        """Whether the rows exceeded the memory limit."""
        return self._folder is not None

    @property
    def names(self) -> Sequence[str]:
        """The columns."""
        return tuple(self._columns)

    def spec(self, name: str) -> tuple[tuple[int | None, ...], np.dtype]:
        """Returns the shape of a batch of column `name` (None: unknown) and its dtype."""
        column = self._columns[name]
        return (None, *column.row_shape), column.dtype

    def lengths(self) -> np.ndarray | None:
        """Returns the length of each row's longest variable column, int64 `[rows]`; None if there is none."""
        variable = [column.lengths for column in self._columns.values() if isinstance(column, _Variable)]
        return np.max(variable, axis=0) if variable else None

    def take(self, indices: np.ndarray, *, multiple: int = 1) -> dict[str, np.ndarray]:
        """Returns the rows at `indices` (int64 `[batch]`), variable ones padded with zeros.

        Args:
            indices: Which rows.
            multiple: They are padded to the longest of them, and on to a multiple of this.
        """
        return {name: column.take(indices, multiple) for name, column in self._columns.items()}
