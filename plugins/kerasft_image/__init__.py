"""Pictures for kerasft: classification with any backbone, from encoded files to a SavedModel that takes them.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("image")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_image.config import ImageConfig
    from kerasft_image.data import digits
    from kerasft_image.explain import explained, grad_cam, occlusion
    from kerasft_image.pairs import Verification, verification
    from kerasft_image.task import Image

__all__ = [
    "Image",
    "ImageConfig",
    "Verification",
    "digits",
    "explained",
    "grad_cam",
    "occlusion",
    "verification",
]

_HOMES = {
    "Image": "task",
    "ImageConfig": "config",
    "Verification": "pairs",
    "digits": "data",
    "explained": "explain",
    "grad_cam": "explain",
    "occlusion": "explain",
    "verification": "pairs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
