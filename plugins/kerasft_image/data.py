"""What people have as pictures, as rows with the columns `image_bytes` or `image`, and labels."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data import Broken, open_source
from kerasft.data.pictures import EXTENSIONS, PictureFiles, broken, is_pictures, open_picture
from kerasft.data.schema import Field
from kerasft.data.source import Source
from kerasft.errors import DataError

DIGITS = "digits:"
"""Address of the handwritten digits that come with scikit-learn."""

PATHS = ("path", "file", "filename", "file_name", "filepath", "image_path", "image_file", "image", "picture")
"""Names of columns with paths."""

_TABLES = (".csv", ".tsv", ".jsonl")


def open_data(data: Any, *, target: str) -> Any:
    """Returns data as `kerasft.data.open_source` takes it.

    Args:
        data: A folder or .zip of pictures, a table with a column of paths, `"digits:train"`, a tuple
            `(pictures, labels)`, rows with the columns `image_bytes` (contents or paths of files) or `image`
            (arrays of one size), or anything else, which is returned as it is.
        target: Name of the column of labels.

    Raises:
        DataError: The folder holds no picture, or there is no such address.
    """
    if isinstance(data, str) and data.startswith(DIGITS):
        return digits(data.removeprefix(DIGITS) or "train")
    if is_pictures(data):
        return FileRecords(PictureFiles(data), target=target)
    if isinstance(data, (str, os.PathLike)) and _table_suffix(data) in _TABLES:
        return _table(Path(data).expanduser(), target)
    if isinstance(data, tuple) and len(data) in (2, 3) and not isinstance(data[0], Mapping):
        names = ("image", target, "sample_weight")
        data = dict(zip(names, data, strict=False))
    if isinstance(data, Mapping):
        encoded = {name: data[name] for name in ("image_bytes", "other_bytes") if name in data}
        data = {**data, **{name: [as_content(value) for value in found] for name, found in encoded.items()}}
    if type(data).__name__.endswith("Dataset") and isinstance(getattr(data, "element_spec", None), tuple):
        return data.map(lambda image, label: {"image": image, target: label})
    return data


def digits(part: str = "train") -> dict[str, Any]:
    """Returns handwritten digits of 8x8 pixels, from scikit-learn: 1,438 to train on, 359 to test with.

    Args:
        part: "train" or "test"; every fifth picture of each digit is for the test.

    Returns:
        `image`, uint8 `[pictures, 8, 8, 3]`, and `label`, "0" to "9".

    Raises:
        DataError: There is no such part, or scikit-learn is not installed.

    Example:
        >>> digits("test")["image"].shape
        (359, 8, 8, 3)
    """
    if part not in ("train", "test"):
        raise DataError(f"{DIGITS}{part}: the digits have the parts train and test, as in {DIGITS}train")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"{DIGITS} needs scikit-learn, which cannot be imported ({error}); install it with: "
            "pip install 'kerasft[image]'"
        ) from error
    found = load_digits()
    grey = np.round(found.images * (255 / 16)).astype(np.uint8)
    order = np.concatenate([np.flatnonzero(found.target == digit) for digit in range(10)])
    tested = np.arange(len(order)) % 5 == 4
    chosen = np.sort(order[tested if part == "test" else ~tested])
    return {
        "image": np.repeat(grey[chosen][..., None], 3, -1),
        "label": [str(found.target[number]) for number in chosen],
    }


def as_content(value: Any) -> Any:
    """Returns the content of a picture that the graph can decode.

    Args:
        value: The content of a file, a path to one, or an array `[height, width]` or `[height, width, 3]` in
            0 to 255. Anything else is returned as it is, for the reader of rows to refuse.

    Raises:
        DataError: The file cannot be read, or is no picture.
    """
    if isinstance(value, np.ndarray) and value.ndim in (2, 3):
        return encode(value)
    if not isinstance(value, (str, os.PathLike, bytes)) or not value:
        return value
    named = "image_bytes" if isinstance(value, bytes) else str(value)
    try:
        return graph_readable(value if isinstance(value, bytes) else Path(value).expanduser().read_bytes())
    except Exception as error:  # each decoder fails in its own way
        problem = broken(error)
        raise DataError(f"{named} {problem.problem}; {problem.remedy}") from None


def graph_readable(content: bytes) -> bytes:
    """Returns a picture as the operations in the graph can decode it, after decoding it once.

    JPEG, PNG and GIF files stay as they are. Others (WebP, BMP, JPEGs of printers' colours) become PNG files.

    Raises:
        OSError: It is no picture, or is cut short. Other exceptions of the decoder mean the same.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        kind, mode = opened.format, opened.mode
    if kind in ("PNG", "GIF") or (kind == "JPEG" and mode in ("L", "RGB")):
        return content
    return encode(np.asarray(open_picture(content)))


def encode(array: np.ndarray) -> bytes:
    """Returns a picture, values 0 to 255 `[height, width]` or `[height, width, 3]`, as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    pixels = np.clip(np.round(array), 0, 255).astype(np.uint8)
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1:] == (1,) else pixels).save(file, "PNG")
    return file.getvalue()


class FileRecords:
    """Records with the column `image_bytes`, and one of labels where the pictures lie in subfolders.

    Args:
        files: The pictures.
        target: Name of the column of labels.
    """

    def __init__(self, files: PictureFiles, *, target: str) -> None:
        self._files = files
        self._target = target
        self.name = files.path.name
        self.columns: tuple[str, ...] = ("image_bytes", target) if files.labelled else ("image_bytes",)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self.read(np.arange(len(self._files)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for number in numbers.tolist():
            row: dict[str, Any] = {self._target: self._files.label(number)}
            if "image_bytes" in columns:
                content = _readable(partial(self._files.read, number))
                if isinstance(content, Broken):
                    yield content
                    continue
                row["image_bytes"] = content
            yield [row[column] for column in columns]

    def where(self, number: int) -> str:
        return self._files.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._files.digest()


class TableRecords:
    """Records of a table whose column of paths stands for `image_bytes`; paths are relative to its folder.

    Args:
        table: The rows, all columns as they are.
        column: The column of paths.
        folder: Where relative paths begin.
    """

    def __init__(self, table: Source, *, column: str, folder: Path) -> None:
        self._table, self._column, self._folder = table, column, folder
        self.name = table.name
        self.columns = tuple("image_bytes" if name == column else name for name in table.columns)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self.read(np.arange(len(self._table)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        names = [self._column if name == "image_bytes" else name for name in columns]
        for number in numbers.tolist():
            row = {name: values[0] for name, values in self._table.take([number], names).items()}
            if self._column in row:
                path = self._path(row[self._column])
                content = _readable(path.read_bytes)
                if isinstance(content, Broken):
                    yield Broken(f"{path} {content.problem}", content.remedy)
                    continue
                row[self._column] = content
            yield [row[name] for name in names]

    def where(self, number: int) -> str:
        return self._table.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(self._table.fingerprint().encode(), digest_size=16)
        for path in self._table.iterate(self._column):
            digest.update(hashlib.blake2b(self._path(path).read_bytes(), digest_size=16).digest())
        return digest.digest()

    def _path(self, text: str) -> Path:
        return self._folder / Path(text).expanduser()


def _readable(read: Callable[[], bytes]) -> bytes | Broken:
    try:
        content = read()
        if not content:
            return Broken("is empty", "repair or remove it")
        return graph_readable(content)
    except Exception as error:  # each decoder fails in its own way
        return broken(error)


def _table_suffix(path: Any) -> str:
    name = Path(path).name.lower().removesuffix(".gz")
    return Path(name).suffix


def _table(path: Path, target: str) -> Any:
    """Opens a table whose rows name files; another table stays what it is."""
    from kerasft.data.files import file_records

    records = file_records(path)
    column = next((name for name in PATHS if name in records.columns), None)
    sample = [row.get(column) for row in records.head()[:5]] if column else []
    if column is None or not all(_is_path(value) for value in sample):
        return path
    fields = [Field(name=name, kind="text" if name == column else "any") for name in records.columns]
    return TableRecords(open_source(records, fields=fields), column=column, folder=path.parent)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and Path(value).suffix.lower() in EXTENSIONS
