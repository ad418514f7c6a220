"""Files of pictures: found in a folder or a .zip, and decoded upright, without alpha, in three channels."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from kerasft.data.records import Broken
from kerasft.errors import DataError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def is_pictures(data: Any) -> bool:
    """Whether this is a path to a folder or a .zip."""
    return isinstance(data, (str, os.PathLike)) and (Path(data).expanduser().is_dir() or _is_zip(data))


class PictureFiles:
    """The pictures of a folder or a .zip, subfolders included, in the order of their names.

    Files of other sorts, hidden ones, and those that macOS adds to a .zip are left out.

    Args:
        path: The folder or the .zip.

    Attributes:
        path: Where they are.
        names: Their paths inside, with `/`.

    Raises:
        DataError: There is no such folder or .zip, or no picture in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._zip = None if self.path.is_dir() else _open_zip(self.path)
        inside = self._zip.namelist() if self._zip is not None else _files(self.path)
        self.names = sorted(name for name in inside if _is_picture(name))
        if not self.names:
            raise DataError(f"{self.path} holds no picture; put some in it ({', '.join(EXTENSIONS)})")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def labelled(self) -> bool:
        """Whether every picture lies in a subfolder, whose name is its label."""
        return all(len(PurePosixPath(name).parts) > 1 for name in self.names)

    def label(self, number: int) -> str:
        """Returns the name of the folder in which a picture lies."""
        return PurePosixPath(self.names[number]).parent.name

    def read(self, number: int) -> bytes:
        """Returns the content of a file.

        Raises:
            OSError: It cannot be read.
        """
        name = self.names[number]
        return self._zip.read(name) if self._zip is not None else (self.path / name).read_bytes()

    def other(self, name: str) -> bytes | None:
        """Returns the content of another file beside the pictures, if there is one."""
        try:
            return self._zip.read(name) if self._zip is not None else (self.path / name).read_bytes()
        except (KeyError, FileNotFoundError):
            return None

    def where(self, number: int) -> str:
        """Returns the place of a picture for a message: "photos, cats/3.jpg"."""
        return f"{self.path.name}, {self.names[number]}"

    def digest(self, salt: str = "") -> bytes:
        """Returns a hash of the names and contents of all files."""
        digest = hashlib.blake2b(salt.encode(), digest_size=16)
        for number, name in enumerate(self.names):
            digest.update(name.encode("utf-8", "surrogateescape"))
            digest.update(hashlib.blake2b(self.read(number), digest_size=16).digest())
        return digest.digest()


def open_picture(content: bytes) -> Any:
    """Decodes a picture as people see it: turned as EXIF says, on white where it is transparent.

    Args:
        content: A JPEG, PNG, WebP, GIF (the first frame) or BMP file.

    Returns:
        A `PIL.Image.Image` in RGB; grey ones have three equal channels.

    Raises:
        OSError: It is no picture, or is cut short. Other exceptions of the decoder mean the same.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as opened:
        return on_white(ImageOps.exif_transpose(opened))


def on_white(image: Any) -> Any:
    """Returns a `PIL.Image.Image` in RGB, on white where it is transparent."""
    from PIL import Image

    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def broken(error: Exception) -> Broken:
    """Returns what stands in place of a picture that cannot be decoded."""
    return Broken(f"is no readable picture ({error})", "repair or remove it")


def _is_zip(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == ".zip"


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
