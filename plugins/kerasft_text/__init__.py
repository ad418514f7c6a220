"""Text for kerasft: labels, label sets, numbers and named entities, from raw strings to a SavedModel.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("text")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_text.config import TextConfig
    from kerasft_text.data import snips
    from kerasft_text.task import Text

__all__ = ["Text", "TextConfig", "snips"]

_HOMES = {"Text": "task", "TextConfig": "config", "snips": "data"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
