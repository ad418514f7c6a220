"""Configs: one pydantic model per task is the source of keywords, recipe keys, flags and their help."""

from __future__ import annotations

from typing import Literal

import pydantic

from kerasft.recipe import load_recipe, merge
from kerasft.schema import (
    Config,
    ConfigField,
    Labels,
    config_fields,
    differs,
    parse,
    refuse_idle,
    with_defaults,
)
from kerasft.training.config import FinetuningConfig, TrainingConfig

__all__ = [
    "Config",
    "ConfigField",
    "FinetuningConfig",
    "Labels",
    "TaskConfig",
    "TrainingConfig",
    "config_fields",
    "differs",
    "load_recipe",
    "merge",
    "parse",
    "refuse_idle",
    "with_defaults",
]


class TaskConfig(Config):
    """What every task can be told; plugins subclass it, add fields, and may change the defaults.

    Example:
        >>> TaskConfig(seed=3).seed
        3
    """

    seed: int = pydantic.Field(0, ge=0, description="Seed of weights, dropout and data order.")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = pydantic.Field(
        "auto", description="Numeric precision; auto is float32 on a CPU and mixed precision on a GPU."
    )
    training: TrainingConfig = pydantic.Field(
        default_factory=TrainingConfig, description="Optimizer, rates, batches, epochs."
    )
