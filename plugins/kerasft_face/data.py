"""Pictures of any size as records and rows of one size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data import Broken, Derived, Source
from kerasft.data.pictures import PictureFiles, broken, on_white, open_picture
from kerasft.data.source import Columns
from kerasft.errors import DataError
from kerasft_face.alignment import LANDMARKS, align, landmarks, read_landmarks


def pictures(
    path: str | os.PathLike[str], *, resolution: int, points: str | os.PathLike[str] | None = None
) -> Pictures:
    """Opens a folder or .zip of pictures, subfolders included, for `finetune`.

    Each picture is turned upright, cut to the square in its middle, and resized with anti-aliasing; grey ones
    get three equal channels, transparent ones stand on white. Those of a subfolder have its name as label.
    With landmarks, each face is turned, scaled and moved to the same place instead, see
    `kerasft_face.alignment.align`.

    Args:
        path: The folder or the .zip.
        resolution: Side of the result.
        points: A file of landmarks, see `kerasft_face.alignment.landmarks`; by default landmarks.csv or
            landmarks.json in the folder or .zip, if there is one.

    Raises:
        DataError: There is no such folder or .zip, no picture in it, or the file of landmarks is wrong.

    Example:
        >>> task.finetune(pictures("photos.zip", resolution=64))               # doctest: +SKIP
    """
    return Pictures(Path(path), resolution=resolution, points=points)


class Pictures:
    """Records with the columns `picture`, uint8 `[resolution, resolution, 3]`, and `label`.

    Args:
        path: A folder or a .zip.
        resolution: Side of a picture.
        points: A file of landmarks, if they are not in the folder or .zip.

    Raises:
        DataError: There is no such folder or .zip, no picture in it, or the file of landmarks is wrong.
    """

    def __init__(self, path: Path, *, resolution: int, points: str | os.PathLike[str] | None = None) -> None:
        self._files = PictureFiles(path)
        self._resolution = resolution
        self._points = _points(self._files, points)
        self.name = self._files.path.name
        self.columns: tuple[str, ...] = ("picture", "label") if self._files.labelled else ("picture",)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self.read(np.arange(len(self._files)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for number in numbers.tolist():
            points = None
            if self._points is not None:
                points = self._points.get(self._files.names[number])
                if points is None:
                    yield Broken("has no landmarks", "add its five points, or remove it")
                    continue
            try:
                wanted = "picture" in columns
                row: Mapping[str, Any] = {
                    "picture": decode(self._files.read(number), self._resolution, points) if wanted else None,
                    "label": self._files.label(number),
                }
            except Exception as error:  # each decoder fails in its own way
                yield broken(error)
            else:
                yield [row[column] for column in columns]

    def where(self, number: int) -> str:
        return self._files.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._files.digest(f"{self._resolution} {self._points or ''}")


def _points(
    files: PictureFiles, given: str | os.PathLike[str] | None
) -> dict[str, tuple[tuple[float, float], ...]] | None:
    if given is not None:
        return read_landmarks(given)
    for name in LANDMARKS:
        content = files.other(name)
        if content is not None:
            return landmarks(content, f"{files.path.name}, {name}")
    return None


def decode(content: bytes, resolution: int, points: Any = None) -> np.ndarray:
    """Returns the square in the middle of an encoded picture, uint8 `[resolution, resolution, 3]`.

    Args:
        content: A file.
        resolution: Side of the result.
        points: Five landmarks, to align the face by them instead, see `kerasft_face.alignment.align`.

    Raises:
        OSError: It is no picture, or is cut short.
    """
    image = open_picture(content)
    return _square(image, resolution) if points is None else align(image, points, resolution)


def read_picture(path: Path, resolution: int, points: Any = None) -> np.ndarray:
    """Returns what `decode` makes of a file, uint8 `[resolution, resolution, 3]`.

    Raises:
        DataError: There is no such file, or it is no picture.
    """
    try:
        return decode(path.read_bytes(), resolution, points)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; name a picture") from None
    except Exception as error:  # each decoder fails in its own way
        raise DataError(f"{path} is no readable picture ({error}); repair it or name another") from None


def fit(picture: Any, resolution: int) -> np.ndarray:
    """Returns the square in the middle of a picture, uint8 `[resolution, resolution, 3]`.

    Args:
        picture: uint8 `[height, width]` or `[height, width, channels]` with 1 (grey), 3 or 4 channels (the
            last one is alpha), or the content of a file.
        resolution: Side of the result; what has it stays as it is, the rest is resized with anti-aliasing.

    Raises:
        ValueError: It is something else; the message says what.

    Example:
        >>> fit(np.full((6, 9), 7, np.uint8), 4)[0, 0].tolist()
        [7, 7, 7]
    """
    from PIL import Image

    if isinstance(picture, bytes):
        try:
            return decode(picture, resolution)
        except Exception as error:  # each decoder fails in its own way
            raise ValueError(f"is no readable picture ({error})") from None
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"is {type(picture).__name__} and no picture")
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
    if picture.dtype != np.uint8 or not fits or 0 in picture.shape:
        raise ValueError(f"is {picture.dtype.name} {picture.shape} and no picture")
    if picture.shape == (resolution, resolution, 3):
        return picture
    return _square(on_white(Image.fromarray(picture)), resolution)


def _square(image: Any, resolution: int) -> np.ndarray:
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS))


class FittedPictures(Derived):
    """A source whose column `picture` is brought to one size while it is read.

    Args:
        parent: The rows.
        resolution: Side of a picture.
    """

    def __init__(self, parent: Source, *, resolution: int) -> None:
        super().__init__(parent)
        self._resolution = resolution

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        """Reads rows; a value that is no picture is a `DataError` that names its row."""
        names = self.columns if columns is None else tuple(columns)
        others = [name for name in names if name != "picture"]
        found = self.parent.take(indices, others) if others else {}
        if "picture" in names:
            side = self._resolution
            fitted = np.empty((len(indices), side, side, 3), np.uint8)
            # One by one: large ones need room, and arrays of several dtypes would be brought to one.
            for place, index in enumerate(indices):
                (value,) = self.parent.take([int(index)], ["picture"])["picture"]
                fitted[place] = self._fit(value, int(index))
            found["picture"] = fitted
        return {name: found[name] for name in names}

    def _fit(self, value: Any, index: int) -> np.ndarray:
        try:
            return fit(value, self._resolution)
        except ValueError as error:
            raise DataError(
                f"{self.where(index)}: {error}; give uint8 [height, width, 3] from 0 to 255 (or grey, or "
                "with alpha), the content of a file, or a folder or .zip of pictures"
            ) from None
