"""A folder or a .zip of pictures as records of one size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data import Broken
from kerasft.data.pictures import PictureFiles, broken, open_picture
from kerasft.errors import DataError


def pictures(path: str | os.PathLike[str], *, resolution: int) -> Pictures:
    """Opens a folder or .zip of pictures, subfolders included, for `finetune`.

    Each picture is turned upright, cut to the square in its middle, and resized with anti-aliasing; grey ones
    get three equal channels, transparent ones stand on white. Those of a subfolder have its name as label.

    Args:
        path: The folder or the .zip.
        resolution: Side of the result.

    Raises:
        DataError: There is no such folder or .zip, or no picture in it.

    Example:
        >>> task.finetune(pictures("photos.zip", resolution=64))               # doctest: +SKIP
    """
    return Pictures(Path(path), resolution=resolution)


class Pictures:
    """Records with the columns `picture`, uint8 `[resolution, resolution, 3]`, and `label`.

    Args:
        path: A folder or a .zip.
        resolution: Side of a picture.

    Raises:
        DataError: There is no such folder or .zip, or no picture in it.
    """

    def __init__(self, path: Path, *, resolution: int) -> None:
        self._files = PictureFiles(path)
        self._resolution = resolution
        self.name = self._files.path.name
        self.columns: tuple[str, ...] = ("picture", "label") if self._files.labelled else ("picture",)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self.read(np.arange(len(self._files)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for number in numbers.tolist():
            try:
                wanted = "picture" in columns
                row: Mapping[str, Any] = {
                    "picture": decode(self._files.read(number), self._resolution) if wanted else None,
                    "label": self._files.label(number),
                }
            except Exception as error:  # each decoder fails in its own way
                yield broken(error)
            else:
                yield [row[column] for column in columns]

    def where(self, number: int) -> str:
        return self._files.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._files.digest(f"{self._resolution}")


def decode(content: bytes, resolution: int) -> np.ndarray:
    """Returns the square in the middle of an encoded picture, uint8 `[resolution, resolution, 3]`.

    Raises:
        OSError: It is no picture, or is cut short.
    """
    from PIL import Image, ImageOps

    image = open_picture(content)
    return np.asarray(ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS))


def read_picture(path: Path, resolution: int) -> np.ndarray:
    """Returns what `decode` makes of a file, uint8 `[resolution, resolution, 3]`.

    Raises:
        DataError: There is no such file, or it is no picture.
    """
    try:
        return decode(path.read_bytes(), resolution)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; name a picture") from None
    except Exception as error:  # each decoder fails in its own way
        raise DataError(f"{path} is no readable picture ({error}); repair it or name another") from None
