"""Arrays of many sizes, which no tensor holds, as encoded pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasft.data import Derived, Field, Source
from kerasft.data.source import Columns
from kerasft.errors import DataError
from kerasft_image.data import encode

_LOOKED_AT = 256


def encoded_if_sizes_differ(source: Source) -> Source:
    """Returns a source whose column `image` is `image_bytes`, if its first pictures have several shapes.

    Args:
        source: Rows of the image task.
    """
    if "image" not in source.columns or "image_bytes" in source.columns:
        return source
    some = source.take(np.arange(min(len(source), _LOOKED_AT)), ["image"])["image"]
    return Encoded(source) if len({np.shape(picture) for picture in some}) > 1 else source


class Encoded(Derived):
    """A source whose column `image`, arrays of any size, is read as `image_bytes`, PNG files.

    Args:
        parent: The rows.
    """

    def __init__(self, parent: Source) -> None:
        super().__init__(parent)
        content = Field(name="image_bytes", kind="bytes")
        self.fields = tuple(
            dataclasses.replace(content, required=field.required) if field.name == "image" else field
            for field in parent.fields
        )

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        names = self.columns if columns is None else tuple(columns)
        found = self.parent.take(indices, ["image" if name == "image_bytes" else name for name in names])
        if "image" in found:
            pictures = zip(found.pop("image"), indices, strict=True)
            found["image_bytes"] = [self._encode(picture, int(index)) for picture, index in pictures]
        return {name: found[name] for name in names}

    def _encode(self, picture: Any, index: int) -> bytes:
        array = np.asarray(picture)
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3)) or not array.size:
            raise DataError(
                f"{self.where(index)}: 'image' has the shape {array.shape}; a picture is an array [height, "
                "width], [height, width, 1] or [height, width, 3]."
            )
        return encode(array)
