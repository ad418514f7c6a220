"""What people have as videos, as rows with the column `clip`, and labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data import Broken, Field, open_source
from kerasft.data.opening import open_records
from kerasft.errors import DataError
from kerasft.training.rows import RowStore
from kerasft_video.checked import Checked
from kerasft_video.clips import in_workers, read_clips
from kerasft_video.config import VideoConfig
from kerasft_video.drawn import ADDRESS, moving_shapes
from kerasft_video.reading import EXTENSIONS, picture_names

PATHS = ("clip", "path", "file", "filename", "file_name", "filepath", "video_path", "video", "x")
"""Names of columns with paths or videos."""

_TABLES = (".csv", ".tsv", ".jsonl")
_MEMORY = 256 << 20
_WORKERS = 4


def array_of(value: Any, config: VideoConfig) -> np.ndarray:
    """Returns a video that is an array, or clips that were made from one already.

    Args:
        value: Anything.
        config: `sampling`, `side` are read.

    Raises:
        DataError: It is none, or too short.
    """
    array = np.asarray(value)
    sampling, side = config.sampling, config.side
    if array.dtype == np.uint8 and array.shape == (sampling.clips, sampling.frames, side, side, 3):
        return array
    if array.ndim != 4 or array.shape[-1] != 3 or not array.size or array.dtype.kind not in "uif":
        raise DataError(
            f"the shape of the clip is {array.shape} ({array.dtype}), which is no video; give arrays "
            "[frames, height, width, 3]"
        )
    if len(array) < config.sampling.least:
        are = "1 frame" if len(array) == 1 else f"{len(array)} frames"
        raise DataError(f"the clip has {are}, and sampling.least is {config.sampling.least}; remove it")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and array.max() > 1.0):
        raise DataError(
            f"the values of the clip go up to {array.max():g}, but white is 255; multiply them by 255"
        )
    return array


def open_data(data: Any, *, target: str, config: VideoConfig) -> Any:
    """Returns data as `kerasft.data.open_source` takes it.

    Args:
        data: A folder with a folder of videos for each class (a video may be a folder of pictures), a folder
            of videos without labels, one video, a table with a column of paths, `"shapes:train"`, a tuple
            `(clips, labels)`, or rows with the column `clip`: paths, or arrays `[frames, height, width, 3]`.
        target: Name of the column of labels.
        config: Says what clips are made of a video.

    Raises:
        DataError: The folder holds no video, or there is no such address.
    """
    if isinstance(data, str) and data.startswith(ADDRESS):
        data = moving_shapes(data.removeprefix(ADDRESS) or "train")
    if isinstance(data, (str, os.PathLike)) and not str(data).startswith("tfds:"):
        path = Path(data).expanduser()
        if path.is_dir():
            return _folder(path, target, config)
        if path.suffix.lower() in EXTENSIONS:
            return VideoRecords([path], {}, name=path.name, config=config)
        return _table(path, config)
    if isinstance(data, tuple) and len(data) in (2, 3) and not isinstance(data[0], Mapping):
        data = dict(zip(("clip", target, "sample_weight"), data, strict=False))
    if isinstance(data, Mapping):
        return _columns(data, config)
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        return _columns({name: [row.get(name) for row in data] for name in names}, config)
    return data


class VideoRecords:
    """Records with the columns `clip`, uint8 `[clips, frames, side, side, 3]`, and `seconds`, of videos.

    They are decoded once, in threads, by the scan; beyond a limit of memory the clips go to disk.

    Args:
        paths: Of the videos.
        others: Further columns, such as labels.
        name: How messages call the data.
        config: Says what clips are made of a video.
        where: Place of a row for a message; by default its path.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        others: Mapping[str, Sequence[Any]],
        *,
        name: str,
        config: VideoConfig,
        where: Callable[[int], str] | None = None,
    ) -> None:
        self.name = name
        self.columns: tuple[str, ...] = ("clip", "seconds", *others)
        self._paths, self._others, self._config = paths, others, config
        self._where = where
        self._store = RowStore(memory_limit=_MEMORY)
        self._slots = np.full(len(paths), -1)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        if "clip" not in columns and "seconds" not in columns:
            for number in range(len(self._paths)):
                yield [self._others[column][number] for column in columns]
            return
        workers = min(os.cpu_count() or 1, _WORKERS)
        decoded = in_workers(lambda path: read_clips(path, self._config), self._paths, workers=workers)
        stored = 0
        for number, found in enumerate(decoded):
            if isinstance(found, DataError):
                problem, _, remedy = str(found).rpartition("; ")
                yield Broken(problem, remedy)
                continue
            self._store.append({"clip": found.clips[None], "seconds": np.array([found.seconds])}, {})
            self._slots[number] = stored
            stored += 1
            row = {"clip": found.clips, "seconds": found.seconds}
            yield [row[name] if name in row else self._others[name][number] for name in columns]
        if stored:
            self._store.finish()

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for number in numbers.tolist():
            row = {name: values[number] for name, values in self._others.items()}
            if "clip" in columns or "seconds" in columns:
                found = self._store.take(self._slots[[number]])
                row |= {"clip": found["clip"][0], "seconds": float(found["seconds"][0])}
            yield [row[column] for column in columns]

    def where(self, number: int) -> str:
        return self._where(number) if self._where is not None else self.name

    def digest(self, columns: Sequence[str]) -> bytes:
        sampling = self._config.sampling.model_dump_json()
        digest = hashlib.blake2b(
            f"{sampling} {self._config.side} {self._config.fit}".encode(), digest_size=16
        )
        for number, path in enumerate(self._paths):
            if self._slots[number] >= 0:
                _hash(path, digest.update)
            digest.update(
                repr([self._others[name][number] for name in columns if name in self._others]).encode()
            )
        return digest.digest()


def _hash(path: Path, update: Callable[[bytes], object]) -> None:
    if path.is_dir():
        for name in picture_names(path):
            update(name.encode("utf-8", "surrogateescape"))
            _hash(path / name, update)
        return
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            update(block)


def _folder(path: Path, target: str, config: VideoConfig) -> VideoRecords:
    direct = _videos(path)
    by_class = {folder.name: _videos(folder) for folder in _folders(path)}
    nested = [(video, label) for label, videos in by_class.items() for video in videos]
    if nested and not any(video.is_file() for video in direct):
        videos = [video for video, _ in nested]
        return VideoRecords(videos, {target: [label for _, label in nested]}, name=path.name, config=config)
    if not direct and picture_names(path):
        direct = [path]
    if not direct:
        raise DataError(
            f"{path} holds no video; give each class a folder in it, with videos ({', '.join(EXTENSIONS)}) "
            "or with folders of pictures"
        )
    return VideoRecords(direct, {}, name=path.name, config=config)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _videos(path: Path) -> list[Path]:
    """Returns the videos that lie directly in a folder; a folder of pictures is one."""
    files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    videos = [file for file in files if file.suffix.lower() in EXTENSIONS]
    return sorted(videos + [folder for folder in _folders(path) if picture_names(folder)])


def _table(path: Path, config: VideoConfig) -> Any:
    """Opens a table whose rows name videos; another table stays what it is."""
    if Path(path.name.lower().removesuffix(".gz")).suffix not in _TABLES:
        return path
    records = open_records(path)
    column = next((name for name in PATHS if name in records.columns), None)
    sample = [row.get(column) for row in records.head()[:5]] if column else []
    if column is None or not all(isinstance(value, str) for value in sample):
        return path
    fields = [Field(name=name, kind="text" if name == column else "any") for name in records.columns]
    table = open_source(records, fields=fields)
    paths = [path.parent / Path(text).expanduser() for text in table.iterate(column)]
    others = {name: list(table.iterate(name)) for name in table.columns if name != column}
    return VideoRecords(paths, others, name=table.name, config=config, where=table.where)


def _columns(data: Mapping[str, Any], config: VideoConfig) -> Any:
    column = next((name for name in PATHS if name in data), None)
    if column is None or not len(data[column]):
        return data
    if not all(isinstance(value, (str, os.PathLike)) for value in data[column]):
        records = open_records(data)
        return Checked(records, column=column, name="clip", convert=lambda value: array_of(value, config))
    return VideoRecords(
        [Path(value).expanduser() for value in data[column]],
        {key: others for key, others in data.items() if key != column},
        name="the list",
        config=config,
        where=lambda number: f"the list, row {number}",
    )
