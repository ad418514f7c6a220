"""Faces for kerasft: StyleGAN2, from a folder of pictures to a SavedModel that answers a seed with a face.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("face")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_face.config import FaceConfig
    from kerasft_face.data import pictures
    from kerasft_face.drawn import cartoons
    from kerasft_face.freezing import FreezeD
    from kerasft_face.task import Face

__all__ = ["Face", "FaceConfig", "FreezeD", "cartoons", "pictures"]

_HOMES = {
    "Face": "task",
    "FaceConfig": "config",
    "FreezeD": "freezing",
    "cartoons": "drawn",
    "pictures": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
