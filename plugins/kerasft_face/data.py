"""A folder or a .zip of pictures as records of one size."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kerasft.data import Broken
from kerasft.errors import DataError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


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
    return Pictures(Path(path).expanduser(), resolution=resolution)


class Pictures:
    """Records with the columns `picture`, uint8 `[resolution, resolution, 3]`, and `label`.

    Args:
        path: A folder or a .zip.
        resolution: Side of a picture.

    Raises:
        DataError: There is no such folder or .zip, or no picture in it.
    """

    def __init__(self, path: Path, *, resolution: int) -> None:
        self.name = path.name
        self._path = path
        self._resolution = resolution
        self._zip = None if path.is_dir() else _open_zip(path)
        inside = self._zip.namelist() if self._zip is not None else _files(path)
        self._names = sorted(name for name in inside if _is_picture(name))
        if not self._names:
            raise DataError(f"{path} holds no picture; put some in it ({', '.join(EXTENSIONS)})")
        labelled = all(len(PurePosixPath(name).parts) > 1 for name in self._names)
        self.columns: tuple[str, ...] = ("picture", "label") if labelled else ("picture",)

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        return self.read(np.arange(len(self._names)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        for number in numbers.tolist():
            name = self._names[number]
            try:
                row: Mapping[str, Any] = {
                    "picture": decode(self._bytes(name), self._resolution) if "picture" in columns else None,
                    "label": PurePosixPath(name).parent.name,
                }
            except Exception as error:  # each decoder fails in its own way
                yield Broken(f"is no readable picture ({error})", "repair or remove it")
            else:
                yield [row[column] for column in columns]

    def where(self, number: int) -> str:
        return f"{self.name}, {self._names[number]}"

    def digest(self, columns: Sequence[str]) -> bytes:
        digest = hashlib.blake2b(f"{self._resolution}".encode(), digest_size=16)
        for name in self._names:
            digest.update(name.encode("utf-8", "surrogateescape"))
            digest.update(hashlib.blake2b(self._bytes(name), digest_size=16).digest())
        return digest.digest()

    def _bytes(self, name: str) -> bytes:
        return self._zip.read(name) if self._zip is not None else (self._path / name).read_bytes()


def decode(content: bytes, resolution: int) -> np.ndarray:
    """Returns the square in the middle of an encoded picture, uint8 `[resolution, resolution, 3]`.

    Raises:
        OSError: It is no picture, or is cut short.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(ground, image).convert("RGB")
    return np.asarray(ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS))


def _open_zip(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a folder or a .zip of pictures")
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise DataError(f"{path} is no .zip; name a folder or a .zip of pictures") from None


def _files(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in EXTENSIONS
