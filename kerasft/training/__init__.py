"""The training loop and what it is made of; submodules load when first used: configs need no TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft.training.adapters import LoRA
    from kerasft.training.augmentation import Augmentation
    from kerasft.training.freezereport import FreezeReport
    from kerasft.training.schedules import Gradual, Layerwise, Milestones, parse_unfreeze
    from kerasft.training.update import Batch, Update

_HOME = {
    "Augmentation": "augmentation",
    "Batch": "update",
    "FreezeReport": "freezereport",
    "Gradual": "schedules",
    "Layerwise": "schedules",
    "LoRA": "adapters",
    "Milestones": "schedules",
    "Update": "update",
    "parse_unfreeze": "schedules",
}

__all__ = [
    "Augmentation",
    "Batch",
    "FreezeReport",
    "Gradual",
    "Layerwise",
    "LoRA",
    "Milestones",
    "Update",
    "parse_unfreeze",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
