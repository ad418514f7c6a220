"""Arrays of many sizes, which no tensor holds, as encoded pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasft.data import Field
from kerasft.data.source import Columns, Source
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


class Encoded(Source):
    """A source whose column `image`, arrays of any size, is read as `image_bytes`, PNG files.

    Args:
        parent: The rows.
    """

    def __init__(self, parent: Source) -> None:
        self._parent = parent
        self.name, self.notes = parent.name, parent.notes
        self.skipped, self.skip_examples = parent.skipped, parent.skip_examples
        content = Field(name="image_bytes", kind="bytes")
        self.fields = tuple(
            dataclasses.replace(content, required=field.required) if field.name == "image" else field
            for field in parent.fields
        )

    def __len__(self) -> int:
        return len(self._parent)

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        names = self.columns if columns is None else tuple(columns)
        found = self._parent.take(indices, ["image" if name == "image_bytes" else name for name in names])
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

    def where(self, index: int) -> str:
        return self._parent.where(index)

    def class_counts(self, name: str) -> dict[str, int]:
        return self._parent.class_counts(name)

    def classes(self, name: str) -> tuple[str, ...]:
        return self._parent.classes(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        return self._parent.codes(name)

    def fingerprint(self) -> str:
        return self._parent.fingerprint()

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return Encoded(self._parent.subset(indices))
