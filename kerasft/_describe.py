"""What `kerasft describe TASK` shows: config fields, columns, signatures and, once built, layer groups."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from kerasft import registry
from kerasft.errors import ConfigError
from kerasft.schema import ConfigField, config_fields


@dataclass(frozen=True, kw_only=True)
class TaskDescription:
    """Everything about a task that shows without training it.

    Attributes:
        name: The registered name.
        summary: First line of the class docstring.
        doc: The whole docstring.
        where: `module:line` of the class.
        config: The config's leaves.
        columns: What it reads: dictionaries of name, kind, target, aliases.
        signatures: Signature to input to "dtype[shape]".
        groups: Layer groups, input to head; empty unless built.
        monitor: The metric that decides which checkpoint is the best.
    """

    name: str
    summary: str
    doc: str
    where: str
    config: tuple[ConfigField, ...]
    columns: tuple[dict[str, Any], ...]
    signatures: dict[str, dict[str, str]]
    groups: tuple[str, ...]
    monitor: str


def describe(name: str, *, build: bool = False, **config: Any) -> TaskDescription:
    """Describes a task by name.

    Args:
        name: A name from `list_tasks`.
        build: Build the model too, to list its layer groups (may fetch weights).
        **config: Config values to describe it with; the signatures may depend on them.

    Raises:
        RegistryError: No such task.
        ConfigError: A given config value is wrong.
    """
    cls = registry.get(name)
    doc = inspect.cleandoc(cls.__doc__ or "")
    columns: tuple[dict[str, Any], ...] = ()
    signatures: dict[str, dict[str, str]] = {}
    groups: tuple[str, ...] = ()
    monitor = cls.monitor if isinstance(cls.monitor, str) else ""  # a task may decide by its config
    try:
        task = cls(**config)
    except ConfigError:
        # A task may have fields without defaults: its config can still be described.
        if config or build:
            raise
    else:
        monitor = task.monitor
        columns = tuple(
            {
                "name": field.name,
                "kind": field.kind,
                "target": field.target,
                "aliases": list(field.aliases),
            }
            for field in task.fields()
        )
        signatures = {
            signature: {key: f"{spec.dtype.name}{_shape(spec)}" for key, spec in inputs.items()}
            for signature, inputs in task.signatures().items()
        }
        if build:
            task.build()
            groups = tuple(task.freezing.groups)
    return TaskDescription(
        name=name,
        summary=doc.splitlines()[0] if doc else "",
        doc=doc,
        where=registry.where(name),
        config=tuple(config_fields(cls.config_class)),
        columns=columns,
        signatures=signatures,
        groups=groups,
        monitor=monitor,
    )


def _shape(spec: Any) -> str:
    if spec.shape.rank is None:
        return "[...]"
    return "[" + ", ".join("None" if size is None else str(size) for size in spec.shape) + "]"
