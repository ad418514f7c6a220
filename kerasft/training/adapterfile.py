"""Files of adapters: only what was trained beside a frozen model."""

from __future__ import annotations

from pathlib import Path

import keras

from kerasft.errors import TrainingError
from kerasft.training import checkpoint
from kerasft.training.adapters import LoRA
from kerasft.training.freezing import Freezing
from kerasft.training.state import assign


def save_adapters(freezing: Freezing, path: Path) -> None:
    """Writes what trains under the present policy, and the policy itself; see `Task.save_adapters`."""
    state = {
        "lora": freezing.lora.get_config() if freezing.lora else None,
        "frozen": freezing.positions(),
        "weights": len(freezing.group_of()),
    }
    checkpoint.save(path, {name: weight.numpy() for name, weight in _moving(freezing).items()}, state)


def load_adapters(freezing: Freezing, path: Path) -> None:
    """Takes weights and policy from what `save_adapters` wrote; see `Task.load_adapters`."""
    found = checkpoint.load(path)
    if "weights" not in found.state:
        raise TrainingError(f"{path} is no file of adapters: save_adapters() writes one.")
    if found.state["lora"]:
        freezing.freeze(LoRA(**found.state["lora"]))
    if found.state["weights"] != len(freezing.group_of()):
        raise TrainingError(f"{path} was saved from another model or config.")
    freezing.restore(found.state["frozen"])
    assign(_moving(freezing), found)


def _moving(freezing: Freezing) -> dict[str, keras.Variable]:
    return {f"adapter/{i}": weight for i, weight in enumerate(freezing.moving())}
