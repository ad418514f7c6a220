"""Translation for kerasft: any language pair, from raw text to a SavedModel that takes text and gives text.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("translation")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_translation.config import TranslationConfig
    from kerasft_translation.data import phrases
    from kerasft_translation.task import Translation

__all__ = ["Translation", "TranslationConfig", "phrases"]

_HOMES = {"Translation": "task", "TranslationConfig": "config", "phrases": "data"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
