"""Fine-tune any Keras model, whatever the task, and serve it with TensorFlow Serving.

`import kerasft` is cheap: TensorFlow and Keras are imported when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "kerasft.config": ("Config", "TaskConfig", "TrainingConfig"),
    "kerasft.data": ("Field",),
    "kerasft.errors": (
        "ConfigError",
        "DataError",
        "ExportError",
        "Interrupted",
        "KerasftError",
        "OrderError",
        "PretrainedError",
        "RegistryError",
        "TrainingError",
    ),
    "kerasft.export": ("verify",),
    "kerasft.registry": ("TaskInfo", "create", "get", "list_tasks", "register"),
    "kerasft._describe": ("describe",),
    "kerasft.averaging": ("average",),
    "kerasft.loading": ("load",),
    "kerasft.task": ("Task",),
    "kerasft.training": ("Gradual", "Layerwise", "LoRA", "Milestones", "Update"),
}
_OWNER = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = (
    "config",
    "data",
    "errors",
    "export",
    "pretrained",
    "registry",
    "reports",
    "serving",
    "testing",
    "training",
)

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "ExportError",
    "Field",
    "Gradual",
    "Interrupted",
    "KerasftError",
    "Layerwise",
    "LoRA",
    "Milestones",
    "OrderError",
    "PretrainedError",
    "RegistryError",
    "Task",
    "TaskConfig",
    "TaskInfo",
    "TrainingConfig",
    "TrainingError",
    "Update",
    "average",
    "create",
    "describe",
    "get",
    "list_tasks",
    "load",
    "register",
    "verify",
]

if TYPE_CHECKING:
    from kerasft._describe import describe
    from kerasft.averaging import average
    from kerasft.config import Config, TaskConfig, TrainingConfig
    from kerasft.data import Field
    from kerasft.errors import (
        ConfigError,
        DataError,
        ExportError,
        Interrupted,
        KerasftError,
        OrderError,
        PretrainedError,
        RegistryError,
        TrainingError,
    )
    from kerasft.export import verify
    from kerasft.loading import load
    from kerasft.registry import TaskInfo, create, get, list_tasks, register
    from kerasft.task import Task
    from kerasft.training import Gradual, Layerwise, LoRA, Milestones, Update


def __getattr__(name: str) -> Any:
    if name in _OWNER:
        value = getattr(importlib.import_module(_OWNER[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"kerasft.{name}")
    raise AttributeError(f"module 'kerasft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OWNER, *_MODULES})
